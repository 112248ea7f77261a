"""Stored columns are those of the lines, and used only as long as the records are those."""

from pathlib import Path

import pytest
from column_rows import records, rows_of, write

from tale_dspy.errors import RunFolderError
from tale_dspy.runs import stored_columns as module
from tale_dspy.runs.records import load_run, read_part
from tale_dspy.runs.stored_columns import COLUMNS, read_columns, write_columns
from tale_dspy.runs.summary import RunSummary


def test_parquet_gives_the_columns_of_the_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write(tmp_path / "run", records())
    read, _ = read_part(folder, single=False)
    assert write_columns(folder, None, chunk=7)
    stored = read_columns(folder)
    assert stored is not None and rows_of(stored[0]) == rows_of(read)
    assert stored[0].offset.tolist() == read.offset.tolist()
    run = load_run(folder)
    places = [
        run.record_at(int(p), int(o)).to_json() for p, o in zip(run.columns.part, run.columns.offset, strict=True)
    ]
    assert places == [record.to_json() for record in records()]


def test_stored_columns_of_other_records_are_not_used(tmp_path: Path) -> None:
    folder = write(tmp_path / "run", records())
    write_columns(folder, None)
    write(folder, records()[:5])
    assert read_columns(folder) is None and len(load_run(folder).columns) == 5


def test_a_stored_summary_is_that_of_the_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [record for record in records() if not record.repeat]
    folder = write(tmp_path / "run", rows)
    total = RunSummary(single=True).add_all(rows)
    write_columns(folder, total.to_state())
    monkeypatch.setattr(module, "iter_jsonl", None)  # nothing is read from the lines
    _, summary = read_part(folder, single=True)
    assert summary.figures() == total.figures() == RunSummary().add_all(rows).figures()


def test_a_broken_file_of_columns_says_what_to_do(tmp_path: Path) -> None:
    folder = write(tmp_path / "run", records())
    (folder / COLUMNS).write_bytes(b"PAR1 nothing of the kind")
    with pytest.raises(RunFolderError, match=r"records\.parquet is not what this version writes .*: delete it"):
        load_run(folder)
