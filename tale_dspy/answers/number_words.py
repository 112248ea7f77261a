"""Rewrite number words as digits: English, English fractions and Chinese."""

import re

_ONES = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
seventeen eighteen nineteen"""
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_SMALL = {word: n for n, word in enumerate(_ONES.split())} | {word: 20 + 10 * n for n, word in enumerate(_TENS.split())}
_SMALL |= {"fourty": 40, "ninty": 90}
_LARGE = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12, "lakh": 10**5, "crore": 10**7}
_PARTS = {"half": 2, "halves": 2, "third": 3, "quarter": 4, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7}
_PARTS |= {"eighth": 8, "ninth": 9, "tenth": 10, "hundredth": 100}
_PARTS |= {f"{word}s": n for word, n in _PARTS.items() if not word.startswith("hal")}

_CARDINAL = "|".join(sorted([*_SMALL, "hundred", *_LARGE], key=len, reverse=True))
_JOIN = r"(?:\s?-\s?|,?\s(?:and\s)?)"
_FIRST = r"(?:an?\s(?=hundred|thousand|million|billion|trillion)|(?<!\d)(?<!\d[\s-]))"  # not of `2 million`
_WORDS = rf"{_FIRST}(?:{_CARDINAL})(?:{_JOIN}(?:{_CARDINAL}))*"
_PART = "|".join(sorted(_PARTS, key=len, reverse=True))
_LIMIT = 24  # words of one number: no number of a published set is longer

_EDGE = r"(?<![^\W\d_])(?<![^\W\d_]-)"
_END = r"(?![^\W_]|-[^\W\d_])"
NUMBER_WORDS = re.compile(rf"{_EDGE}{_WORDS}{_END}", re.IGNORECASE)
"""A cardinal in words: `twenty-one`, `one hundred and five`, `a thousand`."""
_TOP = rf"(an?|{_CARDINAL}|\d{{1,9}})"
# `a third`, `three quarters`, `half`; after a number `and a half`, `and 1/2`.
_FRACTION = re.compile(rf"{_EDGE}(?:{_TOP}[\s-]({_PART})|(half)){_END}", re.IGNORECASE)
_AND_FRACTION = rf"\s(?:and|&)\s(?:{_TOP}[\s-]({_PART}){_END}|([1-9]\d{{0,3}})/(\d{{1,4}})(?![\d/]))"
_AFTER_DIGITS = re.compile(rf"(?<=\d){_AND_FRACTION}", re.IGNORECASE)
_AFTER_WORDS = re.compile(rf"(?<=[^\W_]){_AND_FRACTION}", re.IGNORECASE)

_HAN_DIGITS = {char: n for n, char in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2, "兩": 2}
_HAN_UNITS = {"十": 10, "百": 100, "千": 1000}
_HAN_LARGE = {"万": 10**4, "萬": 10**4, "亿": 10**8, "億": 10**8}
_HAN = re.compile(
    "(?<![\u4e00-\u9fff0-9])[零〇一二两兩三四五六七八九十百千万萬亿億]{1,20}(?![\u4e00-\u9fff])"
    "|[零〇一二两兩三四五六七八九][十百千][零〇一二两兩三四五六七八九十百千万萬亿億]{0,18}|十[一二三四五六七八九]?"
    "|(?<=[为是约共:])[零〇一二两兩三四五六七八九十百千万萬亿億]{1,20}"
)

_HAN_NUMBER = "(?:[零〇一二两兩三四五六七八九十百千万萬亿億]{1,12}|[0-9]{1,9})"
# `三分之二` is 2/3, `一又三分之二` 1 2/3, `百分之二十` 20 %; in Japanese `3分の2`, in Korean `3분의 2`.
_PARTS_OF = re.compile(
    f"(?:({_HAN_NUMBER})又)?({_HAN_NUMBER})(?:分[之の]|분의 ?)({_HAN_NUMBER})"
    "(?:[.点]([0-9]{1,6}|[零〇一二三四五六七八九]{1,6}))?"
)


def cardinal(words: str) -> int | None:
    """Return the value of a cardinal such as `one hundred and five`.

    It is None where the words are not exactly one number.
    """
    total = group = 0
    last = 10**15
    parts = [w for w in re.split(r"[\s,-]+", words.lower()) if w and w not in ("and", "a", "an")]
    if not parts or len(parts) > _LIMIT:
        return None
    if parts[0] not in _SMALL:
        group = 1  # `a hundred`, `thousand`
    previous = None
    for word in parts:
        if word in _SMALL:
            n = _SMALL[word]
            joins = (
                previous is None
                or previous in _LARGE
                or previous == "hundred"
                or (previous in _TENS.split() and 0 < n < 10)
            )
            if not joins:  # `two three` are two numbers
                return None
            group += n
        elif word == "hundred":
            if not 0 < group < 100 or previous == "hundred":
                return None
            group *= 100
        else:
            if not group or _LARGE[word] >= last:
                return None
            total, group, last = total + group * _LARGE[word], 0, _LARGE[word]
        previous = word
    return total + group


def han_value(text: str) -> int | None:
    """Return the value of a Chinese numeral such as `一百二十`, `两千`, `三万五`.

    It is None for any other text.
    """
    if all(char in _HAN_DIGITS for char in text):
        return int("".join(str(_HAN_DIGITS[c]) for c in text))
    total = section = digit = 0
    for char in text:
        if char in _HAN_DIGITS:
            if digit:
                return None
            digit = _HAN_DIGITS[char]
        elif char in _HAN_UNITS:
            section += (digit or 1) * _HAN_UNITS[char]
            digit = 0
        else:
            total, section, digit = (total + section + digit or 1) * _HAN_LARGE[char], 0, 0
    return total + section + digit


def han_fractions_to_digits(text: str) -> str:
    """Write `三分之二` as `2/3`, `一又三分之二` as `1 2/3`, `百分之二十` as `20%`.

    Example:
        >>> [han_fractions_to_digits(text) for text in ("一又三分之二", "百分之12.5", "3分の2")]
        ['1 2/3', '12.5%', '2/3']
    """
    return _PARTS_OF.sub(_parts_of, text) if "分" in text or "분" in text else text


def _parts_of(m: re.Match[str]) -> str:
    numbers = [int(part) if part.isdecimal() else han_value(part) for part in (m[1] or "0", m[2], m[3])]
    if None in numbers:
        return m[0]
    whole, bottom, top = numbers
    decimals = "".join(char if char.isdecimal() else str(_HAN_DIGITS[char]) for char in m[4] or "")
    if bottom == 100 and not whole:
        return f"{top}.{decimals}%" if decimals else f"{top}%"
    return m[0] if decimals else f"{whole} {top}/{bottom}" if whole else f"{top}/{bottom}"


def _fraction_value(top: str | None, part: str) -> str:
    value = 1 if top is None or top.lower() in ("a", "an") else int(top) if top.isdigit() else cardinal(top)
    return f"{value}/{_PARTS[part.lower()]}"


def _and_fraction(m: re.Match[str]) -> str:
    return f" {m[3]}/{m[4]}" if m[3] else f" {_fraction_value(m[1], m[2])}"


def fractions_to_digits(text: str) -> str:
    """Write `2 and a half` as `2 1/2`."""
    return _AFTER_DIGITS.sub(_and_fraction, text)


def words_to_digits(text: str) -> str:
    """Write each number word of a text as digits.

    A run of words that is not exactly one number stays.
    """

    def digits(m: re.Match[str]) -> str:
        value = cardinal(m[0])
        if value is None:  # `fifty and eighty` are two
            parts = re.split(r"(\sand\s)", m[0])
            return "".join(map(digits_of, parts)) if len(parts) > 1 else m[0]
        return str(value)

    def digits_of(part: str) -> str:
        value = cardinal(part)
        return part if value is None else str(value)

    def han(m: re.Match[str]) -> str:
        value = han_value(m[0])
        return m[0] if value is None else str(value)

    text = _AFTER_WORDS.sub(_and_fraction, text)
    text = _FRACTION.sub(lambda m: _fraction_value(m[1], m[2] or m[3]), text)
    text = NUMBER_WORDS.sub(digits, text)
    return text if text.isascii() else _HAN.sub(han, text)
