"""A budget: a number of tokens or an effort word.

It is read out of a model's reply and limited to sane values.

It is pure text and numbers; what asks for a budget lives in `tale_dspy.programs`, how it is worded in
`tale_dspy.adapter`.
"""

import math
import re
from dataclasses import dataclass
from operator import index
from typing import Literal, SupportsIndex

from tale_dspy.answers.budget_estimate import read_estimate
from tale_dspy.errors import UsageError

EFFORT_WORDS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
"""Effort words of today's thinking models, from the least to the most; each model takes some of them."""

Source = Literal["estimate", "clamped", "fallback", "given", "default", "stated"]

DEFAULT_BUDGET = 256
"""Tokens used when an estimate cannot be read: too large a budget costs tokens, too small a one costs the answer."""
DEFAULT_THINKING = 2048
"""Tokens for a model that thinks natively, where nothing was estimated: it decides itself how many of them it needs."""
DEFAULT_FLOOR = 1
DEFAULT_CEILING = 4096

_STATED = re.compile(
    r"(?im)^[^\w\n]{0,9}(?:(?:the|my|token|minimum)\s){0,3}(?:budget|预算)[^\w\n\[]{0,9}(?:is|of|为|是)?[^\w\n\[]{0,9}"
    r"(?:\[\[([^\[\]\n]{1,60})\]\]|(\d[\d,]{0,9}))(?:\s?tokens?\b)?[*_]{0,3}[.。]?[ \t]*\n?"
)
_HEAD = 300  # characters of a reply in which a budget may begin to be stated


@dataclass(frozen=True)
class BudgetValue:
    """What a call may spend on its reasoning.

    It is a number of tokens, an effort word, or a word beside a number. A number alone is written in the prompt and
    sent by the model's reasoning control. A word alone is sent by the reasoning control, and the prompt says nothing.
    With both, the control takes the word and the prompt the number.

    Raises:
        UsageError: If it is neither, the number is no whole number of at least 1, or the word is none of
            `EFFORT_WORDS`.

    Example:
        >>> ", ".join(str(BudgetValue.parse(value)) for value in (50, "low", "low+50"))
        '50, low, low+50'
    """

    tokens: int | None = None
    """Tokens of the phrase, and of the reasoning control where there is no word."""
    effort: str | None = None
    """One of `EFFORT_WORDS`."""

    def __post_init__(self) -> None:
        if self.tokens is None and self.effort is None:
            raise UsageError("a budget is a number of tokens or an effort word, got neither")
        if self.tokens is not None:
            object.__setattr__(self, "tokens", check_budget(self.tokens))
        if self.effort is not None:
            check_effort(self.effort)

    @classmethod
    def parse(cls, value: "int | str | BudgetValue") -> "BudgetValue":
        """Read a budget as users write it: `50`, `"50"`, `"low"`, `"low+50"`.

        Raises:
            UsageError: If it is none of these.
        """
        if isinstance(value, BudgetValue):
            return value
        if not isinstance(value, str):
            return cls(check_budget(value))
        word, plus, number = value.strip().lower().rpartition("+")
        if not word and (plus or not number.isascii()):
            raise UsageError(f"a budget is a number of tokens or one of {', '.join(EFFORT_WORDS)}, got {value!r}")
        if number.isdigit() and len(number) <= _DIGITS:
            return cls(int(number), word or None)
        return cls(effort=check_effort(value.strip().lower()))

    def __str__(self) -> str:
        return "+".join(str(part) for part in (self.effort, self.tokens) if part is not None)

    def to_json(self) -> int | str:
        """Return what `parse` reads: the number where it is one, else the text."""
        return self.tokens if self.tokens is not None and self.effort is None else str(self)


BudgetLike = int | str | BudgetValue
"""What callers may write for a budget."""

_DIGITS = 18  # more than any budget has; int() refuses some thousands


@dataclass(frozen=True)
class Budget:
    """A budget that can be sent, and where it comes from."""

    tokens: int | None
    """What is sent, in tokens; within the limits. None where an effort word alone is."""
    source: Source
    """`estimate` as read and scaled, `clamped` to a limit, `fallback` where none could be read, `given` by a caller,
    `default` where none was asked for, since the model thinks natively, `stated` by the model at the head of the very
    reply that was to keep to it."""
    raw: str | None = None
    """The reply it was read from."""
    estimate: float | None = None
    """The number read from the reply, before scale and limits; None if there was none."""
    effort: str | None = None
    """The effort word that is sent; None where a number alone is."""
    fallback_reason: str | None = None
    """Why no estimate is sent, in words such as `no budget`, `truncated` or `refusal`; None unless it is a fallback."""

    @property
    def value(self) -> BudgetValue:
        """What is sent, without where it comes from."""
        return BudgetValue(self.tokens, self.effort)


@dataclass(frozen=True)
class BudgetLimits:
    """What an estimate is multiplied with and kept between.

    Raises:
        UsageError: If scale is not a positive number, one of the others is not a whole number of at least 1, or floor
            is above ceiling.
    """

    scale: float = 1.0
    """Factor on the estimate (the paper's alpha, appendix A.8)."""
    floor: int = DEFAULT_FLOOR
    """Smallest budget sent, in tokens."""
    ceiling: int = DEFAULT_CEILING
    """Largest budget sent, in tokens."""
    default: int = DEFAULT_BUDGET
    """Budget sent when the estimate is unreadable, zero or negative, in tokens; kept within floor and ceiling."""

    def __post_init__(self) -> None:
        if isinstance(self.scale, bool) or not isinstance(self.scale, int | float) or not 0 < self.scale < math.inf:
            raise UsageError(f"scale must be a positive number, got {self.scale!r}")
        object.__setattr__(self, "scale", float(self.scale))
        for name in ("floor", "ceiling", "default"):
            object.__setattr__(self, name, check_budget(vars(self)[name], name))
        if self.floor > self.ceiling:
            raise UsageError(f"floor must not be above ceiling, got floor={self.floor} and ceiling={self.ceiling}")

    def apply(self, estimate: float | None, raw: str | None = None, reason: str | None = None) -> Budget:
        """Turn what was read into a budget that can be sent.

        An estimate that is missing, not finite, zero or negative falls back to `default`; one outside the limits is
        clamped; every other one is scaled and rounded up to whole tokens.

        Args:
            estimate: The number that was read, in tokens; None if there is none.
            raw: The reply it was read from.
            reason: Why there is none, for the receipt.
        """
        number = (
            estimate if estimate is not None and math.isfinite(estimate) else None
        )  # JSON has no NaN and no infinity
        if estimate is None or math.isnan(estimate) or estimate <= 0:
            why = reason or ("no estimate" if number is None else "not positive")
            return Budget(
                min(max(self.default, self.floor), self.ceiling), "fallback", raw, number, fallback_reason=why
            )
        scaled = estimate * self.scale
        if scaled > self.ceiling:
            return Budget(self.ceiling, "clamped", raw, number)
        if math.ceil(scaled) < self.floor:
            return Budget(self.floor, "clamped", raw, estimate)
        return Budget(math.ceil(scaled), "estimate", raw, estimate)


def check_budget(value: object, name: str = "token_budget") -> int:
    """Return a budget given by a caller as an int, or say what is wrong with it.

    Integers of other libraries, such as NumPy's, are taken.

    Raises:
        UsageError: If it is not a whole number of at least 1.
    """
    return _check_whole(value, name, "whole number of tokens")


def check_count(value: object, name: str) -> int:
    """Return a number of calls, trials or threads as an int.

    Raises:
        UsageError: If it is not a whole number of at least 1.
    """
    return _check_whole(value, name, "whole number")


def _check_whole(value: object, name: str, kind: str) -> int:
    try:
        number = index(value) if isinstance(value, SupportsIndex) and not isinstance(value, bool) else 0
    except TypeError:  # an array of several
        number = 0
    if number < 1:
        raise UsageError(f"{name} must be a {kind} of at least 1, got {value!r}")
    return number


def check_fraction(value: object, name: str) -> float:
    """Return a fraction, or say what is wrong with it.

    Raises:
        UsageError: If it is no number from 0 to 1.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise UsageError(f"{name} must be a fraction from 0 to 1, got {value!r}")
    return value


def check_effort(value: object, name: str = "effort") -> str:
    """Return an effort word given by a caller, or say which there are.

    Raises:
        UsageError: If it is none.
    """
    if value not in EFFORT_WORDS:
        raise UsageError(f"{name} must be one of {', '.join(EFFORT_WORDS)}, got {value!r}")
    return str(value)


def read_budget(reply: str | None) -> float | None:
    """Read a token budget out of an estimator's reply.

    What counts is said at `tale_dspy.answers.budget_estimate.read_estimate`, which also says why there is none.

    Args:
        reply: The estimator's text; None and empty text hold no budget.

    Returns:
        The number as it stands there, zero and negative ones included, or None if there is none. The paper's code
        sends -1 instead (its `extract_number`); `BudgetLimits.apply` decides what is sent here.
    """
    return read_estimate(reply).tokens


def split_stated(reply: str) -> tuple[str | None, str]:
    """Cut the budget off a reply that states it first.

    It is `Budget: [[12]]`, or `Budget: 12 tokens` on a line of its own.

    Args:
        reply: What a model wrote that was asked to state its budget before it thinks.

    Returns:
        The text of the budget, for `read_budget`, or None if none is stated; and the reply without it.
    """
    stated = _STATED.search(reply)
    if stated is None or stated.start() > _HEAD:
        return None, reply
    return (stated[1] or stated[2]).strip(), reply[: stated.start()] + reply[stated.end() :]
