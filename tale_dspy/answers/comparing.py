"""Compare an answer with the gold.

Options are compared by letter, numbers exactly, then texts and lists, and the rest as mathematics.
"""

import re
from typing import NamedTuple

from tale_dspy.answers.choices import read_option
from tale_dspy.answers.finding import find_answer
from tale_dspy.answers.intervals import as_interval
from tale_dspy.answers.kinds import Kind, check_kind, kind_of, to_text
from tale_dspy.answers.normalize import MAX_CHARS, ascii_twin, bracket_depths, normalize_latex
from tale_dspy.answers.number_forms import as_european, normalize_numbers
from tale_dspy.answers.numbers import read_quantity
from tale_dspy.answers.polarity import is_polar, polar_answer
from tale_dspy.answers.symbolic import all_same, mathematical
from tale_dspy.answers.thought_tags import split_thought
from tale_dspy.answers.vectors import as_tuple

_MAX_LIST_CHARS = 2000
_MAX_ITEMS = 50
_MAX_NESTING = 5

_QUOTES = str.maketrans("‘’ʼ“”", "'''\"\"")
_INFINITY = re.compile(r"\\infty(?![A-Za-z])|\binfinity\b|(?<!\w)\+∞", re.IGNORECASE)
_PARENTHESIZED = re.compile(r"[*\s]*\((\w+)\)[*\s]*")
_CLOCK = re.compile(r"(\d{1,2})(?:\s?:\s?(\d{2})\s?(?:([ap])\.?\s?m\.?)?|\s?([ap])m)")
_SEPARATOR = re.compile(r"[][(){}]|[,;]")
_ARTICLE = re.compile(r"(?<![^\s{])(?:[Tt]he|[Aa]n)\s(?=[^\W\d_])|(?<![^\s{])a\s(?=[^\W\d_]{3})")
_ROUNDED = re.compile(r"≈|\\approx(?![A-Za-z])")
_PLUS_MINUS = re.compile(r"\\pm(?![A-Za-z])|±")
# `12\pi\text{ cm}^2`: a unit behind an expression, which algebra would take for factors.
_UNIT_BEHIND = re.compile(
    r"(?<=[\w})])(?:\\[,;:! ]|[~\s])*\\(?:text|mathrm|mbox|textrm)\s?\{(?!\s*(?:or|and|if|for)\b)"
    r"[\sA-Za-z./-]{2,40}\}(?:\s?\^\s?\{?-?\d\}?)?[\s.$]*\Z"
)
# Without brackets around the list also words; a comma before three digits belongs to the number.
_BARE_SEPARATOR = re.compile(r"[][(){}]|,(?!(?<=\d,)\d{3}(?!\d))|[;、]|\b(?:or|and)\b|或|和", re.IGNORECASE)


def judge(reply: str | None, gold: object, kind: Kind = "auto") -> bool:
    """Find the answer in a reply and return whether it equals the gold.

    Args:
        reply: What the model wrote; None and an unreadable reply are wrong.
        gold: The right answer.
        kind: How to read and compare; `auto` asks `kind_of(gold)`.

    Raises:
        UsageError: If `kind` is not a `Kind`.
        BackendError: If the process for mathematics cannot be started on this machine.

    Example:
        >>> judge("9 * 2 = 18, so the answer is $18.", "18"), judge("[[18]] Wait, no: 20.", "18")
        (True, False)
    """
    kind = kind_of(gold) if kind == "auto" else kind
    polar = kind == "text" and is_polar(to_text(gold) or "")
    answer = find_answer(reply, kind, guess=not polar)
    if polar and answer is None:
        _, text, complete = split_thought(to_text(reply) or "")
        answer = polar_answer(text) if complete else None
    return answer is not None and answers_equal(answer, gold, kind)


_WHOLE = re.compile(r"-?[0-9]{1,30}")


def answers_equal(answer: object, gold: object, kind: Kind = "auto") -> bool:
    """Return whether an answer equals the gold.

    - Options: the same letter, as `B`, `(b)`, `B. Paris`, `Option B` or `选项B`.
    - Numbers: the same value. Thousands separators, currency, units, a label and the form (`0.75`, `3/4`) do not
      matter; units are not converted (`2 dozen` is 2), number words are (`2 million`). A percentage equals its number
      and its hundredth. There is no tolerance, but 0.333333 equals 1/3: see `quantity.Quantity.same`.
    - Yes and no, true and false: also at the head of a sentence (`Yes, because ...`) or after "is". A gold that is a
      bool takes either pair, also as a CSV file has it, `True` and `False`.
    - Texts: the same characters, whatever their case, spaces, LaTeX dress and last full stop.
    - Lists `(3, 4)`, `[3, 4]`, `{3, 4}`, `3 and 4`: element by element; in any order with braces or no brackets.
    - Other mathematics, such as `x^2+1`: as math-verify finds within a second; otherwise different.

    Args:
        answer: Text, or a value of a typed field. None and empty text equal nothing.
        gold: The right answer, of any of these types.
        kind: How to compare; `auto` asks `kind_of(gold)`.

    Raises:
        UsageError: If `kind` is not a `Kind`.
        BackendError: If the process for mathematics cannot be started on this machine.

    Example:
        >>> answers_equal("75 %", "3/4"), answers_equal("(b)", "B"), answers_equal("18 or 20", "18")
        (True, True, False)
    """
    check_kind(kind)
    reply, right = to_text(answer), to_text(gold)
    if not reply or not right:
        return False
    if (kind_of(gold) if kind == "auto" else kind) == "choice" and (letter := read_option(right)):
        return read_option(reply) == letter
    if _WHOLE.fullmatch(reply) and _WHOLE.fullmatch(right):  # most answers of most data sets
        return int(reply) == int(right)
    if is_polar(right) and (polar := polar_answer(reply)) is not None:
        meaning = {"True": True, "False": False}.get(right.strip())
        return polar == right.strip().casefold() or (polar in ("yes", "true")) is meaning
    pairs = _open_pairs(reply, right)
    return pairs is not None and (not pairs or all_same(tuple(pairs)))


def _open_pairs(reply: str, right: str) -> list[tuple[str, str]] | None:
    """Compare all that needs no algebra.

    It returns None if they differ, else the pairs of expressions that algebra must still compare.
    """
    flat, right_flat = _flat_text(reply), _flat_text(right)
    if flat == right_flat != "" or _flat_text(_ARTICLE.sub("", reply)) == _flat_text(_ARTICLE.sub("", right)) != "":
        return []
    gold, quantity = read_quantity(right, bare=True), read_quantity(reply)
    if gold and "," not in right and (european := as_european(reply)) and (as_meant := read_quantity(european)):
        quantity = as_meant if as_meant.same(gold) else quantity  # `2,5` and `1.500` are what the gold shows them to be
    if gold and quantity and quantity.same(gold):
        return []
    exact_side = _ROUNDED.split(reply)[0].strip(" $")  # `1/6 ≈ 0.167`: its right side was compared above
    if exact_side != reply and re.search(r"\d|\\", exact_side) and not _ROUNDED.search(right):  # `x ≈ 3` gives no x
        exact = _open_pairs(exact_side, right)
        if exact == [] or (exact and not gold):
            return exact
    if gold and quantity:
        return None
    if (same_time := _same_time(reply, right)) is not None:
        return [] if same_time else None
    if not gold:
        reply, right = as_tuple(reply, right), as_tuple(right, reply)
        reply, right = as_interval(reply, right), as_interval(right, reply)
    if not gold and (parts := _split_list(right)):
        others = _split_list(reply)
        return _open_lists(others, parts) if others else None
    if _split_list(reply) or (gold and read_quantity(reply.partition("=")[0])):
        return None  # several answers to a gold of one, or a false equation
    if max(len(reply), len(right)) > MAX_CHARS:
        return None
    one, other = (normalize_latex(_UNIT_BEHIND.sub("", text), keep_fractions=True) for text in (reply, right))
    return [(one, other)] if mathematical(one) and mathematical(other) else None


def _both_signs(item: str) -> list[str]:
    r"""List the two values of `1 \pm \sqrt{2}`; any other text is listed alone."""
    if len(_PLUS_MINUS.findall(item)) != 1:
        return [item]
    before, after = _PLUS_MINUS.split(item)
    plus = "+" if before.rstrip(" {=(") == before.rstrip() != "" else ""
    return [f"{before}{plus}{after}", f"{before}-{after}"]


def _flat_text(text: str) -> str:
    """Write a text without case, LaTeX markup, last full stop and spaces.

    Spaces between two digits stay.
    """
    text = normalize_latex(text) if len(text) <= MAX_CHARS else " ".join(ascii_twin(text).split())
    text = text.translate(_QUOTES).rstrip(" .。")
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        text = text[1:-1]
    if single := _PARENTHESIZED.fullmatch(text):
        text = single[1]
    text = _INFINITY.sub("∞", text)
    return re.sub(r" (?!\d)|(?<!\d) ", "", text).casefold()


def _same_time(reply: str, right: str) -> bool | None:
    """Compare two times of the day; None if they are none.

    Where one lacks its `am` or `pm`, it may be either.
    """
    if max(len(reply), len(right)) > MAX_CHARS or ":" not in reply + right:
        return None
    clocks = [_CLOCK.fullmatch(normalize_numbers(text).strip(" .").lower()) for text in (reply, right)]
    parts = [(int(c[1]), int(c[2] or 0), c[3] or c[4]) for c in clocks if c]
    times = [part for part in parts if part[0] <= 24 and part[1] < 60]
    if len(times) < 2:
        return None
    if times[0][2] is times[1][2] is None:
        return times[0] == times[1]
    (hour, minute, half), (other, other_minute, other_half) = sorted(times, key=lambda time: time[2] is None)
    minutes = hour % 12 * 60 + minute + 720 * (half == "p")
    if other_half:
        return minutes == other % 12 * 60 + other_minute + 720 * (other_half == "p")
    plain = other * 60 + other_minute
    return minutes == plain or (1 <= other <= 12 and minutes % 720 == plain % 720)


# --- lists ----------------------------------------------------------------------------------------------------------


class _AnswerList(NamedTuple):
    brackets: str
    items: list[str]


def _split_list(text: str) -> _AnswerList | None:
    """Split `(3, 4)`, `{3, 4}` or `3 or 4` at its outer separators.

    It returns None for anything but a list of two or more.
    """
    if len(text) > _MAX_LIST_CHARS or max(bracket_depths(text)) > _MAX_NESTING:
        return None
    text = normalize_latex(text, keep_fractions=True).replace(r"\{", "{").replace(r"\}", "}")
    brackets = text[:1] + text[-1:]
    if re.fullmatch(r"[(\[{][)\]}]", brackets) and min(bracket_depths(text[1:-1])) >= 0:
        text, separator = text[1:-1], _SEPARATOR
    else:
        brackets, separator = "", _BARE_SEPARATOR
    items, depth, since = [], 0, 0
    for token in separator.finditer(text):
        depth += (token[0] in "([{") - (token[0] in ")]}")
        if depth == 0 and token[0] not in ")]}":
            items.append(text[since : token.start()].strip())
            since = token.end()
    items = [signed for item in (*items, text[since:].strip()) if item for signed in _both_signs(item)]
    return _AnswerList(brackets, items) if 2 <= len(items) <= _MAX_ITEMS else None


def _open_lists(reply: _AnswerList, right: _AnswerList) -> list[tuple[str, str]] | None:
    """Compare two lists as `_open_pairs` does.

    The order counts if one of them is in round or square brackets.
    """
    if len(reply.items) != len(right.items) or (reply.brackets and right.brackets and reply.brackets != right.brackets):
        return None  # also `(3, 4)` and `[3, 4]`, which may be intervals
    ordered = re.search(r"[(\[]", reply.brackets + right.brackets)
    return _in_order(reply.items, right.items) if ordered else _in_any_order(reply.items, right.items)


def _in_order(reply: list[str], right: list[str]) -> list[tuple[str, str]] | None:
    pairs = []
    for one, other in zip(reply, right, strict=True):
        open_pairs = _open_pairs(one, other)
        if open_pairs is None:
            return None
        pairs += open_pairs
    return pairs


def _in_any_order(reply: list[str], right: list[str]) -> list[tuple[str, str]] | None:
    """Strike out what needs no algebra.

    The rest of both sides becomes one pair of sets.
    """
    left, missing = list(reply), []
    for item in right:
        match = next((one for one in left if _open_pairs(one, item) == []), None)
        if match is None:
            missing.append(item)
        else:
            left.remove(match)
    if not missing:
        return []
    sets = tuple(r"\{" + ", ".join(items) + r"\}" for items in (left, missing))
    return [(sets[0], sets[1])] if all(map(mathematical, sets)) else None
