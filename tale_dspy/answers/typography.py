r"""Take the typography off a text, so that what it says can be read: full-width forms, LaTeX dress, currency, bold.

`ascii_twin` keeps every position and suits a whole reply; `tidy` rewrites and is for short texts only. What the text
means is not known here: see `quantity` and `choices`.
"""

import re
import unicodedata
from collections.abc import Callable
from itertools import accumulate

MAX_CHARS = 300
"""Longer texts are neither read as a number nor compared as mathematics; no answer of a published set is that long."""

# Full-width forms, the many spaces and minus signs, each as its one ASCII twin, so that positions stay the same.
_TWINS = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
_TWINS |= dict.fromkeys([0xA0, *range(0x2000, 0x200E), 0x202F, 0x205F, 0x2060, 0x3000, 0xFEFF], ord(" "))
_TWINS |= dict.fromkeys([0x2010, 0x2011, 0x2012, 0x2013, 0x2212, 0xFE63], ord("-"))
_TWINS |= {0x2044: ord("/"), ord("【"): ord("["), ord("】"): ord("]")}


def ascii_twin(text: str) -> str:
    """Replace full-width characters, odd spaces and Unicode minus signs one for one; positions stay the same."""
    return text if text.isascii() else text.translate(_TWINS)


def _compatible(text: str) -> str:
    """Write `⁻³` as `-3` and `½` as `1/2`."""
    return ascii_twin(unicodedata.normalize("NFKC", text))


# Applied from first to last.
_RULES: list[tuple[str, str | Callable[[re.Match[str]], str]]] = [
    # LaTeX: fonts, invisible commands, fractions of numbers, spaces and signs that have a twin on the keyboard.
    (r"\\(?:text|textbf|textit|mathrm|mathbf|mathit|mbox|operatorname)\s?\{([^{}]*)\}", r" \1 "),
    (r"\\(?:left|right|displaystyle)(?![A-Za-z])|\\!|`", ""),
    (r"\{,\}", ","),
    (r"(\d)\s*\\[dt]?frac\s?\{\s?(\d+)\s?\}\s?\{\s?(\d+)\s?\}", r"\1 \2/\3"),
    (r"\\[dtc]?frac\s?\{\s?(-?[\d.,]+)\s?\}\s?\{\s?(-?[\d.,]+)\s?\}", r"\1/\2"),
    (r"\\[dt]?frac\s?(\d)\s?(\d)", r"\1/\2"),
    (r"(?<!\\)\\([$%#_])", r"\1"),
    (r"(?<!\\)\\(?:[][() ,;:]|q?quad(?![A-Za-z]))|~", " "),
    (r"\\(?:times|cdot)(?![A-Za-z])|[×·]", "*"),
    (r"\\approx(?![A-Za-z])", "≈"),
    (r"\^\s?\{?\s?\\circ\s?\}?|\\degree(?![A-Za-z])", "°"),
    # Raised digits and vulgar fractions.
    (r"[⁰¹²³⁴-⁹⁻]+", lambda m: f"^{{{_compatible(m[0])}}}"),
    (r"[¼-¾⅐-⅞]", lambda m: f" {_compatible(m[0])}"),
    # Bold, but not the power sign of `x**2` and `x ** 2`.
    (r"(?<![\w)])\*\*(?=\S)|(?<=\S)\*\*(?![\w(\\])", ""),
    # A currency sign or a dollar of LaTeX: neither changes a value. `-$3` keeps its sign attached.
    (r"(?<=-)\s?[$€£¥₹₩]\s?|\b(?:US|HK|AU|NZ|CA)(?=\$)", ""),
    (r"[$€£¥₹₩]", " "),
    (r"\b[Nn]egative (?=\d)", "-"),
    (r"\s+", " "),
]
_TYPOGRAPHY = [(re.compile(pattern), replacement) for pattern, replacement in _RULES]


def tidy(text: str) -> str:
    r"""Take the typography off a short text: LaTeX spacing, `\text{}`, numeric `\frac`, currency, dollars, bold."""
    text = ascii_twin(text)
    for pattern, replacement in _TYPOGRAPHY:
        text = pattern.sub(replacement, text)
    return text.strip()


def bracket_depths(text: str) -> list[int]:
    """List how many brackets of any kind are open at the start and behind each character; below 0 if closed unopened.

    >>> bracket_depths("(a]")
    [0, 1, 1, 0]
    """
    return list(accumulate(((char in "([{") - (char in ")]}") for char in text), initial=0))
