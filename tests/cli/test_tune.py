"""`tale tune`: a front of programs, the chosen one measured on fresh questions; caps and wrong input."""

from pathlib import Path
from typing import Any

import pytest

SHORT = ["--trials", "2", "--demos", "0", "--forms", "sketch"]


def test_the_front_and_the_chosen_program_are_shown_saved_and_drawn(tale: Any, asked: list[str], server: Any) -> None:
    told = tale("tune", *asked, *SHORT, "--limit", "8", "--fresh", "3", "--out", "t")
    assert told.code == 0 and "on 3 fresh questions, against the same program without budgets:" in told.out
    assert "chosen (*):" in told.out and "the program: t/program.json, the others: t/front" in told.out
    assert Path("t/front/front.png").is_file() and Path("t/report/report.html").is_file()
    requests = server.stats.requests
    again = tale("tune", *asked, *SHORT, "--limit", "8", "--fresh", "3", "--out", "t", "--json")
    assert server.stats.requests == requests, "a finished tuning is shown again, and nothing is asked"
    assert again.out.count("\n") == 1 and again.json["comparison"]["n"] == 3
    assert sum(point["chosen"] for point in again.json["front"]) == 1
    evaluated = tale("eval", "t/program.json", *asked, "--limit", "2", "--offset", "8", "--json")
    assert evaluated.code == 0


def test_a_cap_ends_it_with_exit_code_3(tale: Any, asked: list[str]) -> None:
    told = tale(
        *("tune", *asked, *SHORT, "--limit", "9", "--out", "t", "--concurrency", "1"),
        *("--reply-tokens", "200", "--max-total-output-tokens", "900", "--max-tokens", "500", "--json"),
    )
    assert told.code == 3 and told.json["stopped"] == "cap" and told.json["comparison"] is None
    assert "the same command continues" in told.err and Path("t/program.json").is_file()


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["--max-drop", "-1"], "--max-drop is in points, from 0 to 100, got -1"),
        (["--optimizer", "sgd"], "optimizer must be one of pareto, mipro, gepa, got 'sgd'"),
        (["--forms", "loud"], "form must be one of"),
        (["--demos", "few"], "--demos must be whole numbers separated by commas, got 'few'"),
        (["--limit", "2"], "2 questions are too few"),
        (["cot"], "has no budgeted predictor"),
    ],
)
def test_wrong_input_is_refused_in_one_sentence(tale: Any, asked: list[str], args: list[str], sentence: str) -> None:
    told = tale("tune", *args, *asked, *([] if "--limit" in args else ["--limit", "9"]))
    assert told.code == 2 and sentence in told.err and told.err.count("\n") == 1
