"""What an answer can be, and how a value of any type is written as one."""

import re
from fractions import Fraction
from typing import Literal, get_args

from tale_dspy.answers.number_forms import STRUCTURED
from tale_dspy.answers.numbers import read_quantity
from tale_dspy.errors import UsageError

Kind = Literal["auto", "number", "choice", "text"]
"""What an answer is: a number, an option A to J, a text, or `auto`, which lets the gold decide."""

_MAX_DEPTH = 4
_MAX_BITS = 10_000


def kind_of(gold: object) -> Kind:
    """Return the kind of a gold.

    One letter A to J (also `(A)` and `A.`) is a choice, one number a number, all else a text. A time, a ratio and a
    date (`10:30`, `3:2`, `05/03/2024`) are found as numbers are.

    Example:
        >>> [kind_of(gold) for gold in ("(B)", "$1,234.50", "10:30", "Paris", True)]
        ['choice', 'number', 'number', 'text', 'text']
    """
    text = to_text(gold)
    if text is None or isinstance(gold, bool):
        return "text"
    if re.fullmatch(r"\s*(?:[A-J][.)]?|\([A-J]\))\s*", text):
        return "choice"
    return "number" if read_quantity(text, bare=True) or STRUCTURED.fullmatch(text.strip()) else "text"


def check_kind(kind: Kind) -> None:
    """Refuse what is no `Kind`.

    Raises:
        UsageError: Naming the kinds there are and the value.
    """
    if kind not in get_args(Kind):
        raise UsageError(f"kind must be one of {', '.join(get_args(Kind))}, got {kind!r}")


def to_text(value: object, depth: int = 0) -> str | None:
    """Write an answer or a gold as text.

    Typed fields give numbers, lists and sets, files may give bytes.

    Args:
        value: The value; None stays None. Lists in lists are written down to a depth of four, with `...` below.
        depth: How deep in other lists `value` lies.
    """
    match value:
        case None:
            return None
        case str():
            return value
        case bytes() | bytearray():
            return value.decode("utf-8", "replace")
        case float():
            shortest = format(value, ".15g")  # 0.1 + 0.2 is meant as 0.3
            return shortest if len(shortest) < len(repr(value)) - 2 and "e" not in shortest else str(value)
        case int() if value.bit_length() > _MAX_BITS:
            return hex(value)  # Python refuses to write more than 4300 digits in decimal
        case Fraction():
            return f"{to_text(value.numerator)}/{to_text(value.denominator)}"
        case list() | tuple() | set() | frozenset():
            if depth == _MAX_DEPTH:
                return "..."
            opening, closing = "[]" if isinstance(value, list) else "()" if isinstance(value, tuple) else "{}"
            return opening + ", ".join(to_text(item, depth + 1) or "" for item in value) + closing
        case _:
            return str(value)
