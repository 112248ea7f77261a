"""Read a short text as exactly one number, and compare two as fractions.

The one reader of numbers: golds, replies, typed fields, budgets and features all read through it. What is ambiguous
(`2,5`, which may be a list, `2x`, `√2`, `CO2`) is no number; it is never guessed.
"""

import re
from dataclasses import dataclass
from fractions import Fraction

from tale_dspy.answers.normalize import MAX_CHARS
from tale_dspy.answers.number_forms import HAN_POWERS, NUMBER, PERCENT, POWERS, SCALE, normalize_numbers
from tale_dspy.answers.number_words import NUMBER_WORDS, words_to_digits

MAX_EXPONENT = 400
"""Decimal exponents beyond it are not read: `1e999999999` would be an integer of a billion digits."""


def _word_set(words: str) -> frozenset[str]:
    return frozenset(words.split())


def _any_of(words: str) -> str:
    """Return a pattern for any of these words, each standing alone."""
    return rf"(?<![^\W\d_])(?:{'|'.join(words.split())})(?![^\W\d_])"


_NUMBER = re.compile(NUMBER)
_SCALED = re.compile(rf"\s?({SCALE})")
_PERCENT_SIGN = re.compile(rf"\s?{PERCENT}", re.IGNORECASE)
_PLAIN = re.compile(r"-?[0-9]{1,15}")
_MIXED = re.compile(r"(\d+) (\d+)\s?/\s?(\d+)")
_REPEATING = re.compile(r"(\d*)\.(\d*)\((\d+)\)")
_SCIENTIFIC = re.compile(r"(?:(?P<mantissa>.+?)(?:[eE]|\s?[x*]\s?10\s?\^)|10\s?\^)[\s{(]*(?P<power>[+-]?\d+)[)}]*")

_TWICE = re.compile(r"([^\W\d_][^\d()]{1,60}?) ?\((-?\d[\d,]{0,20})\)|(-?\d[\d,]{0,20}) ?\(([^\W\d_][^\d()]{1,60}?)\)")


# --- what may stand around it ---------------------------------------------------------------------------------------

_BEFORE = re.compile(r"(?P<label>[^-+]*?)(?P<gap>\s*)(?P<sign>[-+]?)(?P<space>\s?)")
_LABEL = re.compile(r"[^\W\d_](?:[^\W\d_]|[ .,:'’])*")
_UNIT = re.compile(r"(?:[^\W\d_]|[°℃℉/ '’.,-])*")
_RAISED = re.compile(r"(?<=[^\W\d_])(?:\s?\^\{?-?[1-4]\}?|[23])(?![\w}])")  # cm^2, m3
_TIMES_UNIT = re.compile(r"(?<=[^\W\d_])\s?\*\s?(?=[^\W\d_])")  # kg*m
_ASIDE = re.compile(r"(?<!^) \([^()]*(?:[^\W\d_]{3}|i\.e|=)[^()]*\)$|(?<!^) ?\([^()]*[\u2e80-\uffff][^()]*\)$")
_SAME_ASIDE = re.compile(r"([^()]*\d[^()]*?) ?\((?:[=≈]\s?|or )?([^()]*\d[^()]*)\)")
_LETTERS = re.compile(r"[^\W\d_]+")
# One or two letters are a unit only if they are a known one: `2x`, `3 ab`, `2π` and `4 pi` are no plain numbers.
_SYMBOLS = _word_set(
    """m dm cm mm km nm um in ft yd mi  g kg mg lb oz  l dl cl ml kl L dL cL mL kL  s h hr t d
    W kW mW V kV mV A kA mA J N Hz K C F  GB MB KB TB  am pm AM PM  sq cu"""
)
_LITTLE_WORDS = _word_set("of at on by a an as us he it st nd rd th US kr zł Kč Ft Rs")

_WITH_NUMBERS = "not never or nor if unless without except minus plus times half root sqrt log ln sin cos tan mod"
"""Words with which a number is no longer the answer, before it or after it."""
_HEDGE = re.compile(
    _any_of(
        f"""{_WITH_NUMBERS} no neither cannot unknown wrong incorrect
        than least most between under over up below above twice double triple"""
    )
    + "|[不非或]|至少|至多|[大小多少]于|超过",
    re.IGNORECASE,
)
_NO_UNIT = re.compile(
    _any_of(f"{_WITH_NUMBERS} squared cubed factorial theta alpha beta infinity mil")
    + r"|\band (?:an?|one|two|three)\b|(?!Ω)[α-λν-ω不非或]",
    re.IGNORECASE,
)
_VARIABLE = re.compile(r"(?<![^\W\d_])[b-rt-zB-Z](?![^\W\d_])")  # `a` and `A` are articles, `s` is what `'s` leaves
_COMPARES = re.compile(r"[;<>≤≥≠]|,(?!\d{3})|\b(?:or|and|not)\b|\\(?:neq?|[lg]eq?)\b|[或和不]")
_IN_WORDS = re.compile(
    r"(?:(?:about|around|approximately|roughly|exactly|only|just|a total of|total:?|answer:?|the answer is|约|大约|共)"
    r"\s?)?"
    r"((?:minus |negative |负)?[^\W\d][^\d]{0,60}?(?: \d+/\d+\D{0,30})?)\.?",
    re.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """A number as it was written."""

    value: Fraction
    """Its value without the percent sign: 50 for `50%`."""
    percent: bool = False
    """Whether a percent sign or word followed it."""
    digits: int = 0
    """Significant digits if it was written as a decimal; 0 for integers and fractions, which are exact."""
    unit: str = ""
    """What followed it, if that is a known symbol such as `km`."""

    def same(self, other: "Quantity") -> bool:
        """Return whether both are the same number.

        A percentage equals both its number and its hundredth (GSM8K's gold for 50 % is `50`), but another percentage
        only as written. Values must be equal, except that a decimal of at least four significant digits equals a
        fraction without finite decimal from which it differs by at most a millionth: 0.333333 is 1/3, 0.333 is not.
        Two different unit symbols make them different; a missing or spelled-out unit does not.
        """
        if self.unit and other.unit and self.unit != other.unit:
            return False
        if _are_close(self.value, self.digits, other.value, other.digits):
            return True
        if self.percent == other.percent:
            return False
        mine, theirs = (q.value / 100 if q.percent else q.value for q in (self, other))
        return _are_close(mine, self.digits, theirs, other.digits)


def read_quantity(text: str, *, bare: bool = False) -> Quantity | None:
    """Read a short text as exactly one number; None where it is anything else.

    Currency, units, a label (`Total: 18`, `x = 18`, `9 * 2 = 18`), a harmless phrase around it and an explanation in
    round brackets after it (`18 (i.e. 9 x 2)`) do not matter. Two numbers (`3, 4`, `20 or 18`), a hedge (`not 18`,
    `at least 18`), another factor (`2x`, `18!`) and text longer than `MAX_CHARS` do: they give None.

    Args:
        text: The content of an answer's brackets, or a gold.
        bare: Take only a number with its sign, currency, percent sign and a unit in small letters, as golds have it.

    Example:
        >>> read_quantity("about 1.5 million dollars").value, read_quantity("minus 1 1/2").value
        (Fraction(1500000, 1), Fraction(-3, 2))
        >>> [read_quantity(text) for text in ("not 18", "CO2", "2x", "3, 4")]
        [None, None, None, None]
    """
    if len(text) > MAX_CHARS:
        return None
    if _PLAIN.fullmatch(text):  # nearly every gold and most answers: skip the typography
        return Quantity(value=Fraction(int(text)))
    text = normalize_numbers(text).rstrip(".,;: 。\\").strip("\"'“”")
    if (twice := _TWICE.fullmatch(text)) and _from_words(twice[1] or twice[4], bare=True) == (twice[2] or twice[3]):
        text = twice[2] or twice[3]  # `twelve (12)`
    if not re.match(r"[^a-zA-Z]*\d", text):
        text = _from_words(text, bare)
    return _read_normalized(text, bare)


def _read_normalized(text: str, bare: bool) -> Quantity | None:
    if not bare:
        text = _without_explanation(text)
        left, sign, right = text.rpartition("≈" if "≈" in text else "=")
        if sign:
            return read_quantity(right) if _is_equation(left, right, exactly=sign == "=") else None
    if text[:1] + text[-1:] in ("()", "[]") and not re.search(r"[][,()]", text[1:-1]):
        text = text[1:-1].strip()
    number = _NUMBER.search(text)
    before = number and _BEFORE.fullmatch(text[: number.start()])
    if number is None or before is None or not _leaves_value_alone(before, bare):
        return None
    return _make_quantity(number[0], before["sign"] == "-", text[number.end() :], bare)


def _from_words(text: str, bare: bool) -> str:
    """Write `twelve`, `about three cats` or `一百二十` with digits.

    Any other text stays as it is.
    """
    words = _IN_WORDS.fullmatch(text)
    if words is None:
        return text
    rewritten = words_to_digits(re.sub(r"^(?:minus |negative |负)", "-", words[1], flags=re.IGNORECASE))
    rest = r"(?:\s+(?!of\b|or\b|and\b)[^\W\d_]+){0,3}|[\u2e80-\uffff]{0,3}" if not bare else ""
    return rewritten if re.fullmatch(rf"-?\d+(?: \d+/\d+|/\d+)?(?:{rest})", rewritten) else text


def _without_explanation(text: str) -> str:
    """Drop `(i.e. 9 x 2)` after a number.

    `(or 20)` and a factor such as `(x + 1)` stay.
    """
    if (same := _SAME_ASIDE.fullmatch(text)) and (one := read_quantity(same[1])) and (other := read_quantity(same[2])):
        return same[1] if one.same(other) else text  # `1/8 (12.5%)`
    aside = _ASIDE.search(text)
    return text[: aside.start()] if aside and not re.search(r"\bor\b|或", aside[0]) else text


def _is_equation(left: str, right: str, exactly: bool) -> bool:
    """Return whether `left = right` may be read as its right side.

    A comparison, a list and a false equation may not.
    """
    if _COMPARES.search(left) or left[-1:] in ("<", ">", "!") or right[:1] in ("<", ">"):
        return False
    left_value = _number_value(left.strip()) if exactly and _NUMBER.fullmatch(left.strip()) else None
    value = read_quantity(right)
    return left_value is None or value is None or left_value == value.value


def _leaves_value_alone(before: re.Match[str], bare: bool) -> bool:
    """Return whether what stands before a number leaves its value alone."""
    label = before["label"]
    if not label or bare:
        return not label
    if before["sign"] and (not before["gap"] or before["space"]) and label[-1] != ":":
        return False  # `x-18` and `profit - 18` are differences
    if not before["gap"] and label[-1].isascii() and label[-1].isalpha():
        return False  # `x18`, `CO2`
    if (words := list(NUMBER_WORDS.finditer(label))) and words[-1].end() >= len(label.rstrip(" ")):
        return False  # `two 1/2`
    if _HEDGE.search(label) or (label[-1] != ":" and _VARIABLE.search(label)):
        return False
    return _LABEL.fullmatch(label) is not None


def _make_quantity(number: str, negative: bool, after: str, bare: bool) -> Quantity | None:
    value = _number_value(number)
    if value is None:
        return None
    for _ in range(3):  # `2 hundred thousand`
        scaled = _SCALED.match(after)
        if scaled is None:
            break
        word = scaled[1].lower().rstrip(".")
        value, after = value * 10 ** (POWERS | HAN_POWERS | {"k": 3})[word], after[scaled.end() :]
    percent = _PERCENT_SIGN.match(after)
    unit = _unit_after(after[percent.end() :] if percent else after, bare)
    if unit is None:
        return None
    digits = 0
    if "/" not in number and "(" not in number and re.search(r"[.eE^]", number):
        digits = len(re.sub(r"\D", "", re.split(r"[eEx*^]", number)[0]).lstrip("0"))
    return Quantity(value=-value if negative else value, percent=percent is not None, digits=digits, unit=unit)


def _unit_after(after: str, bare: bool) -> str | None:
    """Read the unit that follows a number.

    It is the symbol of a known unit, "" for other units, and None if the text is no unit.
    """
    text = _TIMES_UNIT.sub(" ", _RAISED.sub("", after)).strip(" .:;'\"")
    if not _UNIT.fullmatch(text) or _NO_UNIT.search(text):
        return None
    for word in _LETTERS.findall(text):
        if word in _SYMBOLS or not word.isascii():
            continue
        if len(word) <= 2 and word not in _LITTLE_WORDS:
            return None
        if bare and not word.islower():
            return None  # `7 Up` is a name
    return text if text in _SYMBOLS else ""


def _number_value(number: str) -> Fraction | None:
    """Return the value of a match of `NUMBER`.

    It is None for a zero denominator or an exponent beyond `MAX_EXPONENT`.
    """
    if repeating := _REPEATING.fullmatch(number):
        return _repeating_value(*repeating.groups())
    if mixed := _MIXED.fullmatch(number):
        whole, top, bottom = map(int, mixed.groups())
        return whole + Fraction(top, bottom) if top < bottom else None
    if "/" in number:
        above, below = (_decimal_value(part) for part in number.split("/"))
        return above / below if below else None
    if not (scientific := _SCIENTIFIC.fullmatch(number)):
        return _decimal_value(number)
    power = scientific["power"]
    if len(power) > 9 or abs(int(power)) > MAX_EXPONENT:  # too many digits would take their time to be read
        return None
    return _decimal_value(scientific["mantissa"] or "1") * Fraction(10) ** int(power)


def _repeating_value(whole: str, fixed: str, block: str) -> Fraction:
    """Return the value of a repeating decimal: 0.1(6) = 0.1 + 6 / (9 * 10)."""
    start = Fraction(int(whole + fixed or 0), 10 ** len(fixed))
    return start + Fraction(int(block), (10 ** len(block) - 1) * 10 ** len(fixed))


def _decimal_value(text: str) -> Fraction:
    whole, _, part = re.sub(r"[^\d.-]", "", text).partition(".")
    return Fraction(int(whole + part or 0), 10 ** len(part))


def _are_close(mine: Fraction, my_digits: int, theirs: Fraction, their_digits: int) -> bool:
    if mine == theirs:
        return True
    if bool(my_digits) == bool(their_digits):
        return False
    exact, digits = (theirs, my_digits) if my_digits else (mine, their_digits)
    bottom = exact.denominator
    finite = pow(10, bottom.bit_length(), bottom) == 0
    return digits >= 4 and not finite and abs(mine - theirs) * 10**6 <= abs(exact)
