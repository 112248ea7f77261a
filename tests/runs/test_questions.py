"""Questions as a stream: ids as they always were, read again at each iteration, and nothing kept of them."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import dspy
import pytest

from tale_dspy.datasets import Dataset
from tale_dspy.errors import DataError
from tale_dspy.ids import example_ids
from tale_dspy.runs.questions import QuestionStream, gold_field, questions_of


def example(n: int) -> dspy.Example:
    return dspy.Example(question=f"{n}?", answer=str(n)).with_inputs("question")


class Counted(Sequence[Any]):
    """Examples that are made anew each time."""

    def __init__(self, numbers: list[int]) -> None:
        self.numbers, self.made = numbers, 0

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: Any) -> Any:
        self.made += 1
        return example(self.numbers[index])

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))


def test_known_hashes_are_used_for_the_examples_they_are_of() -> None:
    rows, others = Counted([1, 2, 1]), Counted([4, 5])
    dataset = Dataset("d", rows, "answer", "question -> answer", "answer", "auto", "all", "d").hashed()
    assert rows.made == 3 and list(questions_of(dataset).ids()) == example_ids(list(rows), "answer")
    assert rows.made == 6, "only the test has read them again"
    assert list(questions_of(replace(dataset, examples=others)).ids()) == example_ids(list(others), "answer")
    assert dataset == replace(dataset, hashes=None)


def test_ids_are_those_of_the_examples_with_a_number_for_equal_rows() -> None:
    rows = Counted([1, 2, 1, 3, 2, 1])
    stream = QuestionStream(rows, "answer", "auto")
    ids = example_ids([example(n) for n in rows.numbers], "answer")
    assert list(stream.ids()) == [q.id for q in stream] == ids and ids[5].endswith("-3")
    assert rows.made == 12 and len(stream) == 6  # once to know them, once for the questions
    assert (stream[4].id, stream[-1].gold, [q.id for q in stream[2:4]]) == (ids[4], "1", ids[2:4])


@pytest.mark.parametrize(
    ("rows", "reason"),
    [([], "there is no question to ask"), ([dspy.Example(question="a")], "examples.0. must be"), (["a"], "must be")],
)
def test_what_cannot_be_asked_is_refused(rows: list[Any], reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        questions_of(rows)


def test_the_gold_is_the_only_label_or_answer() -> None:
    assert gold_field(dspy.Example(q="a", target="b").with_inputs("q")) == "target"
    assert gold_field(dspy.Example(q="a", answer="b", other="c").with_inputs("q")) == "answer"
