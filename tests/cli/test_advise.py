"""`tale advise`: a sentence on which run pays, from run folders."""

from typing import Any

import pytest


def test_the_run_that_pays_is_named(tale: Any, task_flags: list[str]) -> None:
    for program in ("cot", "budget:40", "budget:4"):
        assert tale("eval", program, *task_flags, "--out", program.replace(":", "-")).code == 0
    result = tale("advise", "cot", "budget-40", "budget-4", "--max-drop", "50")
    assert (
        result.code == 0 and "against cot" in result.out and "budget:40: " in result.out and "budget:4: " in result.out
    )
    assert "points of accuracy (one-sided 95 % score bounds " in " ".join(result.out.split())  # `tale diff` has others
    figures = tale("advise", "cot", "budget-40", "budget-4", "--json")
    assert figures.out.count("\n") == 1 and {run["name"] for run in figures.json["runs"]} == {"budget:40", "budget:4"}


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["nowhere"], "nowhere"),
        (["cot", "--max-drop", "0"], "--max-drop is in points"),
        (["cot"], "no run has a budget"),
    ],
)
def test_wrong_input_is_refused_in_one_sentence(
    tale: Any, task_flags: list[str], args: list[str], sentence: str
) -> None:
    assert tale("eval", "cot", *task_flags, "--limit", "2", "--out", "cot").code == 0
    result = tale("advise", *args)
    assert result.code == 2 and sentence in result.sentence
