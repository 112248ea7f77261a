"""`tale elasticity`: a sweep of budgets as table, figures and JSON; caps, resume and wrong input."""

import sys
from pathlib import Path
from typing import Any

import pytest


def test_fixed_budgets_are_asked_shown_and_drawn(tale: Any, asked: list[str], server: Any) -> None:
    told = tale(
        "elasticity", *asked, "--budgets", "80,40,10", "--limit", "10", "--provenance", "scripted", "--out", "e"
    )
    assert told.code == 0 and "kept in e, the report in e/report" in told.out
    assert "Evidence: scripted" in told.out and "VanillaCoT" not in told.out and "cot" in told.out
    assert server.stats.requests == 40
    names = {p.name for p in Path("e").iterdir()}
    assert names == {"cot", "budget-80", "budget-40", "budget-10", "report"}
    figures = {p.stem for p in Path("e/report").glob("*.png")}
    assert {"accuracy_tokens", "elasticity", "elasticity_questions", "elasticity_pooled"} < figures
    assert Path("e/report/report.html").stat().st_size > 10_000


def test_shares_are_the_default_and_json_is_one_object(tale: Any, asked: list[str], server: Any) -> None:
    told = tale("elasticity", *asked, "--limit", "3", "--json")
    found = told.json
    assert told.code == 0 and told.out.count("\n") == 1
    assert [r["program"] for r in found["points"]][:2] == ["budget:1x", "budget:0.7x"] and len(found["points"]) == 9
    assert found["vanilla"]["program"] == "cot" and found["n"] == 3 and found["stopped"] is None
    assert found["run_dir"].startswith("runs/") and found["run_dir"].endswith("--elasticity")
    assert all(Path(f).exists() for f in found["files"]) and found["pooled"][0]["n"] == 3
    requests = server.stats.requests
    again = tale("elasticity", *asked, "--limit", "3", "--json")
    assert server.stats.requests == requests and again.json["points"] == found["points"]


def test_a_cap_keeps_what_was_finished_and_the_command_goes_on(
    tale: Any, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # figures are no part of this
    command = ["elasticity", *asked, "--budgets", "0.5x,0.2x", "--limit", "4", "--max-tokens", "200", "--out", "e"]
    command += ["--concurrency", "1", "--json"]
    told = tale(*command, "--max-total-output-tokens", "600")
    assert told.code == 3 and told.json["stopped"] == "cap" and len(told.json["points"]) < 2
    assert "the same command continues" in told.err and "pip install 'tale-dspy[report]'" in told.err
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
def test_wrong_input_is_one_sentence_and_2(args: list[str], said: str, tale: Any, asked: list[str]) -> None:
    told = tale("elasticity", *args, *asked)
    assert told.code == 2 and said in told.sentence
