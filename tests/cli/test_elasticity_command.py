"""`tale elasticity`: a sweep of budgets as table, figures and JSON; caps, resume and wrong input."""

import sys
from pathlib import Path
from typing import Any

import pytest


def test_fixed_budgets_are_asked_shown_and_drawn(tale: Any, task_flags: list[str], server: Any) -> None:
    result = tale(
        "elasticity", *task_flags, "--budgets", "80,40,10", "--limit", "10", "--provenance", "scripted", "--out", "e"
    )
    assert result.code == 0 and "kept in e, the report in e/report" in result.out
    assert "Evidence: scripted" in result.out and "VanillaCoT" not in result.out and "cot" in result.out
    assert server.stats.requests == 40
    names = {p.name for p in Path("e").iterdir()}
    assert names == {"cot", "budget-80", "budget-40", "budget-10", "report"}
    figures = {p.stem for p in Path("e/report").glob("*.png")}
    assert {"accuracy_tokens", "elasticity", "elasticity_questions", "elasticity_pooled"} < figures
    assert Path("e/report/report.html").stat().st_size > 10_000


def test_shares_are_the_default_and_json_is_one_object(tale: Any, task_flags: list[str], server: Any) -> None:
    result = tale("elasticity", *task_flags, "--limit", "3", "--json")
    output = result.json
    assert result.code == 0 and result.out.count("\n") == 1
    assert [r["program"] for r in output["points"]][:2] == ["budget:1x", "budget:0.7x"] and len(output["points"]) == 9
    assert output["vanilla"]["program"] == "cot" and output["n"] == 3 and output["stopped"] is None
    assert output["run_dir"].startswith("runs/") and output["run_dir"].endswith("--elasticity")
    assert all(Path(f).exists() for f in output["files"]) and output["pooled"][0]["n"] == 3
    requests = server.stats.requests
    again = tale("elasticity", *task_flags, "--limit", "3", "--json")
    assert server.stats.requests == requests and again.json["points"] == output["points"]


def test_a_cap_keeps_what_was_finished_and_the_command_goes_on(
    tale: Any, task_flags: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # figures are no part of this
    command = ["elasticity", *task_flags, "--budgets", "0.5x,0.2x", "--limit", "4", "--max-tokens", "200", "--out", "e"]
    command += ["--concurrency", "1", "--json"]
    result = tale(*command, "--max-total-output-tokens", "600")
    assert result.code == 3 and result.json["stopped"] == "cap" and len(result.json["points"]) < 2
    assert "the same command continues" in result.err and "pip install 'tale-dspy[report]'" in result.err
    again = tale(*command)
    assert again.code == 0 and len(again.json["points"]) == 2 and again.json["files"] == []


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (
            ["--budgets", "10,half"],
            "a budget is a number of tokens such as 50, a share such as 0.25x",
        ),
        (["--budgets", "10,0.5x"], "tokens, shares or effort words, one kind"),
        (["direct", "--budgets", "10"], "DirectAnswer has no budgeted predictor"),
        (["nothing", "--budgets", "10"], "there is no program 'nothing'"),
    ],
)
def test_wrong_input_is_one_sentence_and_2(args: list[str], said: str, tale: Any, task_flags: list[str]) -> None:
    result = tale("elasticity", *args, *task_flags)
    assert result.code == 2 and said in result.sentence
