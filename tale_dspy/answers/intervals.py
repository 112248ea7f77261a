r"""Write inequalities and memberships as the interval that they mean.

`x \in [-2, 7]`, `-2 \le x \le 7` and `[-2, 7]` are one answer, and so are `x < 2 or x > 3` and
`(-\infty, 2) \cup (3, \infty)`.
"""

import re

from tale_dspy.answers.normalize import MAX_CHARS, normalize_latex

_INTERVAL = re.compile(r"\s*[(\[][^()\[\]]*,[^()\[\]]*[)\]]\s*")
_SETS = re.compile(r"\\(?:cup|mathbb|infty)|∪|∞|ℝ")
_MEMBER = re.compile(r"\s*[A-Za-z]\s?(?:\\in(?![A-Za-z])|∈)\s?")
_REALS = re.compile(r"\\mathbb\s?\{?\s?R\s?\}?|ℝ")
_OR = re.compile(r"\bor\b|\\lor(?![A-Za-z])|∨|\\cup(?![A-Za-z])|∪", re.IGNORECASE)
_AT_MOST = re.compile(r"\\leq?(?:slant)?(?![A-Za-z])|≤|<=")
_AT_LEAST = re.compile(r"\\geq?(?:slant)?(?![A-Za-z])|≥|>=")
_BELOW, _ABOVE = re.compile(r"\\lt(?![A-Za-z])"), re.compile(r"\\gt(?![A-Za-z])")
_SIGN = re.compile(r"([<>≤≥])")
_VARIABLE = re.compile(r"[A-Za-z]")


def as_interval(text: str, other: str) -> str:
    r"""Rewrite a text as an interval where the text it is compared with is one.

    A text that is no membership or inequality of one variable stays as it is.

    Args:
        text: The text.
        other: What it is compared with.

    Example:
        >>> as_interval(r"-2 \le x < 7", "[-2, 7)"), as_interval(r"x \in [-2, 7]", "[-2, 7]")
        ('[-2, 7)', '[-2, 7]')
        >>> as_interval("x < 7", "x < 8")
        'x < 7'
    """
    is_set = _INTERVAL.search(other) or _SETS.search(other)
    if max(len(text), len(other)) > MAX_CHARS or not (is_set or _MEMBER.match(text.strip("$ "))):
        return text
    plain = normalize_latex(text, keep_fractions=True)
    if member := _MEMBER.match(plain):
        return _REALS.sub(lambda _: r"(-\infty, \infty)", plain[member.end() :])
    if not is_set:
        return text
    if _REALS.fullmatch(plain):
        return r"(-\infty, \infty)"
    intervals = [_bounds(piece) for piece in _OR.split(plain)]
    return text if None in intervals else r" \cup ".join(map(str, intervals))


def _bounds(inequality: str) -> str | None:
    """Return the interval of `2 < x` or `2 < x < 3`; None for anything else."""
    for pattern, sign in ((_AT_MOST, "≤"), (_AT_LEAST, "≥"), (_BELOW, "<"), (_ABOVE, ">")):
        inequality = pattern.sub(sign, inequality)
    sides = [side.strip() for side in _SIGN.split(inequality)]
    if "" in sides:
        return None
    if len(sides) == 3:
        left, sign, right = sides
        if _VARIABLE.fullmatch(left):
            sides = ["", "<", left, sign, right] if sign in "<≤" else ["", ">", left, sign, right]
        elif _VARIABLE.fullmatch(right):
            sides = [left, sign, right, sign[:1], ""]
    if len(sides) != 5 or not _VARIABLE.fullmatch(sides[2]):
        return None
    if all(sign in ">≥" for sign in sides[1::2]):
        low, low_sign, high_sign, high = sides[4], sides[3], sides[1], sides[0]
    elif all(sign in "<≤" for sign in sides[1::2]):
        low, low_sign, high_sign, high = sides[0], sides[1], sides[3], sides[4]
    else:
        return None
    opening = "[" if low and low_sign in "≤≥" else "("
    closing = "]" if high and high_sign in "≤≥" else ")"
    return opening + (low or r"-\infty") + ", " + (high or r"\infty") + closing
