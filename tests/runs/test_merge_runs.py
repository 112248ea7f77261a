"""Shards of a run: every question once, the figures of the unsharded run to the last digit, nothing mixed."""

import json
import shutil
from pathlib import Path
from typing import Any

import dspy
import pytest

import tale_dspy
from tale_dspy.comparison.compare import compare
from tale_dspy.errors import RunFolderError
from tale_dspy.reports import report_rows
from tale_dspy.runs.merge import merge_shards
from tale_dspy.runs.records import load_run
from tale_dspy.runs.shards import Shard
from tale_dspy.testing import Reply, ScriptedServer

N = 60
QUESTIONS = [
    dspy.Example(question=f"What is {n % 50} and 0?", answer=str(n % 50), group=f"g{n % 3}").with_inputs("question")
    for n in range(N)  # ten of them twice
]
PRICE = tale_dspy.Price(input=0.1 / 3, output=0.1)
TIMES = ("wall_s", "latency_p50", "latency_p95", "run_dir")


def reply(request: Any) -> Reply:
    number = int(request.prompt.split(" and 0?")[-2].split()[-1])
    return Reply("so " * (number % 7 + 1) + f"[[{number if number % 4 else 'x'}]]")


def evaluate(server: ScriptedServer, out: Path, **options: Any) -> tale_dspy.Run:
    lm = tale_dspy.LM("openai/x", api_base=server.url, api_key="k", engine="auto", cache=False)
    program = tale_dspy.VanillaCoT("question -> answer")
    return tale_dspy.evaluate(program, QUESTIONS, lm=lm, out=out, price=PRICE, **options)


def figures(run: tale_dspy.Run) -> dict[str, Any]:
    return {name: value for name, value in run.summary.items() if name not in TIMES}


@pytest.fixture(scope="module", params=[1, 3])
def folders(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run and the same in four shards."""
    out = tmp_path_factory.mktemp("shards")
    with ScriptedServer(reply) as server:
        evaluate(server, out / "whole", repeats=request.param)
        for number in range(1, 5):
            evaluate(server, out / "parts", shard=f"{number}/4", repeats=request.param)
        assert server.stats.requests == 2 * N * request.param
    return out / "whole", out / "parts"


def test_the_figures_of_shards_are_those_of_the_unsharded_run_to_the_last_digit(folders: tuple[Path, Path]) -> None:
    whole, parts = load_run(folders[0]), load_run(folders[1])
    assert figures(parts) == figures(whole) and parts.stopped is None
    names = sorted(path.name for path in folders[1].glob("shard-*"))
    assert names == [f"shard-000{number}-of-0004" for number in range(1, 5)]
    rows = report_rows([whole]), report_rows([parts])
    assert [(r.accuracy, r.net_tokens, r.usd_per_1000, r.accuracy_interval) for r in rows[0]] == [
        (r.accuracy, r.net_tokens, r.usd_per_1000, r.accuracy_interval) for r in rows[1]
    ]


def test_shards_compare_with_the_unsharded_run_draw_by_draw(folders: tuple[Path, Path]) -> None:
    comparison = compare(baseline=load_run(folders[0]), run=load_run(folders[1]))
    assert (comparison.n, comparison.right_to_wrong, comparison.wrong_to_right) == (N, 0, 0)
    assert comparison.output_tokens.difference == 0 and list(comparison.changes) == []


def test_merging_writes_the_summary_and_counts_what_stands_twice_once(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    copied = shutil.copytree(folders[1], tmp_path / "parts")
    merged = merge_shards(copied)
    assert (merged.doubled_records, merged.calls_paid_twice) == (0, 0)
    assert json.loads((copied / "summary.json").read_text())["n"] == N
    shards = [next(copied.glob(f"shard-000{number}*")) for number in (1, 2)]
    for name in ("records.jsonl", "calls.jsonl"):
        with (shards[1] / name).open("a") as file:
            file.write((shards[0] / name).read_text().splitlines(keepends=True)[0])
    again = merge_shards(copied)
    cost = json.loads((shards[0] / "calls.jsonl").read_text().splitlines()[0])["cost"]
    assert (again.doubled_records, again.calls_paid_twice) == (1, 1)
    assert again.usd_paid_twice == pytest.approx(cost)
    assert figures(again.run) == figures(merged.run)


def test_shards_whose_journals_miss_calls_are_refused(folders: tuple[Path, Path], tmp_path: Path) -> None:
    copied = shutil.copytree(folders[1], tmp_path / "parts")
    journal = copied / "shard-0002-of-0004" / "calls.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    calls = load_run(copied).summary["calls"]
    journal.write_text("".join(lines[1:]))
    with pytest.raises(RunFolderError, match=rf"hold {calls - 1} answered calls, and the records count {calls}: lines"):
        merge_shards(copied)
    journal.unlink()
    with pytest.raises(RunFolderError, match=r"shard-0002-of-0004 has no calls.jsonl: what was paid twice cannot be"):
        merge_shards(copied)
    assert not (copied / "summary.json").exists()
    assert figures(load_run(copied)) == figures(load_run(folders[0])), "records alone are enough to report"
    journal.write_text("".join(lines))
    assert merge_shards(copied).calls_paid_twice == 0


def test_a_shard_of_another_version_is_refused(folders: tuple[Path, Path], tmp_path: Path) -> None:
    copied = shutil.copytree(folders[1], tmp_path / "parts")
    file = copied / "shard-0003-of-0004" / "run.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "format": 2}))
    with pytest.raises(RunFolderError, match=r"shard-0003-of-0004 has format 2, this version reads 1"):
        merge_shards(copied)


def test_missing_shards_are_said(folders: tuple[Path, Path], tmp_path: Path) -> None:
    copied = shutil.copytree(folders[1], tmp_path / "parts")
    shutil.rmtree(next(copied.glob("shard-0002*")))
    assert load_run(copied).stopped == f"1 of 4 shards are missing in {copied}"


def test_a_shard_that_still_runs_is_said(folders: tuple[Path, Path], tmp_path: Path) -> None:
    copied = shutil.copytree(folders[1], tmp_path / "parts")
    (copied / "shard-0002-of-0004" / "summary.json").unlink()
    assert load_run(copied).stopped == f"1 of 4 shards in {copied} have not ended"


def test_a_copy_under_the_name_of_another_shard_is_refused(folders: tuple[Path, Path], tmp_path: Path) -> None:
    copied = shutil.copytree(folders[1], tmp_path / "parts")
    (copied / "summary.json").unlink(missing_ok=True)
    shutil.rmtree(copied / "shard-0002-of-0004")
    shutil.copytree(copied / "shard-0001-of-0004", copied / "shard-0002-of-0004")
    with pytest.raises(RunFolderError, match=r"holds no answer of a question of shard 2/4, but .* of others: is it a"):
        merge_shards(copied)
    assert not (copied / "summary.json").exists()


def test_shards_of_another_run_or_another_split_are_refused(folders: tuple[Path, Path], tmp_path: Path) -> None:
    copied = shutil.copytree(folders[1], tmp_path / "parts")
    info = json.loads((copied / "shard-0003-of-0004" / "run.json").read_text())
    info["config"]["threshold"] = 0.5
    (copied / "shard-0003-of-0004" / "run.json").write_text(json.dumps(info))
    with pytest.raises(RunFolderError, match=r"shard-0003-of-0004 is of another configuration"):
        load_run(copied)
    (copied / "shard-0003-of-0004").rename(copied / "shard-0003-of-0005")
    with pytest.raises(RunFolderError, match="holds shards of splits into 4 and 5"):
        load_run(copied)
    with pytest.raises(RunFolderError, match="holds no shards: there is nothing to merge"):
        merge_shards(folders[0])


def test_caps_are_divided_by_the_number_of_shards() -> None:
    assert Shard.parse("3/8").share_of_caps(2.0, 100) == (0.25, 12)
    assert Shard.parse("1/8").share_of_caps(None, 3) == (None, 1)


@pytest.mark.parametrize(
    ("shard", "options", "message"),
    [
        ("1/5", {}, r"is split into 4 shards already, and 1/5 is of another split: give /4 or another folder"),
        ("2/4", {"threshold": 0.5}, r"holds a run of another configuration \(threshold was"),
    ],
)
def test_a_shard_that_could_not_be_merged_is_refused_before_it_asks(
    folders: tuple[Path, Path], tmp_path: Path, shard: str, options: dict[str, Any], message: str
) -> None:
    copied = shutil.copytree(folders[1], tmp_path / "parts")
    repeats = json.loads((copied / "shard-0001-of-0004" / "run.json").read_text())["config"]["repeats"]
    shutil.rmtree(copied / "shard-0002-of-0004")
    with ScriptedServer(reply) as server:
        with pytest.raises(RunFolderError, match=message):
            evaluate(server, copied, shard=shard, repeats=repeats, **options)
        with pytest.raises(RunFolderError, match=r"is a run of all questions: a shard in it would not be read"):
            evaluate(server, folders[0], shard="1/4", repeats=repeats)
        assert server.stats.requests == 0
    assert len([*copied.glob("shard-*")]) == 3 and not [*folders[0].glob("shard-*")]
