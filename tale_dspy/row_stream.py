"""A large file of JSON lines as questions that are read when needed.

A thousand rows are read at a time, and fewer where they are long.

Every such chunk is a small table, which is made into questions as a whole file would be: the layouts that
`tale_dspy.datasets` knows are known here, as long as a file keeps to one. In memory are 24 bytes a chunk, and the rows
that were read last.
"""

import os
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar, overload

from tale_dspy.errors import DataError
from tale_dspy.tables import Table, rows_of_lines

if TYPE_CHECKING:
    import dspy

STREAMED_FROM = 8_000_000
"""Bytes from which on a file is not read as a whole."""
CHUNK = 1000
"""Rows that are read at a time, at most."""
CHUNK_BYTES = 4_000_000
"""Bytes of a chunk from which on it ends: no more than these and one row are read at a time."""

L = TypeVar("L")


class StreamedExamples(Sequence["dspy.Example"], Generic[L]):
    """The questions of a .jsonl file, or a part of them.

    Args:
        path: As the user wrote it.
        load: Makes a table into its layout and its questions.

    Attributes:
        layout: What `load` says of the first rows; all others must be of the same.

    Raises:
        DataError: If the file has no rows, cannot be read, or its first rows are no questions.
    """

    def __init__(self, path: str, load: Callable[[Table], "tuple[L, Sequence[dspy.Example]]"]) -> None:
        self.path, self._load = path, load
        self._file = os.path.expanduser(path)
        self._index = _index_rows(path, self._file)
        self._range = range(self._index.rows)
        self._last: tuple[int, Sequence[dspy.Example]] | None = None
        self.layout = self._read_chunk(0)[0]

    def __len__(self) -> int:
        return len(self._range)

    def __iter__(self) -> "Iterator[dspy.Example]":
        for place in self._range:
            yield self._example_at(place)

    @overload
    def __getitem__(self, index: int) -> "dspy.Example": ...
    @overload
    def __getitem__(self, index: slice) -> "StreamedExamples[L]": ...
    def __getitem__(self, index: "int | slice") -> "dspy.Example | StreamedExamples[L]":
        if isinstance(index, int):
            return self._example_at(self._range[index])
        part: StreamedExamples[L] = object.__new__(type(self))
        part.__dict__.update(self.__dict__, _range=self._range[index])
        return part

    def _example_at(self, place: int) -> "dspy.Example":
        number = bisect_right(self._index.first_rows, place) - 1
        last = self._last
        if last is None or last[0] != number:
            layout, examples = self._read_chunk(number)
            if layout != self.layout:
                raise DataError(
                    f"{self.path}:{self._index.lines[number]}: rows from here on are of another layout than the first "
                    "ones: split the file"
                )
            last = self._last = (number, examples)
        return last[1][place - self._index.first_rows[number]]

    def _read_chunk(self, number: int) -> "tuple[L, Sequence[dspy.Example]]":
        start, end = self._index.offsets[number : number + 2]
        try:
            with open(self._file, "rb") as file:
                file.seek(start)
                data = file.read(end - start)
        except OSError as e:
            raise DataError(f"{self.path} cannot be read: {e.strerror}") from e
        name = os.path.basename(self._file)
        return self._load(
            Table(self.path, name, name, "all", rows_of_lines(self.path, data, self._index.lines[number]))
        )


@dataclass(frozen=True)
class _RowIndex:
    """Where the chunks of a file begin."""

    offsets: "array[int]"
    """In bytes; the last one is the end of the file."""
    lines: "array[int]"
    """Number of the first line, from 1."""
    first_rows: "array[int]"
    """Number of the first row, from 0: of the lines that are not blank."""
    rows: int


def _index_rows(path: str, file_name: str) -> _RowIndex:
    """Index a file of JSON lines, line by line."""
    offsets, lines, first_rows = array("Q"), array("Q"), array("Q")
    rows = at = 0
    try:
        with open(file_name, "rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    if not rows or rows - first_rows[-1] == CHUNK or at - offsets[-1] >= CHUNK_BYTES:
                        offsets.append(at)
                        lines.append(number)
                        first_rows.append(rows)
                    rows += 1
                at += len(line)
    except OSError as e:
        raise DataError(f"{path} cannot be read: {e.strerror}") from e
    if not rows:
        raise DataError(f"{path} has no rows")
    offsets.append(at)
    return _RowIndex(offsets, lines, first_rows, rows)
