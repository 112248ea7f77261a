"""Columns hold what the records say, in memory and in Parquet, and only as long as the records are those."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from make_runs import make_record, random_run

from tale_dspy.errors import RunFolderError
from tale_dspy.runs import columns as module
from tale_dspy.runs.columns import COLUMNS, FLOATS, RECORDS, RunColumns, columns_of, read_columns, write_columns
from tale_dspy.runs.record import OUTCOMES, Record
from tale_dspy.runs.records import load_run, read_part
from tale_dspy.runs.summary import RunSummary


def rows_of(columns: RunColumns) -> list[dict[str, Any]]:
    """What the columns say of each record, None where it is unknown."""
    texts = {name: getattr(columns, name) for name in ("usage_source", "response_model")}
    return [
        {
            "id": columns.ids[i].decode(),
            "repeat": int(columns.repeat[i]),
            "outcome": OUTCOMES[columns.outcome[i]],
            "calls": int(columns.calls[i]),
            "cached_calls": int(columns.cached_calls[i]),
            **{n: None if np.isnan(getattr(columns, n)[i]) else getattr(columns, n)[i] for n in FLOATS},
            **{n: None if c.codes[i] < 0 else c.texts[c.codes[i]] for n, c in texts.items()},
        }
        for i in range(len(columns))
    ]


def records() -> list[Record]:
    plain = random_run(20, repeats=2).records
    return [
        *plain,
        make_record(90, output_tokens=None, usage_source="unknown", response_model=None, latency_s=None),
        make_record(91, estimate=(30, 9), token_budget=50, outcome="truncated", cached_calls=1, saved_cost_usd=0.1),
        make_record(92, id="b" * 16 + "-2", cost_usd=None),
    ]


def write(folder: Path, rows: list[Record]) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "run.json").write_text(json.dumps({"format": 1, "program": {"name": "p"}, "config": {"repeats": 2}}))
    (folder / RECORDS).write_text("".join(json.dumps(row.to_json()) + "\n" for row in rows))
    return folder


def test_columns_say_what_the_records_say() -> None:
    for row, record in zip(rows_of(columns_of(records())), records(), strict=True):
        assert row == {name: getattr(record, name) for name in row}


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
