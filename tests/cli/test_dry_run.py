"""`tale eval --dry-run`: nothing but a sample is asked, and only after a yes; a past run tells for nothing."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

PRICE = ["--price-in", "2", "--price-out", "8"]


def write_all_questions(server: Any) -> None:
    """Have the commands ask 40 questions."""
    rows = [{"question": q, "answer": a} for q, a in server.bank.items()]
    Path("questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_a_sample_of_ten_tells_what_the_run_takes(tale: Any, task_flags: list[str], server: Any) -> None:
    write_all_questions(server)
    result = tale("eval", "tale-ep", *task_flags, *PRICE, "--dry-run", "--yes", "--json", "--out", "a")
    output = result.json
    assert (result.code, result.err) == (0, "") and server.stats.requests == 20
    assert (output["dry_run"], output["answers"], output["sample"], output["calls"]) == (True, 40, 10, 80)
    cost = (2 * server.stats.prompt_tokens + 8 * server.stats.completion_tokens) / 1e6
    assert output["sample_cost_usd"] == pytest.approx(cost) and output["cost_usd"] == pytest.approx(4 * cost)
    assert not Path("a").exists() and output["sample_from"] == "a-sample"
    real = tale("eval", "tale-ep", *task_flags, *PRICE, "--json", "--out", "a").json
    low, high = output["output_tokens_ci95"]
    assert low <= 40 * (real["output_tokens_mean"] + real["estimate_tokens_mean"]) <= high
    again = tale("eval", "tale-ep", *task_flags, *PRICE, "--dry-run", "--yes", "--json", "--out", "a").json
    assert again["answers"] == again["calls"] == 0 and "40 answers in a are finished" in again["notes"][0]


def test_a_shard_is_forecast_by_its_own_questions(tale: Any, task_flags: list[str], server: Any) -> None:
    write_all_questions(server)
    flags = ["eval", "cot", *task_flags, *PRICE, "--shard", "1/2", "--json", "--out", "a"]
    output = tale(*flags, "--dry-run", "--yes").json
    assert output["sample"] == server.stats.requests == 10
    real = tale(*flags).json
    assert output["answers"] == real["n"] < 40
    again = tale(*flags, "--dry-run", "--yes").json
    assert again["answers"] == 0 and "are finished" in again["notes"][0]


@pytest.mark.parametrize("answer", ["n\n", ""])
def test_without_a_yes_nothing_is_asked(
    answer: str, tale: Any, task_flags: list[str], server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
    result = tale("eval", "cot", *task_flags, *PRICE, "--dry-run")
    assert result.code == 2 and "at most $1" in result.err
    assert "the sample is paid: confirm, give --yes, or --from RUN" in result.err
    assert server.stats.requests == 0 and not Path("runs").exists()


def test_a_past_run_tells_for_nothing(tale: Any, task_flags: list[str], server: Any) -> None:
    tale("eval", "cot", *task_flags, "--limit", "4", "--out", "past")
    requests = server.stats.requests
    result = tale("eval", "tale-ep", *task_flags, *PRICE, "--from", "past", "--out", "b")
    assert result.code == 0 and server.stats.requests == requests and not Path("b").exists()
    assert "10 answers, estimated from 4" in result.out and "past is of program cot, not tale-ep" in result.out
    assert tale("eval", "cot", *task_flags, "--from", "nowhere").code == 2


def test_a_cap_holds_for_the_sample_too(tale: Any, task_flags: list[str], server: Any) -> None:
    result = tale("eval", "cot", *task_flags, *PRICE, "--dry-run", "--yes", "--max-usd", "0.000001")
    assert result.code == 3 and server.stats.requests == 0


def test_a_program_that_searches_first_is_refused(tale: Any, task_flags: list[str]) -> None:
    assert "forecast one budget" in tale("eval", "budget:best", *task_flags, "--dry-run", "--yes").sentence


def test_a_small_sum_is_written_with_its_first_digits(tale: Any, task_flags: list[str]) -> None:
    result = tale("eval", "direct", *task_flags, "--price-in", "0.01", "--price-out", "0.01", "--dry-run", "--yes")
    assert "0.000" in result.out and "0.0000 [" not in result.out


def test_the_price_of_a_search_is_forecast_from_ten_questions(tale: Any, task_flags: list[str], server: Any) -> None:
    write_all_questions(server)
    result = tale("search", "tale-ep", *task_flags, *PRICE, "--dry-run", "--yes", "--json", "--out", "s")
    assert (result.code, Path("s").exists()) == (0, False), result.err
    requests, forecast = server.stats.requests, result.json
    assert (forecast["dry_run"], forecast["answers"], forecast["sample"], forecast["sample_from"]) == (
        True,
        40,
        10,
        "s-sample",
    )
    assert forecast["calls"] == pytest.approx(4 * requests)
    cost = (2 * server.stats.prompt_tokens + 8 * server.stats.completion_tokens) / 1e6
    assert forecast["sample_cost_usd"] == pytest.approx(cost) and forecast["cost_usd"] == pytest.approx(4 * cost)
    assert "a sampler learns from question to question" in forecast["notes"][0]
    again = tale("search", "tale-ep", *task_flags, *PRICE, "--from", "s-sample", "--json", "--out", "t").json
    assert again["calls"] == forecast["calls"] and again["sample_cost_usd"] is None
    assert server.stats.requests == requests and not Path("t").exists()
    refused = tale("search", "tale-ep", *task_flags, "--from", "nowhere", "--out", "t")
    assert refused.code == 2 and "nowhere: it is no search with answers" in refused.sentence


def test_the_price_of_a_sweep_counts_every_budget(tale: Any, task_flags: list[str], server: Any) -> None:
    write_all_questions(server)
    command = ["elasticity", "cot", *task_flags, *PRICE, "--budgets", "100,50", "--json", "--out", "e"]
    output = tale(*command, "--dry-run", "--yes").json
    assert (output["calls"], output["answers"], output["sample"]) == (120, 40, 10) and server.stats.requests == 30
    assert output["notes"] == ["each question is asked 3 times"] and not Path("e").exists()
    assert tale(*command, "--from", "e-sample").json["output_tokens"] == output["output_tokens"]
    assert server.stats.requests == 30


@pytest.mark.parametrize("command", ["search", "elasticity"])
def test_without_a_yes_neither_searches_nor_sweeps(
    command: str, tale: Any, task_flags: list[str], server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    result = tale(command, *task_flags, *PRICE, "--dry-run")
    assert result.code == 2 and "at most $1" in result.err and server.stats.requests == 0
