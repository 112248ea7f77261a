"""How numbers are written: the pattern of a number, and its other forms.

Other forms are scale letters, decimal commas, repeating decimals, signs and fractions in words. `numbers` reads their
values.
"""

import re

from tale_dspy.answers.normalize import CURRENCY, ascii_twin, normalize_latex, without_marks
from tale_dspy.answers.number_words import fractions_to_digits, han_fractions_to_digits

DIGIT_RUN = re.compile(r"\d+(?:[.,]\d+)*+")
"""Digits with their separators, wherever they stand: for counting numbers in a text, not for reading one."""


# --- a number -------------------------------------------------------------------------------------------------------

# In groups of three by comma, apostrophe or space; in lakhs and crores; or without groups.
_DIGITS = r"(?:\d{1,3}(?:[,'’]\d{3})+(?!\d)|\d{1,3}(?: \d{3})+(?!\d)|\d{1,2}(?:,\d{2})+,\d{3}(?!\d)|\d++)"
DECIMAL = rf"(?:{_DIGITS}(?:\.\d++)?|\.\d++)"
_TO_THE = r"\^\s?\{?\(?[+-]?\d++\)?\}?"
NUMBER = (
    rf"(?:\d*\.\d*\(\d+\)"  # 0.1(6): repeating
    rf"|\d++ [1-9]\d*+\s?/\s?\d++"  # 1 1/2
    rf"|{DECIMAL}\s?/\s?-?{DECIMAL}"
    rf"|10\s?{_TO_THE}"
    rf"|{DECIMAL}(?:[eE][+-]?\d++(?![A-Za-z])|\s?(?:x|\*)\s?10\s?{_TO_THE})?)"
)
"""A number in normalized text, without its sign: mixed number, fraction, power of ten or decimal."""
POWERS = {"hundred": 2, "thousand": 3, "thousands": 3, "lakh": 5, "lac": 5, "million": 6, "mio": 6, "mln": 6}
POWERS |= {
    "crore": 7,
    "billion": 9,
    "bn": 9,
    "bln": 9,
    "milliard": 9,
    "mrd": 9,
    "trillion": 12,
    "tausend": 3,
    "mn": 6,
    "tn": 12,
}
POWERS |= {"millones": 6, "millón": 6, "million": 6, "millionen": 6, "milliarde": 9, "milliarden": 9}
POWERS |= {"тыс": 3, "тысяч": 3, "млн": 6, "миллион": 6, "миллиона": 6, "миллионов": 6, "млрд": 9, "लाख": 5, "करोड": 7}
POWERS |= {f"{word}s": POWERS[word] for word in ("lakh", "million", "crore", "billion", "trillion", "milliard")}
HAN_POWERS = {"百": 2, "千": 3, "万": 4, "萬": 4, "만": 4, "亿": 8, "億": 8, "억": 8}
_SCALE_WORDS = "|".join(sorted(POWERS, key=len, reverse=True))
SCALE = rf"(?:(?i:{_SCALE_WORDS})(?![^\W\d_])\.?|k(?![A-Za-z])|[{''.join(HAN_POWERS)}](?![克米瓦卡伏赫分]))"
PERCENT = r"(?:%|per ?cent(?:age)?|pct)(?![A-Za-z])"
UNSIGNED = rf"{NUMBER}(?:\s?{SCALE})*(?:\s?{PERCENT})?"
"""The same with its scale and percent sign."""
# --- how it may be dressed ------------------------------------------------------------------------------------------

_LETTER_SCALES = {"k": "thousand", "m": "million", "b": "billion", "t": "trillion", "mn": "million", "tn": "trillion"}
_CODES = r"(?:USD|EUR|GBP|CAD|AUD|INR|JPY|CNY|RMB|CHF|dollars?|euros?|pounds?|rupees?)(?![A-Za-z])"
_MONEY_BEFORE = re.compile(
    rf"(?<=[{CURRENCY}])(\s?\d[\d.,]{{0,30}})\s?([kKmMbBtT]|mn|tn)(?![A-Za-z0-9])"
    rf"|((?<![\d.,])\d[\d.,]{{0,30}})\s?([kKmMbBtT]|mn|tn)(?=\s?(?:[{CURRENCY}]|{_CODES}))"
)
# Letters right after the digits: `600K`, `1.5M`, `2B`; with a space only before another word: `1 K tokens`.
_ATTACHED_SCALE = re.compile(r"(?<![\w.,$^\\])(\d[\d.,]{0,30})(?:([KMB]|mn|tn)(?![\w^])| (K)(?= [^\W\d_]))")
_EURO = rf"(?:[{CURRENCY}]|%|EUR|CHF|kr|zł|Kč|Ft|lei|руб)"
# Commas that can only be decimal: after dot groups, after space groups, or beside a currency or percent sign.
_EUROPEAN = re.compile(
    r"(?<![\w.,])(?:(\d{1,3}(?:\.\d{3})+),(\d{1,9})|(\d{1,3}(?:\.\d{3}){2,9})|(\d{1,3}(?: \d{3})+),(\d{1,2})"
    rf"|(\d{{1,3}}\.\d{{3}})(?=\s?[€₽₫₺₱])|(?<=[{CURRENCY}])(\s?\d{{1,9}}),(\d{{1,2}})|(\d{{1,9}}),(\d{{1,2}})(?=\s?{_EURO}))(?![\d]|[.,]\d)"
)
_DOTTED_GROUPS = re.compile(r"(?<![\w.,])(\d{1,3}(?:\.\d{3})+)(?![\d]|[.,]\d)")
_COMMA_DECIMAL = re.compile(r"(?<![\w.,])(\d{1,9}),(\d{1,2}|\d{4,9})(?![\d]|[.,]\d)")

_OVERLINED = re.compile(r"(\d*\.\d*)\\(?:overline|bar|dot)\s?\{?(\d+)\}?(?:\\dot\s?\{?(\d)\}?)?")
_OVERLINE_MARKS = re.compile("(\\d*\\.\\d*?)((?:\\d[\u0304\u0305\u0307])+)")
_GOES_ON = re.compile(r"(?<![\d.])(\d{1,9})\.(\d{0,9}?)(\d{1,9}?)\3{1,20}\.\.\.+")
_MINUS = re.compile(
    r"(^|[:=(\[,]\s?|\b(?:is|was|be|of|equals|are|to|at|about|approximately|answer|or|got|get|gives)\s)"
    r"(?:minus|negative)\s(?=[\d.])|(?:^|(?<=[:为是]))负(?=\d)",
    re.IGNORECASE,
)
_DAYTIME = re.compile(
    r"(?<![\d:.,])(\d{1,2})(:\d\d)?,?\s\(?(?:in\sthe\s)?(?:(morning)|(afternoon|evening))\b\)?", re.IGNORECASE
)
_AT_NIGHT = re.compile(r"(?<![\d:.,])(\d{1,2})(:\d\d)\sat\snight\b", re.IGNORECASE)
# `<<9*2=18>>` is GSM8K's calculator; ticks and emoji praise a number, keycaps dress its digits; crosses deny it.
_ADDED = re.compile("<<[^<>\n]{0,80}=[^<>\n]{0,40}>>|\\s?[✓✔✅☑\U0001f300-\U0001faff][\ufe0f]?|(?<=[0-9])\ufe0f?\u20e3")
_GROUPED = re.compile(r"(?<![\w.])(\d{1,3}(?:_\d{3})+)(?![\w]|\.\d)")
_PYTHON_POWER = re.compile(r"(?<![\d.])10\s?\*\*\s?(?=[-+]?\d)")
_FULL_HOUR = re.compile(r"(?<![\d:])(\d{1,2}):00(?![\d:])(?=\s?(?:[ap]\.?\s?m\b|o'clock|h\b|uhr\b))", re.IGNORECASE)
_AM_PM = re.compile(r"(?<=\d)\s?([ap])\.?\s?m\b\.?", re.IGNORECASE)


def normalize_numbers(text: str) -> str:
    r"""Normalize a short text so that each number in it is written plainly.

    Beside what `normalize_latex` does: scale letters (`$1.5M`, `600K`), decimal commas and dot groups where nothing
    else can be meant (`1.234,56`, `1.234.567`, `2,50 €`), repeating decimals (`0.\overline{3}` as `0.(3)`), signs in
    words (`minus 5`), `2 and a half` and `三分之二` as `2/3`.
    """
    text = _ADDED.sub("", ascii_twin(text))
    if "," in text or "." in text:
        text = _EUROPEAN.sub(_plain_european, text)
        text = _repeating_decimal(text)
    text = _MONEY_BEFORE.sub(lambda m: f"{m[1] or m[3]} {_LETTER_SCALES[(m[2] or m[4]).lower()]} ", text)
    text = normalize_latex(without_marks(_PYTHON_POWER.sub("10^", text)))
    text = _GOES_ON.sub(r"\1.\2(\3)", text)
    if "_" in text:
        text = _GROUPED.sub(lambda m: m[1].replace("_", ""), text)
    text = _ATTACHED_SCALE.sub(lambda m: f"{m[1]} {_LETTER_SCALES[(m[2] or m[3]).lower()]}", text)
    if not text.isascii():
        text = han_fractions_to_digits(text)
    text = fractions_to_digits(_MINUS.sub(r"\1-", text))
    text = _DAYTIME.sub(lambda m: f"{m[1]}{m[2] or ''} {'am' if m[3] else 'pm'}", text)
    text = _AT_NIGHT.sub(lambda m: f"{m[1]}{m[2]} {'pm' if 6 <= int(m[1]) < 12 else 'am'}", text)
    text = _FULL_HOUR.sub(r"\1", text).replace("o'clock", "")
    return _AM_PM.sub(lambda m: f" {m[1].lower()}m", text)


def _plain_european(m: re.Match[str]) -> str:
    whole = m[1] or m[3] or m[4] or m[6] or m[7] or m[9]
    part = m[2] or m[5] or m[8] or m[10]
    return re.sub(r"[. ]", "", whole) + (f".{part}" if part else "")


def _repeating_decimal(text: str) -> str:
    text = _OVERLINED.sub(lambda m: f"{m[1] or '0.'}({m[2]}{m[3] or ''})", text)
    return _OVERLINE_MARKS.sub(lambda m: f"{m[1]}({re.sub(r'[^0-9]', '', m[2])})", text)


def as_european(text: str) -> str | None:
    """Read numbers with decimal commas and dot groups as plain decimals.

    It returns None where there are none. It is for a text whose gold shows which is meant: `2,5` is 2.5 and `1.500` is
    1500 where the gold is that number.
    """
    text = ascii_twin(text)
    grouped = _DOTTED_GROUPS.sub(lambda m: m[1].replace(".", ""), text)
    rewritten = _COMMA_DECIMAL.sub(r"\1.\2", grouped)
    return rewritten if rewritten != text else None


STRUCTURED = re.compile(
    r"\d{1,4}(?:\s?:\s?\d{1,4}){1,3}(?:\s?[ap]\.?\s?m\b\.?)?"
    r"|\d{4}(?P<sep>[-/.])\d{1,2}(?P=sep)\d{1,2}|\d{1,2}(?P<sep2>[-/.])\d{1,2}(?P=sep2)\d{4}",
    re.IGNORECASE,
)
"""A time, a ratio or a date: one answer made of several numbers."""
_GLUED = r"\d+(?:,\d+)+"  # `2,5`: a list or a decimal comma, the gold shows which
# No `CO2` or `x^2`, no decimals of another number; a minus is a sign unless it stands after an operand.
_IN_TEXT = re.compile(
    r"(?<![A-Za-z0-9_^])(?<!\d\.)(?<!\^\{)(?<!\d,)(?<!\d:)"
    rf"(?:(?:{STRUCTURED.pattern})(?![\d:])|(?:(?<![)\]}}%])-)?(?:{UNSIGNED}(?!,\d)|{_GLUED}(?!\d)|{UNSIGNED}))",
    re.IGNORECASE,
)


def numbers_in(normalized: str) -> list[re.Match[str]]:
    """List the numbers of a line that `normalize_numbers` has rewritten.

    Times and ratios count as one each.
    """
    return list(_IN_TEXT.finditer(normalized))
