"""The order of the rows."""

from collections import Counter

import pytest

from tale_dspy.training.order import order_of

LENGTHS = [7 * n % 50 for n in range(90)]


@pytest.mark.parametrize("by_length", [True, False])
@pytest.mark.parametrize("epochs", [1, 3, 2.5, 0.1])
def test_every_row_comes_as_often_as_there_are_epochs(epochs: float, by_length: bool) -> None:
    order = order_of(LENGTHS, 8, epochs, 0, by_length=by_length)
    assert len(order) == round(epochs * 90)
    counts = Counter(order)
    assert max(counts[row] for row in range(90)) - min(counts[row] for row in range(90)) <= (epochs % 1 and 2)


def test_rows_of_like_length_share_a_batch() -> None:
    def padding(by_length: bool) -> int:
        order = order_of(LENGTHS, 8, 4, 0, by_length=by_length)
        batches = [[LENGTHS[row] for row in order[at : at + 8]] for at in range(0, len(order), 8)]
        return sum(max(batch) * len(batch) - sum(batch) for batch in batches)

    assert padding(True) < padding(False) / 4


def test_the_seed_decides_and_epochs_differ() -> None:
    order = order_of(LENGTHS, 8, 2, 0, by_length=True)
    assert order == order_of(LENGTHS, 8, 2, 0, by_length=True) != order_of(LENGTHS, 8, 2, 1, by_length=True)
    assert order[:80] != order[90:170]


def test_fewer_rows_than_a_batch_are_one_short_batch() -> None:
    assert sorted(order_of([1, 2, 3], 8, 1, 0, by_length=True)) == [0, 1, 2]
