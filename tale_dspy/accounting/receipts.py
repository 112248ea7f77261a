"""The receipt of an answer: its budget, and the sum of its calls.

The calls themselves are in `tale_dspy.accounting.calls`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from tale_dspy.accounting.calls import Call, Role, finite_or_none, total_or_none
from tale_dspy.backends.finish_reasons import normalize_finish_reason
from tale_dspy.budget import Source
from tale_dspy.display import TextPrinter, html_table, number
from tale_dspy.protocols import JsonObject

Status = Literal["answered", "unreadable", "empty", "truncated"]


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """The budget one answer was asked with and the tokens it used.

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
        """The part of `output_tokens` that went into recovering a truncated answer.

        It is None where nothing was recovered.
        """
        return total_or_none([c.output_tokens for c in self.of("recovery")])

    @property
    def estimate_tokens(self) -> int | None:
        """Completion tokens of the budget calls; None where none was made."""
        return total_or_none([c.output_tokens for c in self.of("estimate")])

    @property
    def reasoning_tokens(self) -> int | None:
        """Native thinking tokens of the reasoning calls, None if not reported."""
        return total_or_none([c.reasoning_tokens for c in self.of("reason", "recovery")])

    @property
    def visible_tokens(self) -> int | None:
        """Completion tokens of the reasoning calls that are not thinking, or None."""
        thought = self.reasoning_tokens
        return None if self.output_tokens is None or thought is None else self.output_tokens - thought

    @property
    def adherence(self) -> float | None:
        """Tokens of the reasoning calls over tokens of the budget.

        It is at most 1 where the reply stayed within its budget.
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
            "estimate": finite_or_none(self.estimate),
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

    If recovery calls followed it, the last of them counts instead.

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
