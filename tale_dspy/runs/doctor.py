"""`examine`: what an endpoint does with a key, a budget and a control.

The control is that of reasoning; some twenty small calls test all of it.
"""

import contextvars
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from datetime import date
from functools import partial
from typing import Any

from dspy import LMError

from tale_dspy.accounting.calls import Call, CallListener, record_calls
from tale_dspy.accounting.tracking import track
from tale_dspy.adapter import TaleAdapter
from tale_dspy.answers import answers_equal
from tale_dspy.backends.budget_planner import Mode
from tale_dspy.backends.local.model_path import is_local
from tale_dspy.backends.model_control import family_of, is_reasoning_model
from tale_dspy.backends.prices import Price, price_of
from tale_dspy.backends.reasoning_control import LEVELS, ReasoningControl
from tale_dspy.backends.reasoning_params import budget_request
from tale_dspy.backends.retry import is_rate_limit
from tale_dspy.dspy_bridge import item_value
from tale_dspy.errors import UsageError
from tale_dspy.programs.base import receipt
from tale_dspy.programs.budgeted import BudgetedChainOfThought
from tale_dspy.programs.direct import DirectAnswer
from tale_dspy.protocols import JsonObject, LanguageModel, SettingsView
from tale_dspy.runs.session import sentence

QUESTION = (
    "Lena fills 14 boxes with 23 tiles each and keeps 37 tiles in a bag. She gives 5 of the boxes away and sells half "
    "of the tiles that are left for $3 each. How many dollars does Lena earn?"
)
ANSWER = "366"
BUDGETS = (20, 60, 180, 540)
"""Budgets that are asked for in the prompt and as a cap, in tokens."""
LEAST_THINKING = 128
"""The smallest of four thinking budgets, each twice the one before, where the model takes less than that."""
BURST = 8
"""Calls that are sent at once to see whether some are refused."""
MOST_ADHERENCE = 1.1
"""Tokens for each one asked up to which a budget counts as kept."""
_PROMPT, _REPLY, _SHORT = 180, 400, 20  # tokens of a request, of a reply to a budget in the prompt, of a direct one


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One budget, sent in one way."""

    mode: Mode
    budget: int | str
    """Tokens asked for, or the effort word."""
    spent: int | None = None
    """Completion tokens, thinking included; None if unknown."""
    reasoning_tokens: int | None = None
    adherence: float | None = None
    """Spent for each token asked."""
    right: bool = False
    """Whether the answer was right."""
    status: str | None = None
    """`answered`, or why there was no answer."""
    skipped: bool | None = None
    """Whether the reply lacks the visible reasoning it was asked for; None where none was asked."""
    reasoning_params: SettingsView | None = None
    """The part of the request body that the budget became; empty where only the prompt tells it."""
    notes: tuple[str, ...] = ()
    """What was raised, lowered or left out."""
    error: str | None = None

    @property
    def within_budget(self) -> bool:
        """Return whether the reply stayed within the budget, with a tenth to spare.

        A truncated answer did not.
        """
        return self.adherence is not None and self.adherence <= MOST_ADHERENCE and self.status != "truncated"


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """What was found out. None is unknown."""

    model: str
    works: bool
    """Whether the key and the address work."""
    error: str | None = None
    """Why not."""
    family: str | None = None
    """The row of models whose reasoning control is known."""
    thinks: bool = False
    """Whether it thinks natively as it is set up."""
    auto: str | None = None
    """What mode `auto` makes of a budget."""
    unavailable: Mapping[str, str] | None = None
    """Modes that cannot be sent, with the reason."""
    readings: tuple[Reading, ...] = ()
    usage_source: str | None = None
    """`provider`, `tokenizer` or `unknown`: who counted the tokens."""
    reports_reasoning: bool | None = None
    """Whether usage tells the thinking tokens."""
    limits: Mapping[str, str] | None = None
    """Rate limits as the provider's headers tell them; only LiteLLM hands these on."""
    burst: int = 0
    """Calls sent at once."""
    refused: int = 0
    """Of them, those refused with 429."""
    calls: int = 0
    cost_usd: float | None = None

    def verdicts(self) -> dict[str, str]:
        """Say of each way to send a budget whether it does anything."""
        verdicts = {mode: f"not available: {reason}" for mode, reason in (self.unavailable or {}).items()}
        for mode in dict.fromkeys(r.mode for r in self.readings):
            verdicts[mode] = _describe_readings([r for r in self.readings if r.mode == mode])
        return verdicts

    def to_json(self) -> JsonObject:
        """Return plain JSON, with the verdicts."""
        rows = [{**asdict(r), "kept": r.within_budget} for r in self.readings]
        return {**asdict(self), "readings": rows, "verdicts": self.verdicts()}


def _describe_readings(readings: Sequence[Reading]) -> str:
    failed = [r for r in readings if r.error]
    if len(failed) == len(readings):
        return f"refused: {failed[0].error}"
    measured = [r for r in readings if r.spent is not None]
    if not measured:
        return "unknown: no tokens are reported"
    first, last = measured[0], measured[-1]
    spending = f"{first.spent} tokens at {first.budget}, {last.spent} at {last.budget}"
    cut = sum(r.status == "truncated" for r in readings)
    if cut == len(readings):
        return f"unknown: all {cut} answers were cut off, which keeps no budget and shows none; {spending}"
    moves = (last.spent or 0) > 1.1 * (first.spent or 0)
    numbers = [r for r in measured if isinstance(r.budget, int)]
    adherence = f"kept at {sum(r.within_budget for r in numbers)} of {len(readings)} budgets, " if numbers else ""
    truncated = f"{cut} answer{'' if cut == 1 else 's'} cut off, " if cut else ""
    verdict = f"{'obeyed' if moves else 'no effect seen'}: {adherence}{truncated}{spending}"
    skipped = sum(r.skipped is True for r in readings)
    return f"{verdict}; {skipped} of {len(readings)} replies skip their reasoning" if skipped else verdict


def observed_control(lm: LanguageModel, diagnosis: Diagnosis, today: date) -> ReasoningControl:
    """Return a row for `$TALE_CONTROLS` that says what was seen of a model.

    A control without effect, or refused, is written as none: the budget then goes into the prompt alone.

    Args:
        lm: The model that was examined.
        diagnosis: What `examine` found out.
        today: The date that is written beside it.

    Raises:
        UsageError: If the model could not be asked.
    """
    if not diagnosis.works:
        raise UsageError(f"nothing can be written: {diagnosis.model} does not work: {diagnosis.error}")
    observed: JsonObject = {
        "name": str(lm.model),
        "models": f"^{re.escape(str(lm.model).lower())}$",
        "source": "tale doctor",
        "checked": today.isoformat(),
    }
    control, verdict = family_of(lm), diagnosis.verdicts().get("native")
    if control is not None and control.kind != "none" and verdict is not None and verdict.startswith("obeyed"):
        return replace(control, **observed)
    thinks = diagnosis.thinks or any(r.reasoning_tokens for r in diagnosis.readings)
    return ReasoningControl(
        kind="none",
        why=f"tale doctor: {verdict or 'no reasoning control is known'}",
        thinks="always" if thinks else "on request",
        off=None if control is None else control.off,
        wire_off=None if control is None else control.wire_off,
        **observed,
    )


class _HeaderListener(CallListener):
    """Listens for the rate limits in what a provider answers."""

    def __init__(self) -> None:
        super().__init__()
        self.limits: dict[str, str] = {}

    def append(self, entry: JsonObject) -> None:
        super().append(entry)
        hidden = item_value(entry.get("response"), "_hidden_params")
        headers = hidden.get("additional_headers") if isinstance(hidden, Mapping) else None
        for name, text in (headers or {}).items() if isinstance(headers, Mapping) else ():
            plain = str(name).lower().removeprefix("llm_provider-")
            if "ratelimit" in plain:
                self.limits[plain] = str(text)


def modes_of(lm: LanguageModel) -> tuple[dict[Mode, tuple[int | str, ...]], dict[str, str]]:
    """Return the ways to send a budget that are tried, and those that are not.

    The first come with their budgets, the others with reasons.
    """
    tried: dict[Mode, tuple[int | str, ...]] = {"prompt": BUDGETS, "cap": BUDGETS}
    try:
        budget_request(lm, LEVELS["high"], "native")
    except UsageError as e:
        return tried, {"native": str(e).removeprefix("mode native: ").partition(";")[0]}
    family = family_of(lm)
    if family is not None and family.kind == "word":
        tried["native"] = family.words
    else:
        least = max(LEAST_THINKING, family.minimum if family else 0)
        tried["native"] = tuple(least * 2**i for i in range(4))
    return tried, {}


def expected_price(lm: LanguageModel, price: Price | None = None) -> tuple[int, float | None]:
    """Return the calls of an examination and about the most they cost.

    The cost, in US dollars, is None where the price is unknown.
    """
    tried, _ = modes_of(lm)
    burst = 0 if is_local(lm.model) else BURST
    sizes = [(mode, LEVELS[b] if isinstance(b, str) else b) for mode, budgets in tried.items() for b in budgets]
    replies = [max(_REPLY, size) if mode == "prompt" else size + _SHORT for mode, size in sizes]
    calls = 1 + len(replies) + burst
    price = price or price_of(lm)
    if price is None:
        return calls, None
    return calls, calls * _PROMPT * price.input + (sum(replies) + (1 + burst) * _SHORT) * price.output


def examine(
    lm: LanguageModel,
    *,
    price: Price | None = None,
    max_usd: float | None = None,
    concurrency: int = 4,
) -> Diagnosis:
    """Test which features of a model work.

    These are the key, the reasoning control, whether a budget is followed, and what is reported and refused.

    Args:
        lm: A language model; asked without its cache.
        price: US dollars per token; None takes the known one.
        max_usd: Cap on US dollars.
        concurrency: Calls at the same time, the burst at the end excepted.

    Raises:
        SpendCapReached: If the cap is reached.
        UnpricedModelError: If there is a cap, and no price is known.
    """
    lm = lm.copy(cache=False)
    tried, unavailable = modes_of(lm)
    family = family_of(lm)
    diagnosis = Diagnosis(
        model=lm.model,
        works=False,
        family=None if family is None else family.name,
        thinks=is_reasoning_model(lm),
        auto=budget_request(lm, LEVELS["low"]).mode,
        unavailable=unavailable,
    )
    headers = _HeaderListener()
    with track(max_usd, price=price) as ledger, record_calls(headers, lm=lm, trace=None):
        try:
            DirectAnswer("question -> answer", adapter=TaleAdapter())(question="What is 2 + 3?")
        except LMError as e:
            return replace(diagnosis, error=sentence(e), calls=ledger.calls)
        trials: list[tuple[Mode, int | str]] = [(mode, budget) for mode, budgets in tried.items() for budget in budgets]
        readings = _at_once([partial(_take_reading, mode, budget) for mode, budget in trials], concurrency)
        burst = 0 if is_local(lm.model) else BURST
        refused = sum(_at_once([partial(_is_refused, lm, number) for number in range(burst)], burst or 1))
        spending = ledger.to_json()
    calls = headers.calls
    return replace(
        diagnosis,
        works=True,
        readings=tuple(readings),
        usage_source=_weakest_source(calls),
        reports_reasoning=any(c.reasoning_tokens is not None for c in calls),
        limits=headers.limits or None,
        burst=burst,
        refused=refused,
        calls=spending["calls"],
        cost_usd=spending["spent_usd"],
    )


def _at_once(jobs: Sequence[Callable[[], Any]], threads: int) -> list[Any]:
    """Do jobs in a few threads, in DSPy's own context; results in order."""
    with ThreadPoolExecutor(threads) as pool:
        return [f.result() for f in [pool.submit(contextvars.copy_context().run, job) for job in jobs]]


def _take_reading(mode: Mode, budget: int | str) -> Reading:
    try:
        pred = BudgetedChainOfThought("question -> answer", budget, mode=mode, adapter=TaleAdapter())(question=QUESTION)
    except LMError as e:
        return Reading(mode=mode, budget=budget, error=sentence(e))
    call_receipt = receipt(pred)
    return Reading(
        mode=mode,
        budget=budget,
        spent=call_receipt.output_tokens,
        reasoning_tokens=call_receipt.reasoning_tokens,
        adherence=call_receipt.adherence,
        right=answers_equal(pred.answer, ANSWER),
        status=call_receipt.status,
        skipped=call_receipt.skipped,
        reasoning_params=call_receipt.reasoning_params,
        notes=tuple(call_receipt.reasoning_notes),
    )


def _is_refused(lm: LanguageModel, number: int) -> bool:
    """Return whether one call of a burst is refused with 429.

    Other errors count as not refused.
    """
    ask = DirectAnswer("question -> answer", adapter=TaleAdapter())
    try:
        ask(question=f"What is {number} + 3?", lm=lm.copy(num_retries=0))
    except LMError as e:
        return is_rate_limit(e)
    return False


def _weakest_source(calls: Sequence[Call]) -> str | None:
    sources = {c.usage_source for c in calls}
    return next((s for s in ("unknown", "tokenizer", "provider") if s in sources), None)
