"""Read the rows of a training file, or refuse them with one sentence."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tale_dspy.errors import DataError
from tale_dspy.ids import digest
from tale_dspy.tables import read_file
from tale_dspy.training.options import Strategy

Messages = list[dict[str, str]]

REPLIES: dict[Strategy, tuple[str, ...]] = {"sft": ("completion",), "dpo": ("chosen", "rejected"), "grpo": ()}
"""Columns of the replies, beside `prompt`."""


@dataclass(frozen=True)
class TrainRow:
    """One prompt and the replies it is trained on."""

    where: str
    """File and line, as messages name them."""
    id: str | None
    """The id of the question, where the row tells."""
    prompt: Messages | str
    """Messages, or a text that is taken as it is, without a chat template."""
    replies: tuple[str, ...]
    """The completion, or the chosen and the rejected reply."""
    gold: Any = None
    """The right answer, for rewards."""
    tokens: int | None = None
    """Completion tokens of the reply under the best budget: the budget of the question, for rewards."""
    budget: int | None = None
    """Tokens that the prompt allows, of rows that are distilled with budgets."""


def read_rows(data: object, strategy: Strategy) -> list[TrainRow]:
    """Read training rows.

    Args:
        data: A .jsonl, .json or .parquet file, several of them, a `datasets.Dataset`, or mappings. A row has `prompt`
            and `completion`, or `prompt`, `chosen` and `rejected`, each a text or a list of messages; or `messages`,
            the last of which is the completion.
        strategy: Which replies are needed.

    Raises:
        DataError: If there are no rows, or one lacks a field or has it in another form.
    """
    if isinstance(data, str | Path):
        items = _of_file(data)
    elif isinstance(data, Iterable):
        items = []
        for number, row in enumerate(data, 1):
            items += _of_file(row) if isinstance(row, str | Path) else [(f"row {number}", row)]
    else:
        raise DataError(
            f"data must be a file, several, a datasets.Dataset or a list of rows, got {type(data).__name__}"
        )
    if not items:
        raise DataError("there is no row to train on: data is empty")
    return [_check_row(where, values, strategy) for where, values in items]


def _of_file(path: str | Path) -> list[tuple[str, Any]]:
    return [(row.where, row.values) for row in read_file(str(path)).rows]


def _check_row(where: str, values: object, strategy: Strategy) -> TrainRow:
    if not isinstance(values, Mapping):
        raise DataError(f"{where} must be a JSON object, got {type(values).__name__}")
    columns = REPLIES[strategy]
    cells = dict(values)
    if columns == ("completion",) and cells.get("messages") and not cells.get("prompt"):
        *cells["prompt"], last = _check_messages(where, "messages", cells["messages"])
        cells["completion"] = [last]
    for column in ("prompt", *columns):
        if not cells.get(column):
            names = ", ".join(values) or "nothing"
            raise DataError(
                f"{where} has no {column}: {strategy} needs {', '.join(('prompt', *columns))}; it has {names}"
            )
    prompt = cells["prompt"]
    if not isinstance(prompt, str):
        prompt = _check_messages(where, "prompt", prompt)
    replies = tuple(_check_reply(where, column, cells[column]) for column in columns)
    if len(set(replies)) < len(replies):
        raise DataError(f"{where}: {' and '.join(columns)} are the same reply, so that nothing can be preferred")
    id_, tokens, gold, budget = (cells.get(column) for column in ("id", "tokens", "gold", "budget"))
    if strategy == "grpo" and gold is None:
        raise DataError(f"{where} has no gold, the right answer that is rewarded")
    for column, number in (("tokens", tokens), ("budget", budget)):
        if number is not None and (isinstance(number, bool) or not isinstance(number, int)):
            raise DataError(f"{where}: {column} must be a whole number, got {number!r}")
    return TrainRow(where, None if id_ is None else str(id_), prompt, replies, gold, tokens, budget)


def _check_messages(where: str, column: str, value: object) -> Messages:
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        raise DataError(f"{where}: {column} must be a text or a list of messages, got {type(value).__name__}")
    for message in value:
        if not isinstance(message, Mapping) or not all(isinstance(message.get(k), str) for k in ("role", "content")):
            raise DataError(f"{where}: each message of {column} must have a role and a content, both texts")
    return [{"role": m["role"], "content": m["content"]} for m in value]


def _check_reply(where: str, column: str, value: object) -> str:
    if isinstance(value, str):
        return value
    messages = _check_messages(where, column, value)
    if len(messages) != 1 or messages[0]["role"] != "assistant":
        raise DataError(f"{where}: {column} must be one message of the assistant")
    return messages[0]["content"]


def rows_hash(rows: Iterable[TrainRow]) -> str:
    """Return 16 hex digits that stand for these rows in this order."""
    # Rewards are made of the right answer and the budget of a row; where there are replies, both play no part.
    return digest([[row.prompt, list(row.replies), None if row.replies else [row.gold, row.tokens]] for row in rows])
