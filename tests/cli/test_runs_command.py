"""`tale runs`: what lies in a folder."""

from pathlib import Path
from typing import Any


def test_runs_are_listed_with_their_figures(tale: Any, task_flags: list[str]) -> None:
    assert tale("eval", "cot", *task_flags, "--out", "all/a").code == 0
    result = tale("runs", "all")
    assert result.code == 0 and "finished" in result.out and "cot" in result.out
    (entry,) = tale("runs", "all", "--json").json["entries"]
    assert (entry["path"], entry["kind"], entry["name"], entry["status"]) == ("a", "run", "cot", "finished")
    assert 0 <= entry["accuracy"] <= 1


def test_an_empty_or_missing_folder_is_said(tale: Any) -> None:
    Path("empty").mkdir()
    assert "empty holds no run" in tale("runs", "empty").out
    result = tale("runs", "nowhere")
    assert result.code == 2 and "nowhere is no folder" in result.sentence
