"""Choose which columns of a table are a question and its gold.

It also converts their values.
"""

import reprlib
from collections.abc import Callable, Sequence
from typing import Any

from tale_dspy.answers import find_answer, gold_from_gsm8k, kind_of
from tale_dspy.context_columns import context_of, find_context
from tale_dspy.errors import DataError
from tale_dspy.option_columns import (
    LETTERS,
    OptionColumns,
    option_letter,
    right_letters,
    with_options,
)
from tale_dspy.protocols import JsonObject
from tale_dspy.tables import Table, field_name

GOLD_COLUMNS = (
    *("answer", "choice", "gold", "target", "label", "solution", "answerKey", "cop", "correct_answer"),
    *("correct_option", "answer_index", "answer_idx", "answer_number", "final_answer", "ground_truth", "correct"),
    *("final_ans", "final_decision"),
)
"""Columns that hold the gold, the first known one first."""

_QUESTIONS = ("question", "question_stem", "problem", "input", "prompt", "query", "goal", "ctx", "sentence", "premise")


def with_context(table: Table, cells: list[dict[str, Any]], used: Sequence[str]) -> list[dict[str, Any]]:
    """Put the passage, hint and the like that stand beside a question before it."""
    columns = find_context(table, used)
    return [
        {field_name(column): context_of(row.values.get(column)) for column in columns} | cell
        for row, cell in zip(table.rows, cells, strict=True)
    ]


def question_column(table: Table) -> str:
    """Return the column of the question where none is named.

    It is `question`, or the name that published sets have for it.
    """
    return next((name for name in _QUESTIONS if table.find(name)), "question")


def choose_columns(table: Table, inputs: Sequence[str], golds: Sequence[str]) -> dict[str, str]:
    """Return the field of each chosen column.

    The inputs come first, then the first gold there is.
    """
    columns = {name: table.find(name) for name in [*inputs, *golds]}
    present = f"{table.label} has the columns {', '.join(table.columns)}"
    for name in inputs:
        if columns[name] is None:
            raise DataError(f"{present}: there is no input {name!r} (inputs= names others)")
    gold = next((name for name in golds if columns[name] and (len(golds) == 1 or name not in inputs)), None)
    if gold is None:
        raise DataError(f"{present}: there is no {' or '.join(map(repr, golds[:5]))} (gold= names another)")
    chosen = [*inputs, gold]
    fields = {str(columns[name]): field_name(name) for name in chosen}
    if not inputs or len(fields) < len(chosen) or len(set(fields.values())) < len(chosen):
        raise DataError(f"inputs {list(inputs)} and gold {gold!r} must be at least two different columns")
    return fields


def final_answer(where: str, value: object) -> object:
    """Cut a GSM8K gold down to the text after its last `####`.

    A longer text that has headings stays whole.

    Raises:
        DataError: If no reply can equal the gold: an object, or a list of texts, of which any may be right.
    """
    if isinstance(value, dict) or (isinstance(value, list) and _are_aliases(value)):
        raise DataError(f"{where}: no reply can equal a gold that is {reprlib.repr(value)}: give one text or number")
    if isinstance(value, str) and "\\boxed" in value and (marked := find_answer(value, guess=False)):
        return marked  # a worked solution, as MATH has them
    if not isinstance(value, str) or "####" not in value or "\n" in value.rpartition("####")[2].strip():
        return value
    return gold_value(where, value, gold_from_gsm8k)


def _are_aliases(items: list[object]) -> bool:
    """Return whether a list holds several wordings of one answer.

    A list of numbers is itself the answer.
    """
    return not items or any(
        isinstance(item, dict) or (isinstance(item, str) and kind_of(item) != "number") for item in items
    )


def gold_value(where: str, value: object, read_gold: Callable[[Any], object]) -> object:
    try:
        return read_gold(value)
    except DataError as e:
        raise DataError(f"{where}: {e}") from None


def lettered_choices(
    table: Table, options: OptionColumns, cells: list[JsonObject], question: str, gold: str
) -> list[JsonObject] | None:
    """Write the options into the questions and turn the golds into `choice`.

    It returns None where a gold is no option.
    """
    rows = [options.read(row) for row in table.rows]
    letters = right_letters(rows, [cell[gold] for cell in cells])
    if letters is None:
        return None
    return [
        {k: v for k, v in cell.items() if k != gold} | {question: with_options(cell[question], row), "choice": letter}
        for cell, row, letter in zip(cells, rows, letters, strict=True)
    ]


def wrong_choice(table: Table, options: OptionColumns, cells: list[JsonObject], gold: str) -> DataError:
    """Return the error that names the row whose gold is no letter.

    The golds of the other rows are letters of their options.
    """
    for row, cell in zip(table.rows, cells, strict=True):
        letters = LETTERS[: len(options.read(row).texts)]
        if option_letter(cell[gold]) not in tuple(letters):
            value = reprlib.repr(cell[gold])
            return DataError(f"{row.where}: {gold} must be one of the letters {letters}, got {value}")
    return DataError(f"{table.label}: {gold} is no option of {options.name}")
