"""`tale merge`: shards made by the command line are one run, and what is no run of shards is said."""

import json
import shutil
from pathlib import Path

import pytest
from elastic_replies import TRAIN, asking, elastic_server
from make_runs import make_record

from tale_dspy import TaleEP
from tale_dspy.cli.main import main
from tale_dspy.optimizers.budget_search import BudgetSearch
from tale_dspy.runs.shards import Shard

INFO = {"format": 1, "program": {"name": "p"}, "config": {"model": "m", "data": {"name": "d"}, "repeats": 1}}


def write_shards(out: Path, count: int) -> None:
    records = [make_record(i) for i in range(20)]
    for number in range(1, count + 1):
        shard = Shard(number, count)
        folder = out / shard.folder_name
        folder.mkdir(parents=True)
        held = [record for record in records if shard.holds(record.id)]
        call = {"repeat": 0, "key": "k", "error": None, "paid": True, "cost": 0.5}
        calls = [{**call, "id": record.id, "step": step} for record in held for step in range(record.calls)]
        (folder / "run.json").write_text(json.dumps(INFO))
        (folder / "records.jsonl").write_text("".join(json.dumps(record.to_json()) + "\n" for record in held))
        (folder / "calls.jsonl").write_text("".join(json.dumps(line) + "\n" for line in calls))


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


def test_shards_of_a_search_are_one_search(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with elastic_server() as server:
        for number in (1, 2):
            search = BudgetSearch(lm=asking(server), out=tmp_path, shard=f"{number}/2", repeats=1)
            search.compile(TaleEP("question -> answer"), trainset=TRAIN)
    assert main(["show", str(tmp_path)]) == 2
    assert "is the folder of a search, and no run: `tale merge` makes one search" in capsys.readouterr().err
    assert main(["merge", str(tmp_path)]) == 0
    assert f"{len(TRAIN)} of {len(TRAIN)} questions have a best budget" in capsys.readouterr().out
    assert main(["merge", str(tmp_path), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["n"], document["stopped"], document["doubled_results"]) == (len(TRAIN), None, 0)
    assert main(["show", str(tmp_path)]) == 0
    shutil.rmtree(tmp_path / "shard-0002-of-0002")
    assert main(["merge", str(tmp_path), "--json"]) == 0
    assert f"not finished: 1 of 2 shards are missing in {tmp_path}" in capsys.readouterr().err


def test_an_ordinary_run_has_nothing_to_merge(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_shards(tmp_path / "out", 1)
    assert main(["merge", str(tmp_path / "out" / "shard-0001-of-0001")]) == 2
    assert "holds no shards: there is nothing to merge" in capsys.readouterr().err
