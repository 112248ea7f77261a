"""Rows of a training file."""

import json
from pathlib import Path
from typing import Any

import pytest

from tale_dspy.errors import DataError
from tale_dspy.training.rows import read_rows, rows_hash

USER = [{"role": "user", "content": "1+1?"}]
SAID = [{"role": "assistant", "content": "2"}]


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": USER, "completion": SAID},
        {"messages": [*USER, *SAID]},
        {"prompt": USER, "completion": "2"},
    ],
)
def test_three_forms_of_one_row(row: dict[str, Any]) -> None:
    (read,) = read_rows([row], "sft")
    assert (read.prompt, read.replies) == (USER, ("2",))


def test_a_file_tells_the_line_of_a_broken_row(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text(json.dumps({"prompt": "a", "completion": "b"}) + "\n" + json.dumps({"prompt": "a"}) + "\n")
    with pytest.raises(DataError, match=r"a\.jsonl:2 has no completion: sft needs prompt, completion; it has prompt"):
        read_rows(file, "sft")


def test_several_files_are_read_one_after_the_other(tmp_path: Path) -> None:
    files = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    for file, question in zip(files, ("b", "d"), strict=True):
        file.write_text(json.dumps({"prompt": "a", "completion": question}) + "\n")
    assert [(row.replies, Path(row.where).name) for row in read_rows(files, "sft")] == [
        (("b",), "a.jsonl:1"),
        (("d",), "b.jsonl:1"),
    ]
    files[1].write_text("")
    with pytest.raises(DataError, match=r"b\.jsonl has no rows"):
        read_rows(files, "sft")


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (3, "must be a JSON object, got int"),
        ({"prompt": USER, "chosen": "a"}, "has no rejected"),
        ({"prompt": USER, "chosen": "a", "rejected": "a"}, "the same reply"),
        ({"prompt": 3, "chosen": "a", "rejected": "b"}, "prompt must be a text or a list of messages, got int"),
        ({"prompt": [{"role": "user"}], "chosen": "a", "rejected": "b"}, "must have a role and a content"),
        ({"prompt": USER, "chosen": USER, "rejected": "b"}, "chosen must be one message of the assistant"),
        ({"prompt": USER, "chosen": [*SAID, *SAID], "rejected": "b"}, "chosen must be one message"),
    ],
)
def test_a_row_that_cannot_be_trained_on_is_named(row: Any, said: str) -> None:
    with pytest.raises(DataError, match=f"row 1.*{said}"):
        read_rows([row], "dpo")


@pytest.mark.parametrize("data", [[], 3])
def test_no_rows_are_refused(data: Any) -> None:
    with pytest.raises(DataError):
        read_rows(data, "sft")


def test_the_hash_is_that_of_what_is_trained() -> None:
    rows = [{"prompt": "a", "completion": "b"}, {"prompt": "c", "completion": "d"}]
    expected = rows_hash(read_rows(rows, "sft"))
    assert expected == rows_hash(read_rows([{"id": "x", **row} for row in rows], "sft"))
    assert expected != rows_hash(read_rows(rows[::-1], "sft"))


def test_the_hash_of_rows_for_rewards_has_the_right_answer_and_the_budget() -> None:
    rows = [{"prompt": "5 and 5?", "gold": "10", "tokens": 20}]
    others = [[{**rows[0], "gold": "11"}], [{**rows[0], "tokens": 30}]]
    hashes = [rows_hash(read_rows(one, "grpo")) for one in (rows, *others)]
    assert len(set(hashes)) == 3
