"""`tale tune`: a front of programs, the chosen one measured on fresh questions; caps and wrong input."""

from pathlib import Path
from typing import Any

import pytest

SHORT = ["--trials", "2", "--demos", "0", "--forms", "sketch"]


def test_the_front_and_the_chosen_program_are_shown_saved_and_drawn(
    tale: Any, task_flags: list[str], server: Any
) -> None:
    result = tale("tune", *task_flags, *SHORT, "--limit", "8", "--fresh", "3", "--out", "t")
    assert result.code == 0 and "on 3 fresh questions, against the same program without budgets:" in result.out
    assert "chosen (*):" in result.out and "the program: t/program.json, the others: t/front" in result.out
    assert Path("t/front/front.png").is_file() and Path("t/report/report.html").is_file()
    requests = server.stats.requests
    again = tale("tune", *task_flags, *SHORT, "--limit", "8", "--fresh", "3", "--out", "t", "--json")
    assert server.stats.requests == requests, "a finished tuning is shown again, and nothing is asked"
    assert again.out.count("\n") == 1 and again.json["comparison"]["n"] == 3
    assert sum(point["chosen"] for point in again.json["front"]) == 1
    shown = tale("show", "t")
    assert shown.code == 0 and shown.out.startswith("Tuning t: 2 trials, ") and "chosen (*): " in shown.out
    assert "on 3 fresh questions, against the same program without budgets:" in shown.out
    as_json = tale("show", "t", "--json").json
    assert as_json["trials"] == 2 and as_json["comparison"] == again.json["comparison"]
    assert [p["chosen"] for p in as_json["front"]] == [p["chosen"] for p in again.json["front"]]
    for command in (["report", "t"], ["diff", "t/fresh-chosen", "t"], ["gate", "t", "t/fresh-chosen"], ["advise", "t"]):
        refused = tale(*command)
        assert refused.code == 2 and "t is the folder of a tuning, not a run: `tale show t` shows it" in refused.err
        assert "t/fresh-unbudgeted and t/fresh-chosen" in refused.err
    evaluated = tale("eval", "t/program.json", *task_flags, "--limit", "2", "--offset", "8", "--json")
    assert evaluated.code == 0


def test_a_cap_ends_it_with_exit_code_3(tale: Any, task_flags: list[str]) -> None:
    result = tale(
        *("tune", *task_flags, *SHORT, "--limit", "9", "--out", "t", "--concurrency", "1"),
        *("--reply-tokens", "200", "--max-total-output-tokens", "900", "--max-tokens", "500", "--json"),
    )
    assert result.code == 3 and result.json["stopped"] == "cap" and result.json["comparison"] is None
    assert "the same command continues" in result.err and Path("t/program.json").is_file()


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["--max-drop", "-1"], "--max-drop is in points, from 0 to 100, got -1"),
        (["--reply-tokens", "0"], "--reply-tokens must be at least 1, got 0"),
        (["--trials", "0"], "trials must be a whole number of at least 1, got 0"),
        (["--optimizer", "sgd"], "optimizer must be one of pareto, mipro, gepa, got 'sgd'"),
        (["--forms", "loud"], "form must be one of"),
        (["--demos", "few"], "--demos must be whole numbers separated by commas, got 'few'"),
        (["--limit", "2"], "2 questions are too few"),
        (["cot"], "has no budgeted predictor"),
    ],
)
def test_wrong_input_is_refused_in_one_sentence(
    tale: Any, task_flags: list[str], args: list[str], sentence: str
) -> None:
    result = tale("tune", *args, *task_flags, *([] if "--limit" in args else ["--limit", "9"]))
    assert result.code == 2 and sentence in result.err and result.err.count("\n") == 1


@pytest.mark.parametrize("flag", ["--ray", "--shards"])
def test_a_tuning_takes_no_flag_that_it_does_not_heed(tale: Any, task_flags: list[str], flag: str) -> None:
    result = tale("tune", *task_flags, flag, "2")
    assert result.code == 2 and "No such option" in result.err
