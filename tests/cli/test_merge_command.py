"""`tale merge`: shards made by the command line are one run, and what is no run of shards is said."""

import json
from pathlib import Path

import pytest
from make_runs import make_record

from tale_dspy.cli.main import main
from tale_dspy.runs.shards import Shard

INFO = {"format": 1, "program": {"name": "p"}, "config": {"model": "m", "data": {"name": "d"}, "repeats": 1}}


def write_shards(out: Path, count: int) -> None:
    records = [make_record(i) for i in range(20)]
    for number in range(1, count + 1):
        shard = Shard(number, count)
        folder = out / shard.folder_name
        folder.mkdir(parents=True)
        lines = [json.dumps(record.to_json()) + "\n" for record in records if shard.holds(record.id)]
        (folder / "run.json").write_text(json.dumps(INFO))
        (folder / "records.jsonl").write_text("".join(lines))


def test_shards_are_summed_up_as_one_object(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_shards(tmp_path / "out", 3)
    assert main(["merge", str(tmp_path / "out"), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["n"], document["accuracy"], document["doubled_records"], document["calls_paid_twice"]) == (
        20,
        1.0,
        0,
        0,
    )
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["n"] == 20


def test_an_ordinary_run_has_nothing_to_merge(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_shards(tmp_path / "out", 1)
    assert main(["merge", str(tmp_path / "out" / "shard-0001-of-0001")]) == 2
    assert "holds no shards: there is nothing to merge" in capsys.readouterr().err
