"""Runs and shards that miss what was written to them are refused, by the folder, the rule and the value."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from make_runs import make_record

from tale_dspy.errors import RunFolderError
from tale_dspy.runs.completeness import counted_records
from tale_dspy.runs.record import OUTCOMES
from tale_dspy.runs.records import load_run
from tale_dspy.runs.shards import Shard

N = 40
Damage = Callable[[Path], object]


def write_run(folder: Path, holds: Callable[[str], bool] = lambda key: True, **config: Any) -> None:
    records = [record for record in map(make_record, range(N)) if holds(record.id)]
    data = {"name": "d", "n": N}
    info = {"format": 1, "program": {"name": "p"}, "config": {"model": "m", "data": data, "repeats": 1, **config}}
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps(info))
    (folder / "records.jsonl").write_text("".join(json.dumps(record.to_json()) + "\n" for record in records))
    outcomes = dict.fromkeys(OUTCOMES, 0) | {"correct": len(records)}
    (folder / "summary.json").write_text(json.dumps({"n": len(records), "outcomes": outcomes, "stopped": None}))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    write_run(tmp_path / "run")
    return tmp_path / "run"


def write_split(out: Path, count: int) -> list[Path]:
    shards = [Shard(number, count) for number in range(1, count + 1)]
    for shard in shards:
        write_run(out / shard.folder_name, shard.holds)
    return [out / shard.folder_name for shard in shards]


def cut(folder: Path, lines: int) -> None:
    file = folder / "records.jsonl"
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:lines]))


def test_a_run_that_lost_lines_is_refused_with_both_counts(run: Path) -> None:
    assert len(load_run(run).records) == N
    cut(run, 11)
    with pytest.raises(RunFolderError, match=r"records.jsonl holds 11 results, and summary.json beside it counts 40"):
        load_run(run)
    (run / "summary.json").unlink()
    assert load_run(run).stopped == "it was killed or is still going on, with 11 of 40 answers"


def test_a_run_that_has_ended_takes_no_more_lines(run: Path) -> None:
    file = run / "records.jsonl"
    file.write_text(file.read_text() + file.read_text().splitlines(keepends=True)[0])
    with pytest.raises(RunFolderError, match=r"holds 41 results, and .* counts 40 at the end .* lines were added"):
        load_run(run)
    summary = json.loads((run / "summary.json").read_text())
    (run / "summary.json").write_text(json.dumps({**summary, "stopped": "interrupted"}))
    assert load_run(run).stopped == "interrupted", "one that is continued is longer than it was"


@pytest.mark.parametrize("outcomes", ["12", {"correct": "12"}, {"correct": True}, [1]])
def test_counts_that_are_none_are_named(outcomes: object, run: Path) -> None:
    with pytest.raises(RunFolderError, match=r"summary.json: outcomes must be whole numbers, got"):
        counted_records({"outcomes": outcomes}, run)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda shard: (shard / "records.jsonl").unlink(), "holds 0 results, and summary.json beside it counts"),
        (lambda shard: (shard / "records.jsonl").write_text(""), "holds 0 results"),
        (lambda shard: cut(shard, 3), "shard-0001-of-0002/records.jsonl holds 3 results, and"),
        (lambda shard: shutil.rmtree(shard / "x", ignore_errors=True), None),
    ],
)
def test_a_shard_without_its_records_is_named(damage: Damage, message: str | None, tmp_path: Path) -> None:
    damage(write_split(tmp_path, 2)[0])
    if message is None:
        assert len(load_run(tmp_path).columns) == N
    else:
        with pytest.raises(RunFolderError, match=message):
            load_run(tmp_path)


def test_a_shard_of_another_split_is_refused_whether_the_others_are_there_or_not(tmp_path: Path) -> None:
    halves, quarters = write_split(tmp_path / "halves", 2), write_split(tmp_path / "quarters", 4)
    halves[0].rename(halves[0].with_name("shard-0001-of-0004"))
    shutil.rmtree(halves[1])
    with pytest.raises(
        RunFolderError, match=r"shard-0001-of-0004 holds answers to \d+ questions of other shards, which"
    ):
        load_run(tmp_path / "halves")
    write_split(tmp_path / "mixed", 2)
    shutil.rmtree(tmp_path / "mixed" / "shard-0001-of-0002")
    quarters[0].rename(tmp_path / "mixed" / "shard-0001-of-0002")
    with pytest.raises(RunFolderError, match=r"holds \d+ of 40 answers, though its 2 shards have ended: is one of"):
        load_run(tmp_path / "mixed")


def test_a_shard_that_ended_early_or_is_missing_may_miss_answers(tmp_path: Path) -> None:
    first, second = write_split(tmp_path, 2)
    cut(first, 3)
    summary = {"n": 3, "outcomes": {"correct": 3}, "stopped": "cap"}
    (first / "summary.json").write_text(json.dumps(summary))
    assert load_run(tmp_path).stopped == "cap"
    shutil.rmtree(second)
    assert load_run(tmp_path).stopped == f"1 of 2 shards are missing in {tmp_path}"


def test_a_search_is_no_run(tmp_path: Path) -> None:
    write_run(tmp_path / "run", search={"sampler": "ElasticSampler"})
    with pytest.raises(RunFolderError, match="is the folder of a search, and no run"):
        load_run(tmp_path / "run")
