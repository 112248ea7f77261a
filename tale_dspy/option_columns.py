"""Recognise the options of a multiple-choice table, and the right letter.

In the layouts of published sets.

MMLU (`choices` and an index), ARC and CommonsenseQA (`choices` with `text` and `label`), C-Eval and CMMLU (`A` to `D`),
MedMCQA (`opa` to `opd`), PIQA (`sol1`, `sol2`), HellaSwag (`endings`), COPA, Winogrande, MathBench (`options`).
Options are never dropped: what looks like them and cannot be read is refused.
"""

import json
import math
import re
import reprlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from tale_dspy.errors import DataError
from tale_dspy.tables import Row, Table, is_missing

LETTERS = "ABCDEFGHIJ"

_LIST_COLUMNS = ("options", "choices", "endings", "answer_choices", "choice_list")
_LETTERED = ("", "op", "option", "choice", "answer", "opt")
_NUMBERED = ("option", "choice", "ending", "sol", "solution", "answer", "ans", "opt")
_FEWEST = 2
_OWN_LABEL = re.compile(r"\(?([A-J])[).:]\s*(?=\S)")


class RowOptions(NamedTuple):
    """The options of one row."""

    texts: list[object]
    labels: list[str]
    """What the row calls them: `A`, `B` ... or, as ARC may, `1`, `2` ..."""


@dataclass(frozen=True)
class OptionColumns:
    """Where a table has its options."""

    columns: tuple[str, ...]
    """One column of lists, or one for each option."""

    @property
    def name(self) -> str:
        """What messages call them."""
        return self.columns[0] if len(self.columns) == 1 else f"{self.columns[0]} to {self.columns[-1]}"

    def read(self, row: Row) -> RowOptions:
        """Return the options of a row.

        Raises:
            DataError: If they are not 2 to 10 texts or numbers.
        """
        column = next(iter(self.columns))
        if len(self.columns) > 1:
            cells: list[Any] = [row.values.get(name) for name in self.columns]
            while cells and is_missing(cells[-1]):  # four options in a table of five
                cells.pop()
            texts, labels = list(cells), list(LETTERS[: len(cells)])
        else:
            texts, labels = _option_list(row.values.get(column), row, column)
        if not _FEWEST <= len(texts) <= len(LETTERS) or len(labels) != len(texts) or not all(map(_is_option, texts)):
            value = reprlib.repr(row.values.get(column))
            raise DataError(f"{row.where}: {self.name} must be a list of 2 to {len(LETTERS)} answers, got {value}")
        return RowOptions(_without_own_labels(texts), labels)


def find_options(table: Table, used: Sequence[str]) -> OptionColumns | None:
    """Return where a table has options; None where it has none.

    Args:
        table: The rows.
        used: Columns that are inputs or the gold, and so no options.
    """
    for name in _LIST_COLUMNS:
        column = table.find(name)
        if column is not None:
            return None if column in used else OptionColumns((column,))
    answers = table.find("answers")  # ReClor's, beside an index in `label`; elsewhere wordings of one answer
    if answers and answers not in used and _folded_name(used[-1]) == "label":
        return OptionColumns((answers,))
    free = {_folded_name(column): column for column in table.columns if column not in used}
    series = [[f"{prefix}{letter}".lower() for letter in LETTERS] for prefix in _LETTERED]
    series += [[f"{prefix}{n}" for n in range(first, first + 10)] for prefix in _NUMBERED for first in (0, 1)]
    for names in series:
        columns = []
        for name in names:
            if name not in free or (len(name) == 1 and free[name] != name.upper()):
                break
            columns.append(free[name])
        if len(columns) >= _FEWEST:
            return OptionColumns(tuple(columns))
    return None


def names_options(inputs: Sequence[str]) -> bool:
    """Return whether a caller gives the options as an input of their own."""
    return any(name in _LIST_COLUMNS for name in inputs)


def right_letters(options: Sequence[RowOptions], golds: Sequence[object]) -> list[str] | None:
    """Return the letter of each row's gold.

    A gold is given as a letter, a label, an index or the text of an option. It returns None where the golds are none of
    these, or are indexes among which neither 0 nor the number of options occurs, so that they may count from 0 or from
    1.
    """
    base: int | None = None
    indexes = [_index_from_gold(gold) for gold in golds]
    if None not in indexes and not any(
        str(gold).strip() in row.labels for row, gold in zip(options, golds, strict=True)
    ):
        reaches_end = any(index == len(row.texts) for index, row in zip(indexes, options, strict=True))
        base = 0 if 0 in indexes else 1 if reaches_end else None
    letters = []
    for row, gold in zip(options, golds, strict=True):
        place = _gold_index(row, gold, base)
        if place is None or not 0 <= place < len(row.texts):
            return None
        letters.append(LETTERS[place])
    return letters


def option_letter(gold: object) -> str | None:
    """Read a gold that is nothing but a letter: `B`, ` b `, `(B)`, `B.`.

    It returns None for any other gold.
    """
    letter = re.fullmatch(r"\(?([A-Ja-j])[).]?", gold.strip()) if isinstance(gold, str) else None
    return letter[1].upper() if letter else None


def with_options(question: object, options: RowOptions) -> str:
    """Write the options into the question as the paper's code does.

    Each is a line `A. ...` with its newline.
    """
    lines = (f"{letter}. {text}\n" for letter, text in zip(LETTERS, options.texts, strict=False))
    return f"{str(question).strip()}\n{''.join(lines)}"


def _gold_index(row: RowOptions, gold: object, base: int | None) -> int | None:
    text = str(gold).strip()
    if text in row.labels:
        return row.labels.index(text)
    letter = option_letter(gold)
    if letter is not None:
        return LETTERS.index(letter)
    index = _index_from_gold(gold)
    if base is not None and index is not None:
        return index - base
    matches = [place for place, option in enumerate(row.texts) if str(option).strip().casefold() == text.casefold()]
    return matches[0] if len(matches) == 1 else None


def _index_from_gold(gold: object) -> int | None:
    if isinstance(gold, bool):
        return None
    if isinstance(gold, str):
        return int(gold) if re.fullmatch(r"\s*\d{1,2}\s*", gold) else None
    return int(gold) if isinstance(gold, int | float) and math.isfinite(gold) and gold == int(gold) else None


def _option_list(value: object, row: Row, column: str) -> tuple[list[object], list[str]]:
    """Read a cell that holds all options.

    It is a list, `{A: ..., B: ...}`, `{text: [...], label: [...]}`, or JSON of these.
    """
    if is_missing(value):
        raise DataError(f"{row.where}: row without {column}")
    if isinstance(value, str):  # a table without lists, such as a CSV, may hold them as JSON
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return [], []
    if isinstance(value, dict) and isinstance(value.get("text"), list):
        texts = list(value["text"])
        labels = value.get("label", value.get("labels"))
        return texts, list(map(str, labels)) if isinstance(labels, list) else list(LETTERS[: len(texts)])
    if isinstance(value, dict) and sorted(value) == list(LETTERS[: len(value)]):
        return [value[letter] for letter in sorted(value)], sorted(value)
    if not isinstance(value, list):
        return [], []
    if value and all(isinstance(item, dict) and "text" in item for item in value):
        labels = [str(item.get("label", letter)) for item, letter in zip(value, LETTERS, strict=False)]
        return [item["text"] for item in value], labels
    return value, list(LETTERS[: len(value)])


def _without_own_labels(texts: list[object]) -> list[object]:
    """Take off `A. ` and the like where every option brings its own letter."""
    labels = [_OWN_LABEL.match(text) if isinstance(text, str) else None for text in texts]
    if all(match and match[1] == letter for match, letter in zip(labels, LETTERS, strict=False)):
        return [str(text)[match.end() :] for text, match in zip(texts, labels, strict=True) if match]
    return texts


def _is_option(value: object) -> bool:
    return isinstance(value, str | int | float) and not is_missing(value)


def _folded_name(column: str) -> str:
    return re.sub(r"[\s_-]", "", column).lower()
