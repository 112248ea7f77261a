"""A large file is the same data set as a small one, read row by row."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from tale_dspy import datasets, row_stream
from tale_dspy.datasets import load_dataset
from tale_dspy.errors import DataError
from tale_dspy.runs.questions import questions_of


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("\n\n".join(json.dumps(row) for row in rows) + "\n")
    return str(path)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_stream, "CHUNK", 3)


LAYOUTS = {
    "plain": [{"question": f"{n % 7}?", "answer": str(n), "other": 1} for n in range(20)],
    "gsm8k": [{"question": f"{n}?", "answer": f"so\n#### {n}"} for n in range(20)],
    "choice": [{"question": f"{n}?", "options": ["a", "b"], "answer": "AB"[n % 2]} for n in range(20)],
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_streamed_file_gives_the_questions_of_a_read_one(
    layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.jsonl", LAYOUTS[layout])
    whole = load_dataset(path)
    monkeypatch.setattr(datasets, "STREAMED_FROM", 1)
    streamed = load_dataset(path)
    assert isinstance(streamed.examples, row_stream.StreamedExamples) and len(streamed) == len(whole)
    assert list(streamed.examples) == whole.examples
    assert dataclasses.replace(streamed, examples=[]) == dataclasses.replace(whole, examples=[])
    for offset, limit in ((0, 5), (7, None), (19, 1), (4, 100)):
        assert list(streamed.take(offset, limit).examples) == whole.take(offset, limit).examples
    assert streamed.examples[-1] == whole.examples[-1] and streamed.examples[5] == whole.examples[5]
    assert [q.id for q in questions_of(streamed)] == [q.id for q in questions_of(whole)]


def test_a_bad_row_is_named_by_its_line_and_another_layout_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets, "STREAMED_FROM", 1)
    path = write(tmp_path / "a.jsonl", [*LAYOUTS["plain"][:4], {"question": "x"}])
    with pytest.raises(DataError, match=r"a\.jsonl:9: row without answer"):
        list(load_dataset(path).examples)
    path = write(tmp_path / "b.jsonl", [*LAYOUTS["plain"][:6], *LAYOUTS["choice"][:3]])
    with pytest.raises(DataError, match=r"b\.jsonl:13: rows from here on are of another layout"):
        list(load_dataset(path).examples)
    (tmp_path / "c.jsonl").write_text("\n\n")
    with pytest.raises(DataError, match="has no rows"):
        load_dataset(str(tmp_path / "c.jsonl"))


def test_long_rows_are_read_a_few_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"question": f"{n}?" + "x" * (500 if n % 3 else 5), "answer": str(n)} for n in range(20)]
    path = write(tmp_path / "a.jsonl", rows)
    whole = load_dataset(path)
    monkeypatch.setattr(datasets, "STREAMED_FROM", 1)
    monkeypatch.setattr(row_stream, "CHUNK", 1000)
    monkeypatch.setattr(row_stream, "CHUNK_BYTES", 600)
    sizes: list[int] = []
    rows_of_lines = row_stream.rows_of_lines

    def measured(label: str, data: bytes, first: int) -> Any:
        sizes.append(len(data))
        return rows_of_lines(label, data, first)

    monkeypatch.setattr(row_stream, "rows_of_lines", measured)
    streamed = load_dataset(path)
    assert list(streamed.examples) == whole.examples and streamed.examples[-1] == whole.examples[-1]
    assert max(sizes) < 600 + 540 and len(set(sizes)) > 1
