"""The journalled calls of a run: those of an answer that stands twice are there once."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from make_runs import make_record

from tale_dspy.runs.record import Record
from tale_dspy.runs.records import load_run
from tale_dspy.runs.run_calls import iter_calls
from tale_dspy.runs.shards import Shard

INFO = {"format": 1, "program": {"name": "p"}, "config": {"model": "m", "data": {"name": "d"}, "repeats": 1}}


def write_shard(folder: Path, records: list[Record], calls: list[tuple[str, str, int]]) -> None:
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps(INFO))
    (folder / "records.jsonl").write_text("".join(json.dumps(r.to_json()) + "\n" for r in records))
    rows = [{"id": i, "repeat": 0, "key": key, "step": 0, "cost": cost, "error": None} for i, key, cost in calls]
    (folder / "calls.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.parametrize("where", ["in the other shard", "in its own shard"])
def test_an_answer_that_stands_twice_is_one_record_with_its_own_calls(where: str, tmp_path: Path) -> None:
    records = [make_record(i) for i in range(10)]
    first, second = ([r for r in records if Shard(number, 2).holds(r.id)] for number in (1, 2))
    calls = [[(r.id, "k", 1) for r in part] for part in (first, second)]
    twice = first[0] if where == "in the other shard" else second[0]
    again = replace(twice, reply="again")
    write_shard(tmp_path / Shard(1, 2).folder_name, first, calls[0])
    write_shard(tmp_path / Shard(2, 2).folder_name, [*second, again], [*calls[1], (twice.id, "k", 5)])
    run = load_run(tmp_path)
    assert run.doubled == 1
    assert len(run.records) == len(run.columns) == 10
    assert {r.id: r.reply for r in run.records} == {r.id: r.reply for r in records} | {twice.id: "again"}
    assert len(run.renamed("q").records) == 10
    assert sorted((c["id"], c["cost"]) for c in iter_calls(run)) == sorted(
        (r.id, 5 if r is twice else 1) for r in records
    )


def test_the_calls_of_one_folder_are_all_there(tmp_path: Path) -> None:
    record = make_record(0)
    write_shard(tmp_path / "run", [record], [(record.id, "k", 1), (record.id, "k", 2), ("unfinished", "k", 3)])
    assert [call["cost"] for call in iter_calls(load_run(tmp_path / "run"))] == [1, 2, 3]
