"""`tale search`: what it prints, what it leaves in its folder, and how it ends."""

import json
from pathlib import Path
from typing import Any

import pytest

import tale_dspy
from tale_dspy.testing import Faults

CHEAP = ["--sampler", "halving", "--repeats", "1"]


def test_json_is_one_object_and_the_folder_holds_search_and_program(
    tale: Any, task_flags: list[str], server: Any
) -> None:
    result = tale("search", *task_flags, *CHEAP, "--json", "--out", "s")
    output = result.json
    assert (result.code, result.err, result.out.count("\n")) == (0, "", 1)
    rows = tale_dspy.load_search("s")
    assert output["n"] == len(rows) == 10 and output["found"] == sum(row.best is not None for row in rows) > 0
    assert output["calls"] == output["draws"] <= server.stats.requests
    assert output["gain"]["n"] == sum(bool(row.trials) for row in rows)
    assert 0 <= output["ideal_range"]["self"]["in_range_accuracy"] <= 1
    assert output["program_file"] == "s/program.json" and output["run_dir"] == "s"
    program = tale_dspy.load("s/program.json")
    assert type(program.estimator).__name__ == "RegressionEstimator"


def test_the_terminal_shows_what_was_found_and_gained(tale: Any, task_flags: list[str]) -> None:
    result = tale("search", *task_flags, *CHEAP)
    assert result.code == 0 and result.err == ""
    assert "10 questions: " in result.out and " tokens), " in result.out
    assert "per-question budgets against budget:best (" in result.out
    assert "in the ideal range" in result.out and "by ranges that only --sampler grid shows fully" in result.out
    assert "kept in runs/questions.jsonl--tale-ep--openai-scripted--search; the program: " in result.out


def test_the_same_command_asks_nothing_again(tale: Any, task_flags: list[str], server: Any) -> None:
    first = tale("search", *task_flags, *CHEAP, "--json").json
    requests = server.stats.requests
    again = tale("search", *task_flags, *CHEAP, "--json").json
    assert server.stats.requests == requests
    drop = ("wall_s",)
    assert {k: v for k, v in again.items() if k not in drop} == {k: v for k, v in first.items() if k not in drop}
    assert tale("search", *task_flags, "--sampler", "tpe").code == 2  # another search, in the same folder


def test_the_saved_program_is_evaluated_on_other_questions(tale: Any, task_flags: list[str], server: Any) -> None:
    tale("search", *task_flags, *CHEAP, "--out", "s")
    refused = tale("eval", "s/program.json", *task_flags)
    assert refused.code == 2 and "were used to make this program (search)" in refused.sentence
    rows = [{"question": q, "answer": a} for q, a in list(server.bank.items())[10:15]]
    Path("others.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    output = tale("eval", "s/program.json", *task_flags, "--data", "others.jsonl", "--json").json
    assert output["n"] == 5 and output["estimate_tokens_mean"] is None  # estimating makes no call


def test_a_cap_ends_with_3_and_keeps_what_was_found(tale: Any, task_flags: list[str]) -> None:
    capped = ["--max-tokens", "300", "--max-total-output-tokens", "2500", "--concurrency", "1"]
    result = tale("search", *task_flags, *CHEAP, *capped, "--out", "s", "--json")
    assert result.code == 3 and "the same command continues" in result.sentence
    assert result.json["stopped"] == "cap" or "no comparison" in result.err
    assert len(tale_dspy.load_search("s")) > 0 and Path("s/program.json").exists()


def test_questions_without_gold_are_searched_for_agreement_and_labelled(tale: Any, task_flags: list[str]) -> None:
    rows = [json.loads(line) for line in Path("questions.jsonl").read_text().splitlines()]
    Path("questions.jsonl").write_text("".join(json.dumps({"question": row["question"]}) + "\n" for row in rows))
    assert "there is no 'answer'" in tale("search", *task_flags).sentence
    result = tale("search", *task_flags, *CHEAP, "--metric", "agrees-with-vanilla", "--out", "s")
    assert result.code == 0 and "right means agreement" in result.out
    assert {row.judged_by for row in tale_dspy.load_search("s")} == {"agreement"}


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--sampler", "random"], "sampler must be one of elastic, halving, tpe, grid"),
        (["--estimator", "guess"], "estimator must be regression or few-shot"),
        (["--calls", "0"], "--calls must be at least 1, got 0"),
        (["--repeats", "-1"], "--repeats must be at least 0, got -1"),
        (["--max-usd", "1"], "--price-in and --price-out"),
        (["--metric", "nowhere:metric"], "cannot be imported"),
        (["--limit", "0"], "--limit must be at least 1"),
    ],
)
def test_wrong_input_is_one_sentence(flags: list[str], said: str, tale: Any, task_flags: list[str]) -> None:
    result = tale("search", *task_flags, *flags)
    assert result.code == 2 and said in result.sentence


def test_a_program_without_a_budget_is_refused(tale: Any, task_flags: list[str]) -> None:
    result = tale("search", *task_flags, "cot")
    assert result.code == 2 and "no budgeted predictor: take tale-ep" in result.sentence


def test_a_refused_key_is_a_failure(tale: Any, task_flags: list[str], server: Any) -> None:
    server.faults = Faults(unauthorized=True)
    result = tale("search", *task_flags, *CHEAP)
    assert result.code == 1 and "refuses the request" in result.sentence


def test_budgets_are_sent_as_the_mode_says(tale: Any, task_flags: list[str], server: Any) -> None:
    assert tale("search", *task_flags, *CHEAP, "--mode", "cap", "--out", "s").code == 0
    assert any("max_tokens" in r.body or "max_completion_tokens" in r.body for r in server.requests)
    assert tale("search", *task_flags, "--mode", "shout").code == 2


def test_shards_without_ray_become_one_search(tale: Any, task_flags: list[str]) -> None:
    whole = tale("search", *task_flags, *CHEAP, "--json", "--out", "whole").json
    for number in (1, 2):
        assert tale("search", *task_flags, *CHEAP, "--json", "--out", "s", "--shard", f"{number}/2").code == 0
    merged = tale("merge", "s", "--json").json
    assert {k: merged[k] for k in ("n", "found", "draws")} == {k: whole[k] for k in ("n", "found", "draws")}
    learned = tale("search", *task_flags, *CHEAP, "--json", "--out", "s").json
    assert learned["n"] == whole["n"] and learned["gain"]["n"] == whole["gain"]["n"]


def test_the_cap_of_a_shard_is_its_part(tale: Any, task_flags: list[str]) -> None:
    prices = ("--price-in", "0", "--price-out", "1000000", "--max-usd", "4", "--json", "--out", "s")
    result = tale("search", *task_flags, *CHEAP, *prices, "--shard", "1/4")
    assert result.code == 3 and "of max_usd=1 spent" in result.err


def test_a_search_of_several_predictors_is_not_split(tale: Any, task_flags: list[str]) -> None:
    Path("two.py").write_text(
        "import dspy, tale_dspy\n"
        "class Two(dspy.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.one, self.two = (tale_dspy.TaleEP('question -> answer') for _ in range(2))\n"
    )
    result = tale("search", "two:Two", *task_flags, "--shard", "1/2")
    assert result.code == 2 and "--shard searches one predictor, since each waits for the one before" in result.sentence
