"""The order in which rows are trained on, fixed before the first step."""

import random
from collections.abc import Sequence

WINDOW = 50
"""Batches among whose rows those of like length are put together."""


def order_of(lengths: Sequence[int], batch: int, epochs: float, seed: int, *, by_length: bool) -> list[int]:
    """Return the numbers of the rows, epoch after epoch.

    Every `batch` of them are one step.

    A training that was killed goes on with the very next row. Rows of like length share a batch, so that little is
    padded; the batches are shuffled, and which rows share one changes each epoch. Rows that fill no batch go into the
    next epoch, so that only the last batch of all may be short.

    Args:
        lengths: Tokens of each row.
        batch: Rows of a step.
        epochs: Passes over the rows.
        seed: Decides the order.
        by_length: Whether rows of like length share a batch; otherwise chance alone decides.
    """
    rng, total = random.Random(seed), max(1, round(epochs * len(lengths)))
    order, left = list[int](), list[int]()
    while len(order) + len(left) < total:
        rows = list(range(len(lengths)))
        rng.shuffle(rows)
        rows = left + rows
        whole = len(rows) - len(rows) % batch
        rows, left = rows[:whole], rows[whole:]
        order += _length_grouped(rows, lengths, batch, rng) if by_length else rows
    return (order + left)[:total]


def _length_grouped(rows: list[int], lengths: Sequence[int], batch: int, rng: random.Random) -> list[int]:
    batches = list[list[int]]()
    for start in range(0, len(rows), WINDOW * batch):
        stretch = sorted(rows[start : start + WINDOW * batch], key=lambda row: lengths[row])
        batches += [stretch[at : at + batch] for at in range(0, len(stretch), batch)]
    rng.shuffle(batches)
    return [row for one in batches for row in one]
