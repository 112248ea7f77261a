"""`tale diff`: what changed, on a screen, as one JSON object, as CSV."""

import csv
import io
import shutil
from typing import Any

import pytest


@pytest.fixture
def runs(tale: Any, task_flags: list[str]) -> tuple[str, str]:
    """A vanilla run and a direct one, which gets some questions wrong."""
    assert (
        tale("eval", "cot", *task_flags, "--out", "a").code
        == tale("eval", "direct", *task_flags, "--out", "b").code
        == 0
    )
    return "a", "b"


def test_the_second_run_is_compared_with_the_first(tale: Any, runs: tuple[str, str]) -> None:
    result = tale("diff", *runs)
    assert (result.code, result.err) == (0, "")
    assert "direct against cot on questions.jsonl, 10 questions" in result.out and "right->wrong" in result.out


def test_json_is_one_object_without_nan(tale: Any, runs: tuple[str, str]) -> None:
    result = tale("diff", *runs, "--json")
    assert result.err == "" and result.out.count("\n") == 1
    assert result.json["n"] == 10 and result.json["right_to_wrong"] > 0
    shutil.copytree("a", "same")
    assert tale("diff", "a", "same", "--json").json["right_to_wrong"] == 0


@pytest.mark.parametrize("command", ["diff", "gate", "advise", "report", "view"])
def test_a_folder_is_not_compared_with_itself(command: str, tale: Any, runs: tuple[str, str]) -> None:
    result = tale(command, "a", "./b/../a")
    assert result.code == 2 and result.sentence.startswith("error: a is given twice, as a and as b/../a: a run is")


def test_csv_holds_every_changed_question(tale: Any, runs: tuple[str, str]) -> None:
    rows = list(csv.DictReader(io.StringIO(tale("diff", *runs, "--csv").out)))
    changed = tale("diff", *runs, "--json").json
    assert len(rows) == changed["right_to_wrong"] + changed["wrong_to_right"]
    assert {row["baseline_outcome"] for row in rows} <= {"correct", "wrong"}


@pytest.mark.parametrize(("limit", "left"), [(1, True), (0, False), (1000, False)])
def test_limit_cuts_the_changed_questions_and_0_shows_all(
    limit: int, left: bool, tale: Any, runs: tuple[str, str]
) -> None:
    assert ("not shown" in tale("diff", *runs, "--limit", limit).out) == left


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("a", "nowhere"), "nowhere is not a run folder"),
        (("questions.jsonl", "a"), "questions.jsonl is not a run folder"),
        ((".", "a"), "it has no run.json"),
        (("a", "b", "--json", "--csv"), "--json and --csv"),
        (("a", "b", "--limit", "-1"), "--limit must be at least 0, got -1"),
        (("a", "other"), "share no question"),
    ],
)
def test_what_cannot_be_compared_is_2(
    args: tuple[str, ...], said: str, tale: Any, task_flags: list[str], runs: tuple[str, str]
) -> None:
    swapped = ["--inputs", "answer", "--gold", "question"]
    assert tale("eval", "cot", *task_flags, *swapped, "--out", "other").code == 0
    result = tale("diff", *args)
    assert result.code == 2 and said in result.sentence
