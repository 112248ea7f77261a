r"""Rewrite typography as plain text.

It rewrites full-width forms, digits of other scripts, LaTeX markup, currency and bold.

`ascii_twin` keeps every position and suits a whole reply; `normalize_latex` rewrites and is for short texts only. What
the text means is not known here: see `numbers` and `choices`.
"""

import re
import unicodedata
from collections.abc import Callable
from itertools import accumulate

MAX_CHARS = 300
"""Longer texts are neither read as a number nor compared as mathematics; no answer of a published set is that long."""

# Full-width forms, the many spaces and minus signs, each as its one ASCII twin, so that positions stay the same.
_TWINS = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
_TWINS |= dict.fromkeys(
    [0xA0, 0xAD, *range(0x2000, 0x2010), *range(0x202A, 0x2030), 0x205F, *range(0x2060, 0x2070), 0x3000, 0xFEFF],
    ord(" "),
)
_TWINS |= dict.fromkeys([0x2010, 0x2011, 0x2012, 0x2013, 0x2212, 0xFE63], ord("-"))
_TWINS |= {0x223C: ord("~")} | dict.fromkeys([0x2243, 0x2245, 0x2252], ord("≈"))
_TWINS |= {0x2044: ord("/"), ord("【"): ord("["), ord("】"): ord("]")}
_TWINS |= {
    0x66A: ord("%"),
    0x66B: ord("."),
    0x66C: ord(","),
    ord("؛"): ord(";"),
    ord("،"): ord(","),
    ord("।"): ord("。"),
}
# Letters in circles and squares, with which some models mark options.
_TWINS |= {first + n: ord("A") + n for first in (0x24B6, 0x1F130, 0x1F150, 0x1F170) for n in range(26)}
_OTHER_DIGIT = re.compile(r"(?![0-9])\d")

CURRENCY = "$" + "".join(chr(c) for c in range(0x80, 0x3000) if unicodedata.category(chr(c)) == "Sc")
"""Every currency sign."""
_CUR = f"[{CURRENCY}]"
_FONTS = r"text|text(?:bf|it|rm|sf|tt|normal)|math(?:rm|bf|it|sf|tt)|mbox|operatorname|boldsymbol|bm|emph|underline"
_SIZES = (
    "left|right|displaystyle|textstyle|tiny|scriptsize|footnotesize|small|normalsize|large|Large|LARGE|huge|Huge"
    "|bf|it|rm|bfseries|itshape|centering|limits"
)


def ascii_twin(text: str) -> str:
    """Replace full-width characters, digits of all scripts, spaces and signs.

    Positions stay the same.
    """
    if text.isascii():
        return text
    return _OTHER_DIGIT.sub(lambda m: str(int(m[0])), text.translate(_TWINS))


def without_marks(text: str) -> str:
    """Drop the combining marks of letters.

    A word in any script is then a run of letters.
    """
    if text.isascii():
        return text
    return "".join(c for c in unicodedata.normalize("NFC", text) if unicodedata.category(c)[0] != "M")


def _plain_digits(text: str) -> str:
    """Write `⁻³` as `-3` and `½` as `1/2`."""
    return ascii_twin(unicodedata.normalize("NFKC", text))


_NUM = r"-?\d[\d.,]*"
_FRACTIONS = [
    (r"(\d)\s*\\[dtc]?frac\s?\{\s?(\d+)\s?\}\s?\{\s?(\d+)\s?\}", r"\1 \2/\3"),
    (rf"\\[dtc]?frac\s?\{{\s?({_NUM})\s?\}}\s?\{{\s?({_NUM})\s?\}}", r"\1/\2"),
]
# Applied from first to last.
_RULES: list[tuple[str, str | Callable[[re.Match[str]], str]]] = [
    # LaTeX: colours, fonts, invisible commands, fractions of numbers, spaces and signs with a twin on the keyboard.
    (r"\\(?:text)?color\s?\{\w+\}", ""),
    (rf"\\[dtc]?frac\s?\{{\s?\\(?:{_FONTS})\s?\{{(\w+)\}}\s?\}}\s?\{{\s?\\(?:{_FONTS})\s?\{{(\w+)\}}\s?\}}", r" \1/\2"),
    *[(rf"\\(?:{_FONTS})\s?\{{((?:[^{{}}]|\{{[^{{}}]*\}})*)\}}", r" \1 ")] * 2,  # one font in another
    (r"\\(?:left|right)\.", ""),
    (rf"\\(?:{_SIZES})(?![A-Za-z])|\\!|`", ""),
    (r"\{,\}", ","),
    (r"\\[dtc]?frac\s?(\d)\s?\{\s?(\d+)\s?\}", r"\\frac{\1}{\2}"),
    (r"\\[dtc]?frac\s?(\d)\s?(\d)", r"\\frac{\1}{\2}"),
    (r"\\[dtc]?frac\s?\{\s?(\d+)\s?\}\s?(\d)", r"\\frac{\1}{\2}"),
    *_FRACTIONS,
    (r"(?<!\\)\\([$%#_])", r"\1"),
    (r"(?<!\\)\\(?:[][() ,;:]|q?quad(?![A-Za-z]))|~", " "),
    (r"\\(?:times|cdot)(?![A-Za-z])|[×·]", "*"),
    (r"\\approx(?![A-Za-z])", "≈"),
    (r"\\[lc]?dots(?![A-Za-z])|…", "..."),
    (r"\^\s?\{?\s?\\circ\s?\}?|\\degree(?![A-Za-z])", "°"),
    (r"(?<=\d)\s*\\mu(?=\s?[A-Za-z])", " μ"),
    (r"(?<=\d)\s*\\Omega(?![A-Za-z])", " Ω"),
    # Raised digits and vulgar fractions.
    (r"[⁰¹²³⁴-⁹⁻]+", lambda m: f"^{{{_plain_digits(m[0])}}}"),
    (r"[¼-¾⅐-⅞]", lambda m: f" {_plain_digits(m[0])}"),
    # Italics: `*18*` and `_18_`, but not `a_1 b_1` and `2*3*4`.
    (r"(?<![\w)\\*])\*([^\s*](?:[^*\n]{0,80}[^\s*])?)\*(?![\w(*])", r"\1"),
    (r"(?<![\w)\\}])(__?)([^\s_](?:[^_\n]{0,80}[^\s_])?)\1(?!\w)", r"\2"),
    # Bold, but not the power sign of `x**2` and `x ** 2`.
    (r"(?<![\w)])\*\*(?=\S)|(?<=\S)\*\*(?![\w(\\])", ""),
    # A currency sign or a dollar of LaTeX: neither changes a value. `-$3` keeps its sign attached.
    (r"(?<![A-Za-z])(?:US|HK|AU|NZ|CA|NT|MX|[RACS])(?=\$\s?[\d.])", ""),
    (r"(?<![A-Za-z])S/\.?\s?(?=\d)", ""),
    (rf"(?<=-)\s?{_CUR}\s?", ""),
    (_CUR, " "),
    (r"\b[Nn]egative (?=\d)", "-"),
    (r"\s+", " "),
]
_TYPOGRAPHY = [(re.compile(pattern), replacement) for pattern, replacement in _RULES]
_OTHER_TYPOGRAPHY = [(re.compile(rule[0]), rule[1]) for rule in _RULES if rule not in _FRACTIONS]


def normalize_latex(text: str, *, keep_fractions: bool = False) -> str:
    r"""Rewrite a short text without its LaTeX markup.

    It removes `\text{}`, numeric `\frac`, currency, dollars and bold.

    Args:
        text: A short text.
        keep_fractions: Whether a numeric `\frac` stays, as algebra needs it: `\frac{1}{2}\sqrt{3}` is no
            `1/2\sqrt{3}`.

    >>> normalize_latex(r"\frac{1}{2}\text{ cup}"), normalize_latex(r"\frac12\sqrt{3}", keep_fractions=True)
    ('1/2 cup', '\\frac{1}{2}\\sqrt{3}')
    """
    text = ascii_twin(text)
    for pattern, replacement in _OTHER_TYPOGRAPHY if keep_fractions else _TYPOGRAPHY:
        text = pattern.sub(replacement, text)
    text = text.strip()
    if re.fullmatch(r"\{[^{},;\\]*\}", text):  # what is left of `\large{18}`; `{3, 4}` is a set
        text = text[1:-1].strip()
    return text


def bracket_depths(text: str) -> list[int]:
    """List how many brackets of any kind are open at each character.

    The list begins at the start of the text. A depth is below 0 if one was closed unopened.

    >>> bracket_depths("(a]")
    [0, 1, 1, 0]
    """
    return list(accumulate(((char in "([{") - (char in ")]}") for char in text), initial=0))
