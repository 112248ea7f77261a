"""One LM call: what it was sent and spent, its role, and its listeners.

DSPy says what a call used only in its history, loses it on cache hits and in threads, and mixes the calls of one
answer. Here every call is booked once, as a `Call`, where DSPy records it: `record_calls` puts a listener into
`settings.caller_modules`, which follows the context into threads and tasks.

The caps on what may be spent are in `tale_dspy.accounting.ledger`.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

from tale_dspy.accounting.token_counts import count_tokens
from tale_dspy.backends.prices import BATCH_PRICE_SHARE, Price
from tale_dspy.protocols import JsonObject

Role = Literal["reason", "recovery", "estimate", "metric", "shadow"]

UsageSource = Literal["provider", "tokenizer", "unknown"]


@contextmanager
def role(name: Role) -> Iterator[None]:
    """Book the calls inside the block under a role.

    The role `metric` overrides every role inside it. The role is stored in DSPy's own context, since that follows into
    the threads of `dspy.Parallel`.
    """
    from dspy import settings

    with settings.context(tale_role="metric" if current_role() == "metric" else name):
        yield


def current_role() -> Role:
    """Return the role calls are booked under at this place."""
    from dspy import settings

    name: Role = settings.get("tale_role", "reason")
    return name


@dataclass(frozen=True, kw_only=True)
class Call:
    """One answered LM call. What the provider did not report is None, never 0."""

    role: Role
    model: str
    """The model string that was called."""
    response_model: str | None = None
    """The snapshot that answered."""
    text: str | None = None
    """Text of the first choice; None or "" for an empty reply."""
    thought: str | None = None
    """The native thinking of the first choice, where the provider shows it."""
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    """Completion tokens of all choices, thinking included."""
    reasoning_tokens: int | None = None
    cached_prompt_tokens: int | None = None
    usage_source: UsageSource = "provider"
    """`tokenizer` where the provider sent no usage and the text was counted with the model's own tokenizer."""
    finish_reason: str | None = None
    cached: bool = False
    """Served from DSPy's cache: nothing was sent."""
    replayed: bool = False
    """Served from the journal of a run folder: paid in an earlier process."""
    cost_usd: float | None = None
    """US dollars paid now: 0.0 for a cache hit, None where the price is unknown."""
    saved_cost_usd: float | None = None
    """What a cache hit had cost when it was paid."""
    latency_s: float | None = None
    """Seconds, where the run engine measured them; None where nothing was sent, or it went through a batch."""
    batch: bool = False
    """Answered through a batch API, at a part of the usual price."""

    def to_json(self) -> JsonObject:
        return dict(vars(self))  # flat: asdict would copy each value for ten times the time

    @classmethod
    def from_json(cls, row: JsonObject) -> "Call":
        return cls(**{k: v for k, v in row.items() if k in cls.__dataclass_fields__})

    def through_batch(self) -> "Call":
        """Return the call as one that a batch API answered, at that price."""
        cost = None if self.cost_usd is None else BATCH_PRICE_SHARE * self.cost_usd
        return replace(self, batch=True, cost_usd=cost, latency_s=None)

    def priced(self, price: Price) -> "Call":
        """Return the call at another price per token.

        Its cost is None where a count is unknown.
        """
        cost = None
        if self.prompt_tokens is not None and self.output_tokens is not None:
            share = BATCH_PRICE_SHARE if self.batch else 1.0
            cost = share * (self.prompt_tokens * price.input + self.output_tokens * price.output)
        if self.cached:
            return replace(self, saved_cost_usd=cost)
        return replace(self, cost_usd=cost)


def call_from_entry(entry: JsonObject, *, latency_s: float | None = None) -> Call:
    """Book one entry of DSPy's history.

    A reply whose completion tokens are 0 or missing although it has text was sent without usage: it is counted with
    the model's tokenizer, and where none is known the count is None. The cost of a call is unknown where the provider
    left out one of both counts: it would be that of the other.

    Args:
        entry: One element of `lm.history`.
        latency_s: Seconds the call took.
    """
    from tale_dspy.accounting.history import finish_reason, read_usage

    usage, outputs = read_usage(entry), entry.get("outputs") or []
    model = str(entry.get("model") or "unknown")
    text, thought = output_text(outputs)
    written = [part for output in outputs for part in output_text([output]) if part]
    prompt, output, cost = usage.prompt or None, usage.output, finite_or_none(entry.get("cost"))
    source: UsageSource = "provider"
    is_partial = prompt is None
    if not output and (written or prompt is None or output is None):
        output = total_or_none([count_tokens(model, part) for part in written])
        source, is_partial = "unknown" if output is None else "tokenizer", True
    if is_partial:
        cost = (cost or None) if usage.cached else None  # LiteLLM's hits come without counts, at the price once paid
    return Call(
        role=current_role(),
        model=model,
        response_model=_named_model(entry.get("response_model")),
        text=text,
        thought=thought,
        prompt_tokens=prompt,
        output_tokens=output,
        reasoning_tokens=usage.reasoning if source == "provider" else usage.reasoning or None,
        cached_prompt_tokens=usage.cached_prompt,
        usage_source=source,
        finish_reason=finish_reason(entry.get("response")),
        cached=usage.cached,
        cost_usd=0.0 if usage.cached else cost,
        saved_cost_usd=cost if usage.cached else None,
        latency_s=None if usage.cached else latency_s,
    )


def _named_model(name: object) -> str | None:
    """Return the snapshot a provider names.

    A blank stands where a reply names none.
    """
    return (name.strip() or None) if isinstance(name, str) else None


def output_text(outputs: Sequence[Any]) -> tuple[str | None, str | None]:
    """Return text and native thinking of the first choice."""
    if not outputs:
        return None, None
    first = outputs[0]
    return (first.get("text"), first.get("reasoning_content")) if isinstance(first, dict) else (first, None)


def finite_or_none(value: float | None) -> float | None:
    """Return a finite number as it is, else None.

    JSON has neither infinity nor NaN.
    """
    return value if value is not None and math.isfinite(value) else None


@dataclass(frozen=True)
class ShadowResult:
    """What one call gave and took beside the same call without a budget."""

    agrees: bool | None
    """Whether both gave the same answer; None where the other gave none."""
    net_tokens: int | None
    """Completion tokens with the budget, the estimate's included; None if unknown."""
    vanilla_tokens: int | None
    """Completion tokens without a budget."""


class CallListener:
    """A listener that stands where DSPy expects a module.

    DSPy appends each history entry to `history` of `caller_modules`.
    """

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.history = self

    def __len__(self) -> int:
        return 0  # never full, so that DSPy never drops an entry

    def append(self, entry: JsonObject) -> None:
        self.add(call_from_entry(entry))

    def add(self, call: Call) -> None:
        self.calls.append(call)

    def add_shadow_result(self, result: ShadowResult) -> None:
        """Hear of a shadow check; only a ledger keeps it."""


@contextmanager
def record_calls(listener: CallListener | None = None, **overrides: Any) -> Iterator[list[Call]]:
    """Collect every LM call made inside the block.

    Calls of this context are collected, and those of contexts that inherit it. This works while `disable_history` is
    set or `max_history_size` is 0, too: the histories then stay empty all the same.

    Args:
        listener: Where to book; None makes a new list.
        **overrides: Further settings for `dspy.context` inside the block.

    Yields:
        A list that grows with each call.
    """
    from dspy import settings

    listener = CallListener() if listener is None else listener  # an empty one is falsy
    if settings.disable_history or not settings.max_history_size:
        from tale_dspy.accounting.history import HistoryRecorder

        callbacks = overrides.get("callbacks", settings.callbacks)
        if not any(isinstance(c, HistoryRecorder) for c in callbacks):
            overrides["callbacks"] = [*callbacks, HistoryRecorder()]
    with settings.context(caller_modules=[*(settings.caller_modules or []), listener], **overrides):
        yield listener.calls


_Number = TypeVar("_Number", int, float)


def total_or_none(values: Sequence[_Number | None]) -> _Number | None:
    """Sum up; None if any part is unknown or there is no part."""
    if not values or None in values:
        return None
    known = [v for v in values if v is not None]
    return sum(known[1:], known[0])
