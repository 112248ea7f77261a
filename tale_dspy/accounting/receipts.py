"""What each LM call was sent and spent, and the receipt of a whole answer.

DSPy says what a call used only in its history, loses it on cache hits and in threads, and mixes the calls of one
answer. Here every call is booked once, as a `Call`, where DSPy records it: `record_calls` puts a listener into
`settings.caller_modules`, which follows the context into threads and tasks.

The caps on what may be spent are in `tale_dspy.accounting.ledger`.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar

from tale_dspy.accounting.token_counts import count_tokens
from tale_dspy.backends.finish_reasons import normalize_finish_reason
from tale_dspy.backends.prices import BATCH_PRICE_SHARE, Price
from tale_dspy.budget import Source
from tale_dspy.display import TextPrinter, html_table, number
from tale_dspy.protocols import JsonObject

Role = Literal["reason", "recovery", "estimate", "metric", "shadow"]
UsageSource = Literal["provider", "tokenizer", "unknown"]
Status = Literal["answered", "unreadable", "empty", "truncated"]


@contextmanager
def role(name: Role) -> Iterator[None]:
    """Book the calls inside the block under a role.

    `metric` wins over everything within.

    Kept in DSPy's own context, since that follows into the threads of `dspy.Parallel`.
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
    the model's tokenizer, and where none is known the count is None. A cost of 0 is then unknown, too.

    Args:
        entry: One element of `lm.history`.
        latency_s: Seconds the call took.
    """
    from tale_dspy.accounting.history import finish_reason, read_usage

    usage, outputs = read_usage(entry), entry.get("outputs") or []
    model = str(entry.get("model") or "unknown")
    text, thought = output_text(outputs)
    written = [part for output in outputs for part in output_text([output]) if part]
    prompt, output, cost = usage.prompt or None, usage.output, _finite_or_none(entry.get("cost"))
    source: UsageSource = "provider"
    if not output and (written or prompt is None or output is None):
        output = total_or_none([count_tokens(model, part) for part in written])
        source, cost = "unknown" if output is None else "tokenizer", cost or None
    return Call(
        role=current_role(),
        model=model,
        response_model=entry.get("response_model"),
        text=text,
        thought=thought,
        prompt_tokens=prompt,
        output_tokens=output,
        reasoning_tokens=usage.reasoning,
        cached_prompt_tokens=usage.cached_prompt,
        usage_source=source,
        finish_reason=finish_reason(entry.get("response")),
        cached=usage.cached,
        cost_usd=0.0 if usage.cached else cost,
        saved_cost_usd=cost if usage.cached else None,
        latency_s=None if usage.cached else latency_s,
    )


def output_text(outputs: Sequence[Any]) -> tuple[str | None, str | None]:
    """Return text and native thinking of the first choice."""
    if not outputs:
        return None, None
    first = outputs[0]
    return (first.get("text"), first.get("reasoning_content")) if isinstance(first, dict) else (first, None)


def _finite_or_none(value: float | None) -> float | None:
    """Return a finite number as it is, else None.

    JSON knows neither infinity nor NaN.
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
    """A listener in the place of a module.

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

    In this context and in those that inherit it.

    Works while `disable_history` is set or `max_history_size` is 0, too: the histories then stay empty all the same.

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
    known = [v for v in values if v is not None]
    return sum(known[1:], known[0]) if known and len(known) == len(values) else None


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """What one answer asked for and what it used.

    `str(receipt)` is a line to print.
    """

    program: str
    """Class of the module that answered."""
    status: Status = "answered"
    """Whether an answer could be read, and if not, why."""
    token_budget: int | None = None
    """The budget sent, in tokens; None where the module sends none."""
    effort: str | None = None
    """The effort word of the budget; None where it was a number alone, or the module sends none."""
    budget_source: Source | None = None
    """`estimate`, `clamped`, `fallback`, `given`, or `stated` by the answering call itself."""
    fallback_reason: str | None = None
    """Why no estimate was sent: `no budget` (or an answer in place of one), `truncated`, `empty`, `refusal`, ..."""
    estimate: float | None = None
    """The number the estimator wrote, before scale and limits."""
    estimate_text: str | None = None
    """The estimator's reply."""
    mode: str | None = None
    """How the budget was sent: `prompt`, `native` or `cap`; None where the module sends none."""
    mode_asked: str | None = None
    """The mode that was asked for; `auto` leaves the choice to the model's row in
    `tale_dspy.backends.reasoning_controls`."""
    reasoning_params: JsonObject = field(default_factory=dict)
    """The part of the request body that carries the budget, beside the prompt."""
    reasoning_notes: list[str] = field(default_factory=list)
    """What of it was raised, lowered or left out, in words."""
    skipped: bool | None = None
    """Whether the answer came without the visible reasoning that was asked for; None where none was asked for."""
    votes: int | None = None
    """Replies that were asked for, of a `Vote`."""
    votes_for_answer: int | None = None
    """Those of them that gave this answer."""
    steps: list[JsonObject] = field(default_factory=list)
    """Receipts of the steps of a trajectory, as plain JSON, of a `BudgetedReAct`."""
    calls: list[Call] = field(default_factory=list)

    def of(self, *roles: Role) -> list[Call]:
        """Return the calls of these roles."""
        return [c for c in self.calls if c.role in roles]

    @property
    def output_tokens(self) -> int | None:
        """Completion tokens of the reasoning calls, those of a recovery included."""
        return total_or_none([c.output_tokens for c in self.of("reason", "recovery")])

    @property
    def recovery_tokens(self) -> int | None:
        """The part of `output_tokens` that went into recovering a cut answer.

        It is None where nothing was recovered.
        """
        return total_or_none([c.output_tokens for c in self.of("recovery")])

    @property
    def estimate_tokens(self) -> int | None:
        """Completion tokens of the budget calls; None where none was made."""
        return total_or_none([c.output_tokens for c in self.of("estimate")])

    @property
    def reasoning_tokens(self) -> int | None:
        """Native thinking tokens of the reasoning calls.

        It is None if the provider does not report them.
        """
        return total_or_none([c.reasoning_tokens for c in self.of("reason", "recovery")])

    @property
    def visible_tokens(self) -> int | None:
        """Completion tokens of the reasoning calls that are no thinking.

        It is None if that is not known.
        """
        thought = self.reasoning_tokens
        return None if self.output_tokens is None or thought is None else self.output_tokens - thought

    @property
    def adherence(self) -> float | None:
        """Tokens of the reasoning calls for each token of the budget.

        At most 1 where the reply kept to it.
        """
        if self.token_budget is None or self.output_tokens is None:
            return None
        return self.output_tokens / self.token_budget

    @property
    def prompt_tokens(self) -> int | None:
        return total_or_none([c.prompt_tokens for c in self.calls])

    @property
    def cost_usd(self) -> float | None:
        """US dollars paid now."""
        return total_or_none([c.cost_usd for c in self.calls])

    @property
    def saved_cost_usd(self) -> float | None:
        """US dollars that cache hits had cost before."""
        return total_or_none([c.saved_cost_usd for c in self.calls if c.cached])

    def to_json(self) -> JsonObject:
        """Return plain JSON, with the sums beside the calls."""
        return {
            **vars(self),
            "estimate": _finite_or_none(self.estimate),
            "calls": [c.to_json() for c in self.calls],
            "output_tokens": self.output_tokens,
            "estimate_tokens": self.estimate_tokens,
            "reasoning_tokens": self.reasoning_tokens,
            "visible_tokens": self.visible_tokens,
            "adherence": self.adherence,
            "recovery_tokens": self.recovery_tokens,
            "prompt_tokens": self.prompt_tokens,
            "cost_usd": self.cost_usd,
            "saved_cost_usd": self.saved_cost_usd,
        }

    @classmethod
    def from_json(cls, row: JsonObject) -> "Receipt":
        fields = {k: v for k, v in row.items() if k in cls.__dataclass_fields__ and k != "calls"}
        return cls(**fields, calls=[Call.from_json(c) for c in row["calls"]])

    def _repr_html_(self) -> str:
        """Show the calls of the answer in a notebook."""
        rows = [
            [
                call.role,
                call.model,
                number(call.prompt_tokens, 0),
                number(call.output_tokens, 0),
                "from the cache" if call.cached else number(call.cost_usd, 6),
            ]
            for call in self.calls
        ]
        return html_table(["Role", "Model", "Prompt tokens", "Output tokens", "USD"], rows, caption=str(self))

    def _repr_pretty_(self, printer: TextPrinter, cycle: bool) -> None:
        """Show in IPython what `print` shows."""
        printer.text(str(self))

    def __str__(self) -> str:
        tokens = f"{_known_tokens(self.output_tokens)} output tokens"
        if self.of("estimate"):
            tokens += f" + {_known_tokens(self.estimate_tokens)} for the estimate"
        if any(c.usage_source == "tokenizer" for c in self.calls):
            tokens += " (counted with the tokenizer)"
        if recoveries := self.of("recovery"):
            calls = "1 call" if len(recoveries) == 1 else f"{len(recoveries)} calls"
            tokens += f", {_known_tokens(self.recovery_tokens)} of them in {calls} to recover a cut answer"
        cached = sum(c.cached for c in self.calls)
        sent = self.mode if self.mode in ("native", "cap") else ""
        budget = "+".join(str(part) for part in (self.effort, self.token_budget) if part is not None)
        source = ": ".join(filter(None, (self.budget_source, self.fallback_reason)))
        parts = [
            f"budget {budget} ({', '.join(filter(None, (source, sent)))})" if budget else "",
            f"{self.votes_for_answer} of {self.votes} votes" if self.votes is not None else "",
            tokens,
            "cost unknown" if self.cost_usd is None else f"${self.cost_usd:.6f} paid",
            f"{cached} of {len(self.calls)} calls from the cache" if cached else "",
            "the reasoning was skipped" if self.skipped else "",
            self.status if self.status != "answered" else "",
        ]
        return f"{self.program}: " + ", ".join(part for part in parts if part)


def _known_tokens(value: int | None) -> str:
    return "an unknown number of" if value is None else str(value)


def status_of(calls: Sequence[Call], answered: bool) -> Status:
    """Say how the last reasoning call ended.

    The last call that was to recover it counts in its place.

    A reply cut at the allowance is `truncated`, or `empty` if nothing but thinking was written; a whole reply without
    text is `empty`; one in which no answer could be read is `unreadable`. What a content filter left of a reply is no
    answer, whatever can be read in it: `truncated`.
    """
    last = next((c for c in reversed(calls) if c.role in ("reason", "recovery")), None)
    if last is None:
        return "answered" if answered else "unreadable"
    if not (last.text or "").strip():
        return "answered" if answered else "empty"
    reason = normalize_finish_reason(last.finish_reason)
    if reason == "length" or (reason == "content_filter" and answered):
        return "truncated"
    return "answered" if answered else "unreadable"
