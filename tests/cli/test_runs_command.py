"""`tale runs`: what lies in a folder."""

from pathlib import Path
from typing import Any


def test_runs_are_listed_with_their_figures(tale: Any, asked: list[str]) -> None:
    assert tale("eval", "cot", *asked, "--out", "all/a").code == 0
    done = tale("runs", "all")
    assert done.code == 0 and "finished" in done.out and "cot" in done.out
    (entry,) = tale("runs", "all", "--json").json["entries"]
    assert (entry["path"], entry["kind"], entry["name"], entry["status"]) == ("a", "run", "cot", "finished")
    assert 0 <= entry["accuracy"] <= 1


def test_an_empty_or_missing_folder_is_said(tale: Any) -> None:
    Path("empty").mkdir()
    assert "empty holds no run" in tale("runs", "empty").out
    done = tale("runs", "nowhere")
    assert done.code == 2 and "nowhere is no folder" in done.sentence
