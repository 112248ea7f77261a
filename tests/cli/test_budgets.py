"""`tale eval budget:0.25x` and `budget:best`: budgets that a vanilla run or a search on other questions decides."""

import json
from pathlib import Path
from typing import Any

import pytest


def records(folder: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(folder, "records.jsonl").read_text().splitlines()]


def test_a_factor_gives_each_question_its_share_of_the_vanilla_run(tale: Any, task_flags: list[str]) -> None:
    tale("eval", "cot", *task_flags, "--out", "v")
    assert tale("eval", "budget:0.25x", *task_flags, "--vanilla", "v", "--out", "a").code == 0
    spent = {r["id"]: r["output_tokens"] for r in records("v")}
    assert {r["id"]: r["token_budget"] for r in records("a")} == {k: round(0.25 * n) for k, n in spent.items()}


@pytest.fixture
def train(server: Any, tmp_path: Path) -> str:
    rows = [{"question": q, "answer": a} for q, a in list(server.bank.items())[20:30]]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return "train.jsonl"


def test_the_best_budget_is_chosen_on_training_questions(tale: Any, task_flags: list[str], train: str) -> None:
    assert tale("eval", "budget:best", *task_flags, "--train-data", train, "--out", "a").code == 0
    budgets = {int(p.name.removeprefix("budget-")) for p in Path("a-search").iterdir()}
    (chosen,) = {r["token_budget"] for r in records("a")}
    assert chosen in budgets and {len(records(f"a-search/budget-{b}")) for b in budgets} == {10}
    info = json.loads(Path("a/run.json").read_text())
    assert len(info["seen"]) == 10 and not set(info["seen"]) & {r["id"] for r in records("a")}


def test_a_search_goes_on_where_it_was_stopped_and_shares_one_cap(
    tale: Any, task_flags: list[str], train: str, server: Any
) -> None:
    prices = ["--price-in", "1", "--price-out", "2", "--max-tokens", "200", "--concurrency", "2"]
    command = ["eval", "budget:best", *task_flags, "--train-data", train, *prices, "--out", "a", "--no-cache"]
    spent = 0.0
    for _ in range(30):
        result = tale(*command, "--max-usd", "0.008")
        before, spent = spent, server.stats.prompt_tokens * 1e-6 + server.stats.completion_tokens * 2e-6
        assert spent - before <= 0.008
        if result.code == 0:
            break
        assert result.code == 3 and "the same command continues" in result.err
    assert server.stats.requests == 100 and len(records("a")) == 10


def test_a_budget_is_not_chosen_for_each_shard(tale: Any, task_flags: list[str], train: str) -> None:
    result = tale("eval", "budget:best", *task_flags, "--train-data", train, "--shard", "1/2", "--out", "a")
    assert result.code == 2
    assert "budget:best is chosen on training questions first: run it without --shard" in result.err


def test_training_questions_need_allow_leak_and_mark_the_run(tale: Any, task_flags: list[str], server: Any) -> None:
    command = ["eval", "budget:best", *task_flags, "--train-data", "questions.jsonl", "--out", "a"]
    assert tale(*command).code == 2 and server.stats.requests == 0
    result = tale(*command, "--allow-leak")
    assert result.code == 0 and "contaminated" in result.out
