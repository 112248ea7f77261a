"""`--ray`: what does not go with it is said, the table sums up, and a worker's part is an ordinary shard."""

import json
from pathlib import Path
from typing import Any

import pytest
from local_ray import use_local_ray
from make_runs import make_record
from rich.console import Console

from tale_dspy.cli.main import main
from tale_dspy.cli.ray_eval import MOST_ROWS, split_of, table_of, total_of
from tale_dspy.runs.options import Tally
from tale_dspy.runs.shards import Shard

COMMAND = ["eval", "direct", "--data", "d.jsonl", "--model", "openai/m"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--shards", "4"], "--shards says into how many parts --ray splits a run: give --ray, too"),
        (["--ray", "local", "--max-usd", "-1"], "--max-usd must be a number above 0, got -1.0"),
        (["--ray", "local", "--rpm", "0"], "rpm must be a number above 0, got 0.0"),
        (["--ray", "local", "--shard", "1/4"], "--ray does all shards, --shard one of them: give one of the two"),
        (["--ray", "local", "--shards", "0"], "--shards must be from 1 to 10000, got 0"),
        (["--ray", "local", "--shards", "100000"], "--shards must be from 1 to 10000, got 100000"),
    ],
)
def test_what_does_not_go_together_is_said(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*COMMAND, *arguments]) == 2
    assert sentence in capsys.readouterr().err


def test_a_budget_that_is_chosen_first_is_no_shard(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "budget:best", *COMMAND[2:], "--ray", "local"]) == 2
    assert "budget:best is chosen on training questions first" in capsys.readouterr().err


def test_a_folder_that_is_split_stays_split_as_it_is(tmp_path: Path) -> None:
    assert split_of(tmp_path) is None
    folder = tmp_path / Shard(2, 6).folder_name
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps({"config": {}}))
    (folder / "records.jsonl").write_text(json.dumps(make_record(1).to_json()) + "\n")
    assert split_of(tmp_path) == 6


def test_running_figures_of_shards_are_added_up() -> None:
    total = total_of([Tally(10, 4, 3, 400, 4, 0.5), Tally(20, 6, 6, 200, 5, 0.25, unpriced=1, resumed=2)])
    assert total == Tally(30, 10, 9, 600, 9, 0.75, unpriced=1, resumed=2)


def test_of_many_shards_those_at_work_are_shown_and_all_are_summed_up() -> None:
    tallies = {number: Tally(10, 10 if number % 2 else 5, 5, 100, 5, 0.1) for number in range(1, 41)}
    screen = Console(width=100, record=True, quiet=False)
    with screen.capture() as captured:
        screen.print(table_of("a run", tallies, 64))
    lines = captured.get().splitlines()
    shard_numbers = [int(line.split("/64")[0]) for line in lines if "/64 " in line]
    assert shard_numbers == list(range(2, 2 + 2 * MOST_ROWS, 2))
    assert any(line.split()[:2] == ["all", "300/400"] and "$4.0000" in line for line in lines)
    assert any("24 of 64 shards have not begun" in line for line in lines)


def test_shards_on_ray_make_the_run_that_one_process_makes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], server: Any
) -> None:
    use_local_ray(monkeypatch)
    data = tmp_path / "d.jsonl"
    data.write_text("".join(json.dumps({"question": q, "answer": a}) + "\n" for q, a in server.bank.items()))
    command = ["eval", "tale-ep", "--data", str(data), "--model", "openai/x", "--api-base", server.url, "--json"]
    command += ["--engine", "auto", "--no-cache", "--price-in", "1", "--price-out", "4", "--rpm", "100000"]
    figures = []
    for flags in (["--ray", "local", "--shards", "5", "--max-usd", "9"], ["--max-usd", "9"]):
        assert main([*command, *flags, "--out", str(tmp_path / str(len(figures)))]) == 0
        figures.append(json.loads(capsys.readouterr().out))
    same = ("n", "accuracy", "output_tokens_mean", "estimate_tokens_mean", "cost_usd", "outcomes", "paid_calls")
    assert {name: figures[0][name] for name in same} == {name: figures[1][name] for name in same}
    assert figures[0]["doubled_records"] == figures[0]["calls_paid_twice"] == 0
