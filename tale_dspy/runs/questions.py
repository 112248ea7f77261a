"""The questions of a run, read as a stream.

Eight bytes of each stay in memory: its content hash.
"""

from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, overload

import dspy

from tale_dspy.answers import Kind
from tale_dspy.datasets import Dataset
from tale_dspy.errors import DataError
from tale_dspy.ids import ContentHashes
from tale_dspy.runs.scoring import Question


class QuestionStream(Sequence[Question]):
    """Examples with their ids, golds and kinds of answers, in order.

    They can be iterated as often as needed. The examples are read once when this is made, which finds rows of equal
    content: the 2nd, 3rd ... of them get `-2`, `-3` ... after their hash. Then each iteration reads them again, one at
    a time.

    Args:
        rows: The examples; their inputs marked. A list, or a sequence that reads its items when they are asked for.
        gold_field: The field of the right answer.
        kind: How replies are compared with it.
        hashes: Of `rows`, if they are known; those of other rows are left aside.

    Raises:
        DataError: If there is no example, or one has no inputs marked.
    """

    def __init__(self, rows: Sequence[Any], gold_field: str, kind: Kind, hashes: ContentHashes | None = None) -> None:
        self.rows, self.gold_field = rows, gold_field
        self.kind: Kind = kind
        if hashes is None or hashes.examples is not rows:
            hashes = ContentHashes.of(rows, gold_field)
        self._hashes = hashes.values
        if not self._hashes:
            raise DataError("there is no question to ask: examples is empty")
        self._repeated_contents = _repeated_contents(self._hashes)

    def __len__(self) -> int:
        return len(self._hashes)

    def ids(self) -> Iterator[str]:
        """Yield the ids in order."""
        counts = Counter[int]()
        for content in self._hashes:
            if content in self._repeated_contents:
                counts[content] += 1
            number = counts[content] if content in self._repeated_contents else 1
            yield f"{content:016x}" if number == 1 else f"{content:016x}-{number}"

    def __iter__(self) -> Iterator[Question]:
        for key, example in zip(self.ids(), self.rows, strict=True):
            yield Question(key, example, self.gold_field, self.kind)

    @overload
    def __getitem__(self, index: int) -> Question: ...
    @overload
    def __getitem__(self, index: slice) -> list[Question]: ...
    def __getitem__(self, index: int | slice) -> Question | list[Question]:
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            return list(islice(self, start, stop, step)) if step > 0 else list(self)[index]
        place = range(len(self))[index]
        key = next(islice(self.ids(), place, None))
        return Question(key, self.rows[place], self.gold_field, self.kind)


def _repeated_contents(hashes: "array[int]") -> frozenset[int]:
    """Return the contents that occur more than once."""
    import numpy as np

    values, counts = np.unique(np.frombuffer(hashes, dtype=np.uint64), return_counts=True)
    return frozenset(values[counts > 1].tolist())


def questions_of(examples: Dataset | Sequence[Any]) -> QuestionStream:
    """Return every example with its id, its gold and its answer's kind.

    Raises:
        DataError: If there is no example, or one has no inputs marked.
    """
    if isinstance(examples, Dataset):
        return QuestionStream(examples.examples, examples.gold, examples.kind, examples.hashes)
    rows = list(examples)
    return QuestionStream(rows, gold_field(rows[0]) if rows else "answer", "auto")


def gold_field(example: Any) -> str:
    """Name the field of the gold: the only label, or `answer`, or the first."""
    if not isinstance(example, dspy.Example) or not example._input_keys:
        return "answer"
    labels = list(example.labels().keys())
    return "answer" if "answer" in labels or not labels else labels[0]
