"""A run, its shards or a search as one Parquet file that any reader opens."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from make_runs import make_record
from searched import row

from tale_dspy.errors import RunFolderError
from tale_dspy.integrations import parquet_export
from tale_dspy.integrations.exports import export
from tale_dspy.runs.shards import Shard

INFO = {"format": 1, "program": {"name": "p"}, "config": {"model": "m", "data": {"name": "d"}, "repeats": 1}}


def write_run(folder: Path, records: list) -> None:
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps(INFO))
    (folder / "records.jsonl").write_text("".join(json.dumps(r.to_json()) + "\n" for r in records))


def test_records_of_all_shards_are_rows_with_their_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_export, "CHUNK", 3)  # several chunks
    records = [make_record(i, reply=f"so {i}", gold=["a", i], output_tokens=None if i == 2 else i) for i in range(10)]
    for number in (1, 2):
        shard = Shard(number, 2)
        write_run(tmp_path / "out" / shard.folder_name, [r for r in records if shard.holds(r.id)])
    (written,) = export(tmp_path / "out", "parquet", tmp_path / "new" / "run.parquet")
    rows = {r["id"]: r for r in pq.read_table(written).to_pylist()}
    assert rows.keys() == {record.id for record in records}
    for record in records:
        row = rows[record.id]
        assert (row["reply"], row["output_tokens"], row["outcome"]) == (
            record.reply,
            record.output_tokens,
            record.outcome,
        )
        assert json.loads(row["gold"]) == record.gold
    assert {str(pq.read_schema(written).field(name).type) for name in ("output_tokens", "calls")} == {"int64"}


def test_an_answer_that_two_shards_hold_is_one_row(tmp_path: Path) -> None:
    records = [make_record(i) for i in range(10)]
    parts = [[r for r in records if Shard(number, 2).holds(r.id)] for number in (1, 2)]
    parts[1].append(make_record(records.index(parts[0][0]), reply="again"))
    for number, part in enumerate(parts, 1):
        write_run(tmp_path / "out" / Shard(number, 2).folder_name, part)
    (written,) = export(tmp_path / "out", "parquet", tmp_path / "run.parquet")
    rows = pq.read_table(written).to_pylist()
    assert sorted(row["id"] for row in rows) == sorted(record.id for record in records)
    assert [row["reply"] for row in rows if row["id"] == parts[0][0].id] == ["again"]


def test_rows_of_a_search_keep_their_trials(tmp_path: Path) -> None:
    searched = row("q", [(40, 38, True), (20, 70, False)])
    (tmp_path / "search.jsonl").write_text(json.dumps(searched.to_json()) + "\n")
    (written,) = export(tmp_path, "parquet", tmp_path / "search.parquet")
    (table_row,) = pq.read_table(written).to_pylist()
    assert [trial["budget"] for trial in json.loads(table_row["trials"])] == [40, 20]
    assert json.loads(table_row["best"])["budget"] == 40


def test_a_broken_line_is_said_and_nothing_is_left(tmp_path: Path) -> None:
    write_run(tmp_path / "run", [make_record(0)])
    with (tmp_path / "run" / "records.jsonl").open("a") as file:
        file.write(json.dumps({**make_record(1).to_json(), "calls": "many"}) + "\n")
    with pytest.raises(RunFolderError, match="calls"):
        export(tmp_path / "run", "parquet", tmp_path / "run.parquet")
    assert not list(tmp_path.glob("*.parquet*"))
