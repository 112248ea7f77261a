"""`tale report`: the table on the screen, in four formats and as figures."""

import sys
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def runs(tale: Any, asked: list[str]) -> tuple[str, str]:
    assert tale("eval", "cot", *asked, "--out", "a").code == tale("eval", "tale-ep", *asked, "--out", "b").code == 0
    return "a", "b"


def test_the_table_is_shown_and_written_with_figures(tale: Any, runs: tuple[str, str]) -> None:
    told = tale("report", *runs, "--out", "r")
    assert (told.code, told.err) == (0, "")
    assert "tale-ep" in told.out and "written to r: table.md" in told.out
    assert {p.suffix for p in Path("r").iterdir()} == {".md", ".tex", ".csv", ".json", ".png", ".svg"}


def test_json_names_rows_and_files(tale: Any, runs: tuple[str, str]) -> None:
    told = tale("report", *runs, "--out", "r", "--json")
    assert told.out.count("\n") == 1
    assert len(told.json["rows"]) == 2 and all(Path(f).exists() for f in told.json["files"])


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["nowhere"], 2, "nowhere is not a run folder"),
        (["a", "questions.jsonl"], 2, "questions.jsonl is not a run folder"),
        (["a", "--out", "questions.jsonl"], 2, "cannot be written"),
        (["a", "--out", "/proc/nothing"], 2, "cannot be written"),
    ],
)
def test_what_cannot_be_reported_is_said(
    args: list[str], code: int, said: str, tale: Any, runs: tuple[str, str]
) -> None:
    told = tale("report", *args)
    assert told.code == code and said in told.sentence


def test_without_matplotlib_the_table_is_shown_and_the_pip_line(
    tale: Any, runs: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    told = tale("report", *runs, "--out", "r")
    assert told.code == 1 and "tale-ep" in told.out
    assert "pip install 'tale-dspy[report]'" in told.sentence and not Path("r").exists()
