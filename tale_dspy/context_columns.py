"""Find the columns a question is not whole without.

Such texts are its passage, body, hint or hypothesis.

They become inputs beside the question, or are refused where no text program can be shown them; dropped in silence they
would make every answer a guess.
"""

from collections.abc import Sequence
from typing import Any

from tale_dspy.errors import DataError
from tale_dspy.tables import Table, is_missing

_TEXTS = (
    *("context", "passage", "article", "body", "paragraph", "document", "background", "story", "support", "evidence"),
    *("premise", "premises", "hypothesis", "hint", "table", "pre_text", "post_text"),
)
_REFUSED = dict.fromkeys(("image", "images", "picture", "audio", "video"), "which no text program can be shown")
_REFUSED |= dict.fromkeys(("distractor1", "mc1_targets"), "which holds options in a layout that is not known")


def find_context(table: Table, used: Sequence[str]) -> list[str]:
    """Return the columns to show before the question, in the table's order.

    Args:
        table: The rows.
        used: Columns that are the question, its options or the gold.

    Raises:
        DataError: If one of them holds something else than text.
    """
    texts = {table.find(name) for name in _TEXTS}
    refused = {table.find(name): why for name, why in _REFUSED.items()}
    passages = []
    for column in table.columns:
        cells = [row.values.get(column) for row in table.rows]
        if column in used or all(map(is_missing, cells)):
            continue
        why = refused.get(column)
        if column in texts and not all(is_missing(cell) or isinstance(cell, str) for cell in cells):
            why = "and not every cell of it is text"
        if why is not None:
            raise DataError(
                f"{table.label} has {column!r} beside the question, {why}: write it as text, or say what the program "
                "is given, as in inputs=['question']"
            )
        if column in texts:
            passages.append(column)
    return passages


def context_of(values: Any) -> str:
    """Return a cell of such a column; a missing one is empty."""
    return "" if is_missing(values) else str(values)
