"""A large file of JSON lines as questions that are read when needed.

A thousand rows are read at a time.

Every thousand rows are a small table, which is made into questions as a whole file would be: the layouts that
`tale_dspy.datasets` knows are known here, as long as a file keeps to one. In memory are 16 bytes a thousand rows, and
the rows that were read last.
"""

import os
from array import array
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Generic, TypeVar, overload

from tale_dspy.errors import DataError
from tale_dspy.tables import Table, rows_of_lines

if TYPE_CHECKING:
    import dspy

STREAMED_FROM = 8_000_000
"""Bytes from which on a file is not read as a whole."""
CHUNK = 1000

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
        self._offsets, self._lines, self._rows = _index_rows(path, self._file)
        self._range = range(self._rows)
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
        number, row = divmod(place, CHUNK)
        last = self._last
        if last is None or last[0] != number:
            layout, examples = self._read_chunk(number)
            if layout != self.layout:
                raise DataError(
                    f"{self.path}:{self._lines[number]}: rows from here on are of another layout than the first ones: "
                    "split the file"
                )
            last = self._last = (number, examples)
        return last[1][row]

    def _read_chunk(self, number: int) -> "tuple[L, Sequence[dspy.Example]]":
        end = self._offsets[number + 1]
        try:
            with open(self._file, "rb") as file:
                file.seek(self._offsets[number])
                data = file.read(end - self._offsets[number])
        except OSError as e:
            raise DataError(f"{self.path} cannot be read: {e.strerror}") from e
        name = os.path.basename(self._file)
        return self._load(Table(self.path, name, name, "all", rows_of_lines(self.path, data, self._lines[number])))


def _index_rows(path: str, file_name: str) -> "tuple[array[int], array[int], int]":
    """Index a file of JSON lines.

    It returns the offset and the line number of every thousandth row, the end of the file included, and the number of
    rows.
    """
    offsets, lines, rows, at = array("Q"), array("Q"), 0, 0
    try:
        with open(file_name, "rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    if rows % CHUNK == 0:
                        offsets.append(at)
                        lines.append(number)
                    rows += 1
                at += len(line)
    except OSError as e:
        raise DataError(f"{path} cannot be read: {e.strerror}") from e
    if not rows:
        raise DataError(f"{path} has no rows")
    offsets.append(at)
    return offsets, lines, rows
