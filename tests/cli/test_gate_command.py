"""`tale gate`: exit codes, the sentence, one JSON object."""

import shutil
from typing import Any

import pytest


@pytest.fixture
def runs(tale: Any, task_flags: list[str]) -> tuple[str, str]:
    """A vanilla run and a short direct one, which gets some questions wrong."""
    assert (
        tale("eval", "cot", *task_flags, "--out", "a").code
        == tale("eval", "direct", *task_flags, "--out", "b").code
        == 0
    )
    shutil.copytree("a", "same")
    return "a", "b"


def test_few_questions_cannot_decide_and_exit_1(tale: Any, runs: tuple[str, str]) -> None:
    result = tale("gate", "a", "same", "--min-saving", 0)
    assert (result.code, result.err) == (1, "")
    assert "cannot decide: " in result.out and "10 questions were asked, at least 268 are needed" in result.out


def test_a_margin_that_ten_questions_can_show_passes_with_0(tale: Any, runs: tuple[str, str]) -> None:
    result = tale("gate", "a", "same", "--min-saving", 0, "--max-drop", 0.5, "--json")
    assert (result.code, result.json["outcome"], result.json["n"]) == (0, "pass", 10)


def test_what_is_not_shown_to_be_short_fails_with_1(tale: Any, runs: tuple[str, str]) -> None:
    result = tale("gate", "b", "a", "--max-drop", 0.9, "--json")
    assert (result.code, result.json["outcome"], result.json["changed"]) == (1, "fail", "prompt")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("a", "nowhere"), "nowhere is not a run folder: it does not exist"),
        (
            ("a", "b", "--max-drop", "1"),
            "--max-drop must be a fraction above 0 and below 1 (0.01 is one point), got 1.0",
        ),
        (("a", "hot"), "the runs differ in temperature: unset in the base run, 0.9 in the tuned run"),
        (("a", "few"), "the runs have not the same questions: 7 answers are only in the base run"),
    ],
)
def test_what_cannot_be_gated_is_2(
    args: tuple[str, ...], said: str, tale: Any, task_flags: list[str], runs: tuple[str, str]
) -> None:
    for name, flags in {"hot": ("--temperature", 0.9), "few": ("--limit", 3)}.items():
        if name in args:
            assert tale("eval", "cot", *task_flags, *flags, "--out", name).code == 0
    result = tale("gate", *args)
    assert result.code == 2 and said in result.sentence
