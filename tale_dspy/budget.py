"""A token budget: read one out of a model's reply and keep it within sane limits.

Pure text and numbers; what asks for a budget lives in `tale_dspy.programs`, how it is worded in `tale_dspy.adapter`.
"""

import math
import re
import unicodedata
from dataclasses import dataclass
from operator import index
from typing import Literal, SupportsIndex

from tale_dspy.errors import UsageError

Source = Literal["estimate", "clamped", "fallback", "given", "default", "stated"]

DEFAULT_BUDGET = 256
"""Tokens used when an estimate cannot be read: too large a budget costs tokens, too small a one costs the answer."""
DEFAULT_THINKING = 2048
"""Tokens for a model that thinks natively, where nothing was estimated: it decides itself how many of them it needs."""
DEFAULT_FLOOR = 1
DEFAULT_CEILING = 4096

_TAIL = 4000  # characters of a reply that are searched: an estimator has no business writing more
_NUMBER = r"(?<![A-Za-z0-9_.])-?(?:\d{1,3}(?:[, ]\d{3})+(?!\d)|\d+)(?:\.\d+)?(?:[eE]\+?\d{1,3})?(?:\s?[kK](?!\w))?"
_RANGE = re.compile(rf"({_NUMBER})(?:\s*(?:-|–|—|~|to|and)\s*({_NUMBER.replace('-?', '')}))?")
_BRACKET = re.compile(r"\[\[([^\[\]]{0,200})\]\]")
_LABEL = re.compile(r"(?:budget|预算)[^\w-]{0,6}(?:is|of|be|为|是)?[^\w-]{0,6}(?=-?\d)", re.IGNORECASE)
_STATED = re.compile(
    r"(?im)^[^\w\n]{0,9}(?:(?:the|my|token|minimum)\s){0,3}(?:budget|预算)[^\w\n\[]{0,9}(?:is|of|为|是)?[^\w\n\[]{0,9}"
    r"(?:\[\[([^\[\]\n]{1,60})\]\]|(\d[\d,]{0,9}))(?:\s?tokens?\b)?[*_]{0,3}[.。]?[ \t]*\n?"
)
_HEAD = 300  # characters of a reply in which a budget may begin to be stated
_TOKENS = re.compile(r"\s*(?:\*\*|\])?\s*tokens?\b", re.IGNORECASE)


@dataclass(frozen=True)
class Budget:
    """A budget that can be sent, and where it comes from."""

    tokens: int
    """What is sent, in tokens; within the limits."""
    source: Source
    """`estimate` as read and scaled, `clamped` to a limit, `fallback` where none could be read, `given` by a caller,
    `default` where none was asked for, since the model thinks natively, `stated` by the model at the head of the very
    reply that was to keep to it."""
    raw: str | None = None
    """The reply it was read from."""
    estimate: float | None = None
    """The number read from the reply, before scale and limits; None if there was none."""


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

    def apply(self, estimate: float | None, raw: str | None = None) -> Budget:
        """Turn what was read into a budget that can be sent.

        An estimate that is missing, not finite, zero or negative falls back to `default`; one outside the limits is
        clamped; every other one is scaled and rounded up to whole tokens.
        """
        told = estimate if estimate is not None and math.isfinite(estimate) else None  # JSON has no NaN and no infinity
        if estimate is None or math.isnan(estimate) or estimate <= 0:
            return Budget(min(max(self.default, self.floor), self.ceiling), "fallback", raw, told)
        scaled = estimate * self.scale
        if scaled > self.ceiling:
            return Budget(self.ceiling, "clamped", raw, told)
        if math.ceil(scaled) < self.floor:
            return Budget(self.floor, "clamped", raw, estimate)
        return Budget(math.ceil(scaled), "estimate", raw, estimate)


def check_budget(value: object, name: str = "token_budget") -> int:
    """Return a budget given by a caller as an int, or say what is wrong with it.

    Integers of other libraries, such as NumPy's, are taken.

    Raises:
        UsageError: If it is not a whole number of at least 1.
    """
    try:
        tokens = index(value) if isinstance(value, SupportsIndex) and not isinstance(value, bool) else 0
    except TypeError:  # an array of several
        tokens = 0
    if tokens < 1:
        raise UsageError(f"{name} must be a whole number of tokens of at least 1, got {value!r}")
    return tokens


def read_budget(reply: str | None) -> float | None:
    """Read a token budget out of an estimator's reply.

    The last `[[...]]` that holds a number counts, then a number after "budget", then one before "tokens", then the last
    number. Of a range ("50-80") the upper end counts. Thousands separators, decimals, `k`, Unicode minus and full-width
    digits are read.

    Args:
        reply: The estimator's text; None and empty text hold no budget.

    Returns:
        The number as it stands there, zero and negative ones included, or None if there is none. The paper's code
        sends -1 instead (its `extract_number`); `BudgetLimits.apply` decides what is sent here.
    """
    if not reply:
        return None
    text = unicodedata.normalize("NFKC", reply[-_TAIL:]).replace("\N{MINUS SIGN}", "-")
    for content in reversed(_BRACKET.findall(text)):
        if (number := _plain_number(content)) is not None:
            return number
    return _plain_number(text)


def split_stated(reply: str) -> tuple[str | None, str]:
    """Cut the budget off a reply that states it first: `Budget: [[12]]`, or `Budget: 12 tokens` on a line of its own.

    Args:
        reply: What a model wrote that was asked to state its budget before it thinks.

    Returns:
        The text of the budget, for `read_budget`, or None if none is stated; and the reply without it.
    """
    found = _STATED.search(reply)
    if found is None or found.start() > _HEAD:
        return None, reply
    return (found[1] or found[2]).strip(), reply[: found.start()] + reply[found.end() :]


def _plain_number(text: str) -> float | None:
    labels = list(_LABEL.finditer(text))
    if labels and (found := _RANGE.match(text, labels[-1].end())):
        return _upper(found)
    numbers = list(_RANGE.finditer(text))
    before_tokens = [m for m in numbers if _TOKENS.match(text, m.end())]
    return _upper((before_tokens or numbers)[-1]) if numbers else None


def _upper(found: re.Match[str]) -> float:
    return max(_value(part) for part in found.groups() if part)


def _value(text: str) -> float:
    thousand = text[-1] in "kK"
    return float(text.rstrip("kK ").replace(",", "").replace(" ", "")) * (1000 if thousand else 1)
