"""The table of keys and values: whatever enters and leaves, each row reads back what was written for it, in order."""

import random

import pytest
import torch

from tale_dspy.backends.local.kv_cache import FIRST_COLUMNS, CacheSlice, GenerationStoppedError, KVCache, SharedPrefix

LAYERS = 2


class Book:
    """A table and, beside it, plain lists of what each row must hold."""

    def __init__(self) -> None:
        self.columns = KVCache(torch.device("cpu"))
        self.rows: list[list[float]] = []
        self._next = 1.0

    def enter(self, *lengths: int, prefix: SharedPrefix | None = None) -> CacheSlice:
        window = self.columns.enter(list(lengths), prefix)
        known = [] if prefix is None else prefix.layers[0][0][0, :, 0].tolist()
        self._write(window, [[self._new() for _ in range(length - len(known))] for length in lengths], known)
        return window

    def step(self) -> CacheSlice:
        window = self.columns.step()
        self._write(window, [[self._new()] for _ in self.rows])
        return window

    def leave(self, row: int) -> None:
        self.columns.leave(row)
        last = self.rows.pop()
        if row < len(self.rows):
            self.rows[row] = last

    def _new(self) -> float:
        self._next += 1
        return self._next

    def _write(self, window: CacheSlice, new: list[list[float]], known: list[float] | None = None) -> None:
        """Write the new tokens to all layers, and compare what the window covers with the lists."""
        for row, tokens in enumerate(new, window.rows.start):
            self.rows[row:row] = [[*(known or [])]] if row == len(self.rows) else []
            self.rows[row] += tokens
        width = window.end - window.old
        padded = torch.tensor([[0.0] * (width - len(tokens)) + tokens for tokens in new])
        keys = padded[:, None, :, None].expand(-1, 2, -1, 3)
        for layer in range(LAYERS):
            covered, values = self.columns.write(layer, window, keys * (layer + 1), -keys * (layer + 1))
            assert torch.equal(covered, -values)
            assert covered.shape == (len(new), 2, window.end - window.begin, 3)
            self._compare(window, covered[:, 1, :, 2] / (layer + 1))

    def _compare(self, window: CacheSlice, found: torch.Tensor) -> None:
        for row, line in enumerate(found.tolist(), window.rows.start):
            row_values = self.rows[row]
            assert line[len(line) - len(row_values) :] == row_values
            used_columns = [True] * len(line) if window.used is None else window.used[row - window.rows.start].tolist()
            assert used_columns == [False] * (len(line) - len(row_values)) + [True] * len(row_values)
            width = window.end - window.old
            ends = range(len(row_values) - width, len(row_values))
            assert window.positions[row - window.rows.start].tolist() == [max(p, 0) for p in ends]


@pytest.fixture
def book() -> Book:
    return Book()


def test_rows_of_one_length_need_no_mask(book: Book) -> None:
    assert book.enter(5, 5, 5).used is None
    assert book.step().used is None


def test_shorter_rows_are_empty_at_the_left(book: Book) -> None:
    book.enter(5, 2)
    window = book.step()
    assert (window.begin, window.end, window.positions.tolist()) == (0, 6, [[5], [2]])
    assert window.used is not None
    assert window.used.tolist() == [[True] * 6, [False] * 3 + [True] * 3]


def test_a_row_that_enters_later_ends_where_the_others_do(book: Book) -> None:
    book.enter(4)
    book.step()
    window = book.enter(2)
    assert (window.rows, window.begin, window.end, window.used) == (slice(1, 2), 3, 5, None)
    book.step()


def test_a_row_longer_than_all_others_moves_them_to_the_right(book: Book) -> None:
    book.enter(3, 2)
    assert book.enter(FIRST_COLUMNS * 3).end == FIRST_COLUMNS * 3
    book.step()


def test_the_last_row_takes_the_place_of_one_that_leaves(book: Book) -> None:
    book.enter(2, 7, 4)
    book.leave(0)
    book.step()
    book.leave(1)
    assert book.step().used is None


def test_an_empty_table_starts_over(book: Book) -> None:
    book.enter(50)
    book.leave(0)
    assert len(book.columns) == 0
    assert book.enter(3, 1).end == 3


def test_columns_nobody_uses_any_more_are_given_back(book: Book) -> None:
    book.enter(200, 4)
    book.leave(0)
    window = book.step()
    assert (window.begin, window.end) == (0, 5)


def test_the_table_does_not_grow_forever(book: Book) -> None:
    for _ in range(200):
        book.enter(20)
        book.step()
        if len(book.rows) > 3:
            book.leave(0)
    assert book.columns.end < 8 * FIRST_COLUMNS


@pytest.mark.parametrize("seed", range(12))
def test_every_row_reads_back_what_was_written_for_it(book: Book, seed: int) -> None:
    rng = random.Random(seed)
    longest = rng.choice([3, 40, 400])
    for _ in range(120):
        if not book.rows or rng.random() < 0.15:
            book.enter(*(rng.randint(1, longest) for _ in range(rng.randint(1, 5))))
        elif rng.random() < 0.2:
            book.leave(rng.randrange(len(book.rows)))
        else:
            book.step()


def test_a_prefix_is_copied_to_rows_of_any_length(book: Book) -> None:
    book.enter(30, 9)
    book.step()
    first = book.rows[1][:5]
    prefix = book.columns.prefix(1, [0] * 5)
    assert [(keys.shape, float(keys[1, 4, 0])) for keys, _ in prefix.layers] == [
        ((2, 5, 3), first[4] * (layer + 1)) for layer in range(LAYERS)
    ]
    window = book.enter(6, 40, 12, prefix=prefix)
    assert (window.old - window.begin, window.end - window.old) == (5, 35)
    assert window.positions[:, -1].tolist() == [5, 39, 11]
    assert [row[:5] for row in book.rows[2:]] == [first] * 3
    book.leave(0)
    book.step()


def test_a_step_ends_at_the_next_layer_once_it_is_stopped() -> None:
    stopped = False
    cache = KVCache(torch.device("cpu"), lambda: stopped)
    window, new = cache.enter([3]), torch.ones(1, 2, 3, 4)
    cache.write(0, window, new, new)
    stopped = True
    with pytest.raises(GenerationStoppedError):
        cache.write(1, window, new, new)
