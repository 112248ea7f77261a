"""Read a token budget out of an estimator's reply, or say why there is none.

A reply that answers the question (`There are 28 hats.`), refuses, or was cut while it thought holds no budget: the
numbers in it are not guessed to be one.
"""

import re
from dataclasses import dataclass
from typing import Literal

from tale_dspy.answers.brackets import TEMPLATE, bracket_spans
from tale_dspy.answers.budget_words import (
    ANY_NUMBER,
    BEFORE_TOKENS,
    BUDGET,
    BUDGET_LABEL,
    CLAUSE_END,
    CONCLUDES,
    COUNTED,
    DRESS,
    EACH,
    EQUATION,
    HAN_VOCABULARY,
    ITEM,
    LABELLED_TOKENS,
    MARGIN,
    NOT_A_BUDGET,
    ONLY_AN_ANSWER,
    OTHER_TOKENS,
    RANGE,
    REFUSES,
    REFUSES_TO_HELP,
    STATES_ANSWER,
    TOKENS_WORD,
    TOO_LITTLE,
    TOTAL,
    VOCABULARY,
    WORD,
)
from tale_dspy.answers.json_reply import json_object
from tale_dspy.answers.normalize import ascii_twin
from tale_dspy.answers.number_words import words_to_digits
from tale_dspy.answers.numbers import read_quantity
from tale_dspy.answers.thought_tags import split_thought

Reason = Literal["empty", "truncated", "refusal", "no budget", "too large"]
"""Why a reply holds no budget."""

LARGEST = 10.0**15
"""Larger numbers are no estimate of tokens."""
_MAX_CHARS = 4000  # characters of a reply that are searched: an estimator has no business writing more
_MAX_MATCHES = 200


@dataclass(frozen=True)
class BudgetEstimate:
    """What was read of an estimator's reply."""

    tokens: float | None
    """The number as it stands there, zero and negative ones included; None if there is none."""
    reason: Reason | None = None
    """Why there is none: `empty`, `truncated` while it thought or wrote, a `refusal`, `no budget` (also an answer to
    the question in place of an estimate), or a number `too large` to be one. None where a number was read."""


def read_estimate(reply: str | None, *, truncated: bool = False) -> BudgetEstimate:
    """Read a token budget out of an estimator's reply.

    The last `[[...]]` that holds a number counts, then a number after "budget", a total, the number a conclusion begins
    with, one before "tokens", and a number without any of these only where the reply speaks of nothing else. Parts of a
    list are added up where no total is given. Of a range (`50-80`) the upper end counts, of `60 ± 10` the middle.

    Args:
        reply: The estimator's text; thinking inside it is left out.
        truncated: Whether the reply was cut by a limit: only a number in double brackets counts then.

    Example:
        >>> read_estimate("Reading 25 tokens, computing 30 tokens, 55 tokens in total.").tokens
        55.0
        >>> read_estimate("There are 28 pink hard hats.").reason
        'no budget'
    """
    if not reply or not reply.strip():
        return BudgetEstimate(None, "truncated" if truncated else "empty")
    _, text, complete = split_thought(
        reply if len(reply) <= 50 * _MAX_CHARS else reply[:_MAX_CHARS] + reply[-_MAX_CHARS:]
    )
    if not complete:
        return BudgetEstimate(None, "truncated")
    text = ascii_twin(text[-_MAX_CHARS:]).replace("\r", "\n").strip()
    if not text:
        return BudgetEstimate(None, "empty")
    number = _in_brackets(text)
    if number is None and REFUSES_TO_HELP.search(text):
        return BudgetEstimate(None, "refusal")
    if number is None and truncated:
        return BudgetEstimate(None, "truncated")
    if number is None:
        number = _in_words(text)
    if number is None:
        return BudgetEstimate(None, "refusal" if REFUSES.search(text) else "no budget")
    return BudgetEstimate(None, "too large") if abs(number) > LARGEST else BudgetEstimate(number)


def _in_brackets(text: str) -> float | None:
    """Read the last double brackets that hold a number.

    `[[50]] to [[80]]` is a range.
    """
    spans = bracket_spans(text)[-_MAX_MATCHES:]
    labelled = [span for span in spans if BUDGET_LABEL.search(text, max(0, span.start - 40), span.start)]
    contents = [text[span.inside].strip() for span in (labelled or spans)]
    for content in reversed([c for c in contents if not TEMPLATE.fullmatch(c)]):
        numbers = _find_ranges(_normalize_reply(content.strip("[] ")))
        if numbers:
            return _upper_end(numbers[0])
    return None


def _in_words(text: str) -> float | None:
    fields = json_object(text)
    if fields is not None:
        return _in_json(fields)
    text = re.sub(r"\[\[[^\[\]]{0,40}\]\]", " ", text)
    with_equations, text = _normalize_reply(text), _normalize_reply(EQUATION.sub("", text))
    for label in (BUDGET, TOTAL, CONCLUDES) if TOKENS_WORD.search(text) else (BUDGET,):
        labels = [m for m in label.finditer(text) if not OTHER_TOKENS.search(text[max(0, m.start() - 60) : m.start()])]
        labels = [m for m in labels if m.re is not BUDGET or m[1]] or labels  # a total budget before those of steps
        if labels and (number := RANGE.match(text, labels[-1].end())) and not NOT_A_BUDGET.match(text, number.end()):
            return _upper_end(number)
    if TOKENS_WORD.search(text) and (alone := _on_a_line_of_its_own(with_equations)) is not None:
        return alone
    parts = [m[1] for m in ITEM.finditer(text)]
    if len(parts) > 1:
        return sum(filter(None, map(_token_value, parts)))
    tokens = _of_tokens(text)
    return _bare_number(text) if tokens is None else tokens


def _on_a_line_of_its_own(text: str) -> float | None:
    """Read a number that is the whole last or first of several lines.

    The others explain it.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for line in (lines[-1], lines[0]) if len(lines) > 1 else ():
        if (number := RANGE.match(line)) and not line[number.end() :].strip(" .*"):
            return _upper_end(number)
    return None


def _of_tokens(text: str) -> float | None:
    """Read a number of tokens, but no limit and not the question's length.

    A number for the output is preferred, else the last one is taken.
    """
    labelled = [(m["what"] is not None, m.end()) for m in LABELLED_TOKENS.finditer(text)]
    labelled = [x for x in labelled if not OTHER_TOKENS.search(text[max(0, x[1] - 60) : x[1]].rstrip(" :=~"))]
    for _, end in sorted(labelled, reverse=True)[:1]:
        if (number := RANGE.match(text, end)) and not COUNTED.match(text, number.end()):
            return _upper_end(number)
    numbers = [
        m for m in _find_ranges(text) if BEFORE_TOKENS.match(text, m.end()) and not NOT_A_BUDGET.match(text, m.end())
    ]
    budgets = [m for m in numbers if not OTHER_TOKENS.search(text[max(0, m.start() - 60) : m.start()])]
    return _upper_end(budgets[-1]) if budgets else None


def _bare_number(text: str) -> float | None:
    """Read a number that stands alone.

    It counts only in a reply that speaks of an estimate and of nothing else.
    """
    if EACH.search(text):
        return None
    if STATES_ANSWER.search(text) and not ONLY_AN_ANSWER.fullmatch(text):
        return None
    last: float | None = None
    for clause in CLAUSE_END.split(text):
        words = WORD.findall(ANY_NUMBER.sub(" ", clause))
        if not all(word.lower() in VOCABULARY or set(word) <= HAN_VOCABULARY for word in words):
            return None
        if TOO_LITTLE.search(clause) or OTHER_TOKENS.search(clause.rstrip("0123456789 ")):
            continue
        numbers = [m for m in _find_ranges(clause) if not COUNTED.match(clause, m.end())]
        last = _upper_end(numbers[-1]) if numbers else last
    return last


def _in_json(fields: dict[str, object]) -> float | None:
    """Read the budget of a JSON object by its key."""
    keys = {str(key).lower(): value for key, value in fields.items()}
    for name in ("budget", "total", "token", "estimate", "max", "answer"):
        for key, value in keys.items():
            if name in key and isinstance(value, str | int | float) and not isinstance(value, bool):
                numbers = _find_ranges(_normalize_reply(str(value)))
                return _upper_end(numbers[-1]) if numbers else None
    if len(keys) == 1:
        numbers = _find_ranges(_normalize_reply(str(next(iter(keys.values())))))
        return _upper_end(numbers[-1]) if numbers else None
    return None


def _normalize_reply(text: str) -> str:
    """Write a reply without bold and margins, its number words as digits."""
    text = words_to_digits(MARGIN.sub("", DRESS.sub(" ", text)))
    return re.sub(r"^\s*(?:-{2,}|-(?=\s*\d[^\n]*tok|\s+\d))", " ", text, flags=re.IGNORECASE)


def _find_ranges(text: str) -> list[re.Match[str]]:
    return list(RANGE.finditer(text))[-_MAX_MATCHES:]


def _upper_end(number: re.Match[str]) -> float | None:
    """Return the value of a number, or the upper end of a range.

    The scale of `1-2k` belongs to both.
    """
    values = [value for value in (_token_value(part) for part in number.groups() if part) if value is not None]
    return max(values, default=None)


def _token_value(text: str) -> float | None:
    if re.fullmatch(r"\d{1,3}\.\d{3}", text):
        text = text.replace(".", "")  # nobody means thousandths of a token
    quantity = read_quantity(re.sub(r"(?<=\d)\s?K$", "k", text.strip()))
    try:
        return None if quantity is None else float(quantity.value)
    except OverflowError:
        return None
