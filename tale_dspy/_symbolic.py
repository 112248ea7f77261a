"""Read one short answer as a value: a number, or an expression compared by math-verify within a fixed time.

Numbers are read and compared here, exactly, as fractions. Whatever is mathematics but not a number goes to math-verify
(on sympy). In this process it would be no judge for strangers' text: its time-outs are signals, which only the main
thread may set, and some inputs keep sympy busy for ever. So it runs in one child process (`python -m` this module),
started at first use, kept, and answering one question at a time. The child watches itself: a native timer ends it when
a question takes longer than `LIMIT_S`, even inside one long C call; that question is then answered "not the same" and
the next one gets a new child.

Replies, golds and option letters are not known here: see `tale_dspy.answers`.
"""

import atexit
import contextlib
import faulthandler
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import IO

from tale_dspy.errors import BackendError

LIMIT_S = 1.0
"""Seconds of wall clock one question may take; with the start of a child a judgement stays below two."""
START_LIMIT_S = 60.0
"""Seconds the child may take to import sympy: the machine's matter, not the question's."""
MEMORY_BYTES = 4 << 30
"""Address space of the child, where the system can limit it."""
MAX_CHARS = 300
"""Longer texts are neither read as a number nor compared as mathematics; no answer of a published set is that long."""
MAX_EXPONENT = 400
"""Decimal exponents beyond it are not read: `1e999999999` would be an integer of a billion digits."""

# Full-width forms, the many spaces and minus signs, each as its one ASCII twin, so that positions stay the same.
_TWINS = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
_TWINS |= dict.fromkeys([0, 0xA0, *range(0x2000, 0x200E), 0x202F, 0x205F, 0x2060, 0x3000, 0xFEFF], 0x20)
_TWINS |= dict.fromkeys([0x2010, 0x2011, 0x2012, 0x2013, 0x2212, 0xFE63], 0x2D)
_TWINS |= {0x3010: 0x5B, 0x3011: 0x5D}

CURRENCY = r"(?:(?:US|HK|AU|NZ|CA)?\$|[€£¥₹₩]|(?:USD|EUR|GBP|CNY|RMB|Rs\.?)\s)"
_DIGITS = r"(?:\d{1,3}(?:[,'’]\d{3})+(?!\d)|\d{1,3}(?: \d{3})+(?!\d)|\d{1,2}(?:,\d{2})+,\d{3}(?!\d)|\d++)"
_DECIMAL = rf"(?:{_DIGITS}(?:\.\d*+)?|\.\d++)"
_POWER = r"(?:[eE][+-]?\d++(?![A-Za-z])|\s?[x×*]\s?10\s?\^\s?[{(]?[+-]?\d++[})]?)"
NUMBER = rf"(?:\d++ \d++\s?/\s?\d++|{_DECIMAL}\s?/\s?-?{_DECIMAL}|10\s?\^\s?\{{?-?\d++\}}?|{_DECIMAL}{_POWER}?)"
"""A number without its sign: mixed, fraction, power of ten, decimal."""
_NUMBER = re.compile(NUMBER)
_SIGNED = re.compile(rf"(?P<label>[^-+]*?)(?P<gap>\s*)(?P<sign>[-+]?)\s?{CURRENCY}?\s?(?P<sign2>[-+]?)\s?")
_SCALE = {"thousand": 10**3, "k": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12, "万": 10**4, "亿": 10**8}
SCALE = r"(?:thousand|million|billion|trillion|万|亿|k(?![A-Za-z]))"
_SCALED = re.compile(rf"\s?({SCALE})")
_PERCENT = re.compile(r"\s?(?:%|percent(?:age)?|per cent|pct)(?![A-Za-z])", re.I)
_LETTERS = re.compile(r"[^\W\d_]+")
# One and two letters are a unit only if they are a known one: `2x`, `3 ab`, `2π` and `4 pi` are no plain numbers.
_SHORT_UNITS = frozenset(
    "m g s h L l d t J N W V A K C F cm mm km dm nm um kg mg ml mL cl dl kL hr lb oz ft in yd mi sq cu mg kW kV mA Hz "
    "GB MB KB TB am pm AM PM st nd rd th of at on by an as us he it rd US".split()
)
_HEDGES = frozenset(
    "not no never neither nor or if unless without except less fewer more greater than least most between under over "
    "below above minus plus times half twice double triple square cube root sqrt log ln sin cos tan mod wrong incorrect "
    "unknown cannot squared cubed factorial to pi theta alpha beta infinity".split()
)
_UNIT_HEDGES = _HEDGES - {"less", "fewer", "more", "greater", "than", "over", "square", "double", "above", "below"}
_CHINESE_HEDGE = re.compile(r"[不非]|或|至少|至多|大于|小于|多于|少于|超过|不足")

# Whatever could make sympy build a huge integer. The child's timer would catch these too, but a second later.
_BOMB = re.compile(
    r"\d{31}|\d{4}\s?!|!\s?!|[)}]\s?!|\^\W{0,3}\d{5}|\^\W{0,3}\d+\W{0,3}\^|\*\*\W{0,3}\d+\W{0,3}\*\*|\d[eE]\+?\d{4}"
)
_COMMAND = re.compile(r"\\[A-Za-z]+")
_FUNCTION = re.compile(r"(?<![\\A-Za-z])(arcsin|arccos|arctan|sin|cos|tan|log|ln|exp|sqrt|pi|infty)(?![A-Za-z])")
_PROSE = re.compile(
    r"[^\W\d_]{4,}|(?<![^\W\d_])(?:and?|but|if|in|is|no|not|of|or|per|the|to)(?![^\W\d_])|[\u2e80-\uffff]", re.I
)
_SIGN = re.compile(r"[\d+\-*/^=<>|√π∞≤≥\\]")


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """A number as it was written."""

    value: Fraction
    """Its value without the percent sign: 50 for `50%`."""
    percent: bool = False
    digits: int = 0
    """Significant digits, if it was written as a decimal; 0 for integers and fractions."""
    unit: str = ""
    """What followed it, if that is a known symbol such as `km`."""

    def same(self, other: "Quantity") -> bool:
        """Tell whether both are the same number.

        A percentage equals both its number and its hundredth (GSM8K's gold for 50 % is `50`), but another percentage
        only as written. The values must be equal, except that a decimal of at least four significant digits equals a
        fraction with no finite decimal from which it differs by at most a millionth: 0.333333 is 1/3, 0.333 is not.
        Two different unit symbols make two quantities different; a missing or spelled-out unit does not.
        """
        if self.unit and other.unit and self.unit != other.unit:
            return False
        if self.percent == other.percent:
            return self._close(self.value, other.value, other)
        low, high = (self.value / 100, other.value) if self.percent else (self.value, other.value / 100)
        return self._close(low, high, other) or self._close(self.value, other.value, other)

    def _close(self, mine: Fraction, theirs: Fraction, other: "Quantity") -> bool:
        if mine == theirs:
            return True
        if (self.digits >= 4) == (other.digits >= 4):
            return False
        exact, written = (theirs, other.digits) if self.digits else (mine, self.digits)
        return not written and not _finite(exact) and abs(mine - theirs) * 10**6 <= abs(exact)


def ascii_twin(text: str) -> str:
    """Replace full-width characters, odd spaces and Unicode minus signs one for one; positions stay the same."""
    return text if text.isascii() else text.translate(_TWINS)


def tidy(text: str) -> str:
    """Take the typography off a short text: LaTeX spacing, `\\text{}`, `\\frac`, escaped signs, dollars, bold."""
    text = ascii_twin(text)
    for pattern, replacement in _TYPOGRAPHY:
        text = pattern.sub(replacement, text)
    return text.strip()


_TYPOGRAPHY = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\\(?:text|textbf|textit|mathrm|mathbf|mathit|mbox|operatorname)\s?\{([^{}]*)\}", r" \1 "),
        (r"\\(?:left|right|displaystyle)(?![A-Za-z])|\\!", ""),
        (r"\{,\}", ","),
        (r"(\d)\s*\\[dt]?frac\s?\{\s?(\d+)\s?\}\s?\{\s?(\d+)\s?\}", r"\1 \2/\3"),
        (r"\\[dtc]?frac\s?\{\s?(-?[\d.,]+)\s?\}\s?\{\s?(-?[\d.,]+)\s?\}", r"\1/\2"),
        (r"\\[dt]?frac(\d)(\d)", r"\1/\2"),
        (r"\\([$%&#_])", r"\1"),
        (r"\\[(\[]|\\[)\]]", " "),
        (r"\\[,;: ]|\\q?quad(?![A-Za-z])|~", " "),
        (r"\\(?:times|cdot)(?![A-Za-z])|[×·]", "*"),
        (r"\\(?:approx|simeq|sim)(?![A-Za-z])", "≈"),
        (r"\^\s?\{?\s?\\circ\s?\}?|\\degree(?![A-Za-z])", "°"),
        (r"⁄", "/"),
        (r"½", " 1/2"),
        (r"¼", " 1/4"),
        (r"¾", " 3/4"),
        (r"⅓", " 1/3"),
        (r"⅔", " 2/3"),
        (r"²", "^2"),
        (r"³", "^3"),
        (r"\*\*(?=\s*[^\d\s(])|(?<![\d)])\*\*|\*\*$|`", ""),
        (r"\s+", " "),
        (r"^\s?\$(?=[^$]*\$$)|(?<=[^$])\$\s?$", ""),
    )
]


def read_quantity(text: str, *, bare: bool = False) -> Quantity | None:
    """Read a short text as exactly one number; None where it is anything else.

    Currency, units, a label (`Total: 18`, `x = 18`, `9 * 2 = 18`), a harmless phrase around it and an explanation in
    brackets behind it (`18 (i.e. 9 x 2)`) do not matter. Two numbers (`3, 4`, `20 or 18`), a hedge (`not 18`,
    `at least 18`), another factor (`2x`, `18!`) or text longer than `MAX_CHARS` do: they give None.

    Args:
        text: The content of an answer's brackets, or a gold.
        bare: Take only a number with its sign, currency, percent sign or unit in small letters, as in a gold.
    """
    if len(text) > MAX_CHARS:
        return None
    text = tidy(text).rstrip(".,;: 。")
    if not bare:
        text = _without_explanation(text)
        left, equals, right = text.rpartition("=") if "≈" not in text else text.rpartition("≈")
        if equals:
            return read_quantity(right) if _equates(left, right) else None
    text = text.removeprefix("≈").strip()
    if text[:1] == "(" and text[-1:] == ")" and not re.search(r"[,()]", text[1:-1]):
        text = text[1:-1].strip()
    number = _NUMBER.search(text)
    if number is None:
        return None
    before = _SIGNED.fullmatch(text[: number.start()])
    if before is None or (bare and before["label"]) or not _harmless(before):
        return None
    return _quantity(number[0], "-" in (before["sign"], before["sign2"]), text[number.end() :], bare)


def _without_explanation(text: str) -> str:
    """Drop `(i.e. $9 x 2)` behind a number, but neither `(or 20)` nor a factor such as `(x + 1)`."""
    opened = text.rfind(" (")
    if opened <= 0 or text[-1] != ")" or text.count("(", opened) != 1:
        return text
    inside = text[opened + 2 : -1]
    explains = re.search(r"[^\W\d_]{3}|i\.e|=|[\u2e80-\uffff]", inside)
    return text[:opened] if explains and not re.search(r"\bor\b|或", inside) else text


def _equates(left: str, right: str) -> bool:
    """Tell whether `left = right` may be read as its right side: no comparison, no list, no false equation."""
    if re.search(r"[,;<>≤≥≠!]|\b(?:or|and|not)\b|\\(?:n?eq?|[lg]eq?)\b", left) or left[-1:] in "<>!" or right[:1] in "<>":
        return False
    said = _NUMBER.fullmatch(left.strip())
    value = read_quantity(right)
    return said is None or value is None or _value(said[0]) == value.value


def _harmless(before: "re.Match[str]") -> bool:
    label = before["label"].strip()
    if not label:
        return True
    if before["sign"] and not before["gap"] and label[-1] not in ":(":
        return False  # `x-18` is a difference
    words = _LETTERS.findall(label)
    if _CHINESE_HEDGE.search(label) or any(w.lower() in _HEDGES or w in ("n", "t") for w in words):
        return False
    if label[-1] != ":" and any(w.isascii() and len(w) == 1 and w not in "aA" for w in words):
        return False
    return re.fullmatch(r"[^\W\d_](?:[^\W\d_]|[ .,:'’])*", label) is not None


def _quantity(number: str, negative: bool, after: str, bare: bool) -> Quantity | None:
    value = _value(number)
    if value is None:
        return None
    if scaled := _SCALED.match(after):
        value, after = value * _SCALE[scaled[1]], after[scaled.end() :]
    percent = _PERCENT.match(after)
    unit = _unit(after[percent.end() :] if percent else after, bare)
    if unit is None:
        return None
    digits = 0
    if "/" not in number and re.search(r"[.eE^]", number):
        digits = len(re.sub(r"\D", "", re.split(r"[eEx*]", number)[0]).lstrip("0"))
    return Quantity(value=-value if negative else value, percent=bool(percent), digits=digits, unit=unit)


def _unit(after: str, bare: bool) -> str | None:
    """Read what follows a number: the symbol if it is a known one, "" for other units, None if it is no unit."""
    attached = after[:1].isalpha()
    text = re.sub(r"(?<=[^\W\d_])\s?\^?\{?-?[1-4]\}?(?![\w}])", "", after).strip(" .:;'\"-")
    if not re.fullmatch(r"[^\W\d_°℃%$€£¥/ '’.,·-]*".replace("[^", "(?:[^", 1).replace("]*", "]|[°℃$€£¥/ '’.,·-])*"), text):
        return None
    words = _LETTERS.findall(text)
    for word in words:
        if len(word) <= 2 and word not in _SHORT_UNITS and (word.isascii() or "α" <= word[0] <= "ω") and word not in "aμ":
            return None
        if word.lower() in _UNIT_HEDGES:
            return None
    if _CHINESE_HEDGE.search(text) or re.search(r"\band (?:an?|one|two|three|half)\b", text):
        return None
    if bare and any(w not in _SHORT_UNITS and not w.islower() and w.isascii() for w in words):
        return None  # `7 Up` is a name
    return text if text in _SHORT_UNITS and (attached or len(words) == 1) else ""
