"""Features of a question for a regression: counts of its text.

They work in any language.

They are counts only: nothing here reads a word, asks a model or knows a budget. Each takes time in proportion to the
text.
"""

import math
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

import pydantic

from tale_dspy.answers.number_forms import DIGIT_RUN

LONGEST = 100_000
"""Characters of a text that are looked at; its length counts in full."""

_DEEPEST = 8
_MOST_NODES = 10_000
_LARGEST_INT = 10**100

_WORD = re.compile(r"\w+")
_DIGIT = re.compile(r"\d")
# A full stop ends a sentence where white space or nothing follows, also after quotes and brackets; "3.5" has none. The
# look-behind and the possessive quantifiers keep a text of nothing but full stops from taking quadratic time.
_SENTENCE = re.compile(r"(?<![.!?])[.!?]++[\"'”’»)\]]*+(?=\s|\Z)|[。！？]++")
_COMMA = re.compile(r"[,;:](?!\d)|[，、；：]")
_QUESTION = re.compile(r"[?？]")
_SIGN = re.compile(r"[+\-−*/=^×÷%<>≤≥√\\$€£¥]")
_OPTION = re.compile(r"(?<!\w)[A-J][).:、．]")
_LINE = re.compile(r"\n")


def _match_counter(pattern: re.Pattern[str]) -> Callable[[str], int]:
    return lambda text: sum(1 for _ in pattern.finditer(text))


def _longest_number(text: str) -> int:
    return max((len(_DIGIT.findall(n)) for n in DIGIT_RUN.findall(text)), default=0)


_COUNTS: dict[str, Callable[[str], int]] = {
    "words": _match_counter(_WORD),
    "numbers": _match_counter(DIGIT_RUN),
    "different_numbers": lambda text: len(set(DIGIT_RUN.findall(text))),
    "digits": _match_counter(_DIGIT),
    "longest_number": _longest_number,
    "sentences": _match_counter(_SENTENCE),
    "commas": _match_counter(_COMMA),
    "question_marks": _match_counter(_QUESTION),
    "signs": _match_counter(_SIGN),
    "options": _match_counter(_OPTION),
    "lines": _match_counter(_LINE),
}

FEATURES = ("characters", *_COUNTS)
"""Names of what is counted, in the order of `features`."""


def features(text: str) -> list[float]:
    """Return the logarithm of one plus each count of `FEATURES`.

    Args:
        text: Any text; beyond `LONGEST` characters only its length counts.
    """
    head = text[:LONGEST]
    return [math.log1p(n) for n in (len(text), *(count(head) for count in _COUNTS.values()))]


def text_of(value: object) -> str:
    """Return the text in an input.

    For lists, dicts and Pydantic objects it is the text of their parts, one a line. It never raises: what holds no text
    (None, the data of an image, an object of any other class) gives "", and what holds itself, or is nested or filled
    without end, only its first parts.
    """
    if isinstance(value, str):
        return value
    return "\n".join(filter(None, map(_float_text, islice(_nested_values(value, _DEEPEST), _MOST_NODES))))


def _nested_values(value: object, deep: int) -> Iterator[Any]:
    """Yield a value and all it holds.

    Containers are yielded, too, so that a limit on the number of values limits the time.
    """
    yield value
    if deep:
        for part in _child_values(value):
            yield from _nested_values(part, deep - 1)


def _child_values(value: object) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    if isinstance(value, pydantic.BaseModel):
        return vars(value).values()
    return value if isinstance(value, list | tuple | set | frozenset) else ()


def _float_text(value: object) -> str:
    if isinstance(value, str):
        return "" if value.startswith("data:") else value  # an image or a sound, written as a text
    if isinstance(value, int):  # beyond some thousand digits Python refuses to write one
        return str(max(-_LARGEST_INT, min(value, _LARGEST_INT)))
    return repr(value) if isinstance(value, float) else ""
