"""One finished question: a line of `records.jsonl`, checked when it is read."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tale_dspy.protocols import JsonObject
from tale_dspy.runs.field_checks import FieldChecks

AnswerOutcome = Literal["correct", "wrong", "unreadable", "empty", "truncated", "error"]
OUTCOMES: tuple[AnswerOutcome, ...] = ("correct", "wrong", "unreadable", "empty", "truncated", "error")


@dataclass(frozen=True, kw_only=True)
class Record:
    """One finished question.

    Token counts and costs that nobody reported are None, never 0.
    """

    id: str
    """16 hex digits of the content hash, plus `-2`, `-3` ... for identical rows."""
    repeat: int = 0
    """Which fresh draw of the question this is, from 0."""
    question: str | None = None
    inputs: JsonObject | None = None
    """All inputs, where there are others than `question`."""
    gold: Any = None
    group: str | None = None
    """What sort of question it is, where the data says: the label `group` of its example."""
    reply: str | None = None
    """Text of the last reply that was neither an estimate nor the metric's."""
    answer: Any = None
    outcome: AnswerOutcome
    score: float | None = None
    """What the metric gave; None where it was not asked."""
    token_budget: int | None = None
    effort: str | None = None
    """The effort word of the budget; None where it was a number alone, or there was none."""
    budget_source: str | None = None
    """`estimate`, `clamped`, `fallback`, `given`, `default` or `stated`."""
    fallback_reason: str | None = None
    """Why the default was sent in place of an estimate, such as `no budget` or `truncated`."""
    mode: str | None = None
    """How the budget was sent: `prompt`, `native` or `cap`."""
    reasoning_params: JsonObject | None = None
    """The part of the request body that carried it, beside the prompt."""
    reasoning_notes: list[str] | None = None
    """What of it was raised, lowered or left out, in words."""
    skipped: bool | None = None
    """Whether the answer came without the visible reasoning that was asked for; None where none was asked for."""
    votes: int | None = None
    """Replies that were asked for, of a `Vote`."""
    votes_for_answer: int | None = None
    output_tokens: int | None = None
    """Completion tokens of the reasoning calls, thinking and rescues included."""
    rescue_calls: int = 0
    """Calls made because the answer was cut or empty."""
    recovery_tokens: int | None = None
    """The part of `output_tokens` that they took; None where none was made."""
    estimate_tokens: int | None = None
    """Completion tokens of the budget calls; None where none was made."""
    prompt_tokens: int | None = None
    """Prompt tokens of all calls of the program, estimates included."""
    estimate_prompt_tokens: int | None = None
    reasoning_tokens: int | None = None
    cached_prompt_tokens: int | None = None
    usage_source: str | None = None
    """`provider`, `tokenizer` or `unknown`: the weakest source of this question's counts."""
    cost_usd: float | None = None
    """US dollars paid for this question; None if the price of any call is unknown."""
    estimate_cost_usd: float | None = None
    """The part of the full price (paid or saved) that the budget calls have."""
    saved_cost_usd: float | None = None
    """US dollars not paid again because the answer came from the cache."""
    metric_tokens: int | None = None
    metric_cost_usd: float | None = None
    latency_s: float | None = None
    """Seconds of wall clock; None where any answer came from a cache or the journal."""
    finish_reason: str | None = None
    response_model: str | None = None
    """The snapshot the provider says it used."""
    calls: int = 0
    paid_calls: int = 0
    batch_calls: int = 0
    """Those of them that a batch API answered, at half the price."""
    cached_calls: int = 0
    error: str | None = None
    output_tokens_cl100k: int | None = None
    """The paper's count of the reply (preset `paper` only)."""
    paper_correct: bool | None = None
    """The paper's own judge on the reply (preset `paper` only)."""
    copied_example: bool = False
    """Whether the wrong answer is the example that the prompt shows."""

    @property
    def correct(self) -> bool:
        return self.outcome == "correct"

    @property
    def price_usd(self) -> float | None:
        """Full price of the question, whether paid or from a cache, None if unknown."""
        # With a metric that asks a model the cached call may be the metric's, unless the program's own cost nothing.
        own_cached = self.cached_calls > 0 and (self.metric_tokens is None or not self.cost_usd)
        if self.cost_usd is None or (own_cached and self.saved_cost_usd is None):
            return None
        return self.cost_usd + (self.saved_cost_usd or 0.0)

    @property
    def net_tokens(self) -> int | None:
        """Output tokens with the estimator's, or None if either is unknown.

        An estimator that was not called counts as 0.
        """
        estimated = self.estimate_prompt_tokens is not None or self.usage_source == "unknown"
        if self.output_tokens is None or (self.estimate_tokens is None and estimated):
            return None
        return self.output_tokens + (self.estimate_tokens or 0)

    def to_json(self) -> JsonObject:
        return dict(vars(self))

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> "Record":
        """Build a record from a line of `records.jsonl`.

        Keys of later versions are ignored.

        Raises:
            ValueError: If a field is missing, of another kind than it must be, negative, or larger than can be.
        """
        values = _CHECKS.checked_fields(row)
        if values.get("outcome") not in OUTCOMES or not values.get("id"):
            rule = f"outcome must be one of {', '.join(OUTCOMES)}"
            raise ValueError(f"{rule}, got {row.get('outcome')!r:.60}" if values.get("id") else "there is no id")
        return cls(**values)


_CHECKS = FieldChecks(Record, unlimited=("score",))
