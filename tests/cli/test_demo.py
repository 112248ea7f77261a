"""`tale demo`: the whole tool on a scripted server, which it says."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tale_dspy.cli.demo import PROGRAMS


def test_the_demo_says_what_it_is_and_can_be_run_again(tale: Any) -> None:
    told = tale("demo", "--questions", "8", "--out", "d")
    assert (told.code, told.err) == (0, "")
    assert "not a language model" in told.out and "marked `scripted`" in told.out
    for program in PROGRAMS:
        folder = Path("d", program.replace(":", "-"))
        assert json.loads((folder / "run.json").read_text())["mark"] == "scripted"
        assert len((folder / "records.jsonl").read_text().splitlines()) == 8
    assert len(list(Path("d/report").glob("*.png"))) >= len(PROGRAMS) - 1
    again = tale("demo", "--questions", "8", "--out", "d")
    assert again.code == 0 and "tale-ep" in again.out


def test_a_demo_without_questions_is_refused(tale: Any) -> None:
    assert tale("demo", "--questions", "0").code == 2


def test_a_demo_of_another_size_does_not_touch_the_old_one(tale: Any) -> None:
    Path("d/dspy-cot").mkdir(parents=True)
    Path("d/dspy-cot/mine.txt").write_text("mine")
    told = tale("demo", "--questions", "3", "--out", "d")
    assert told.code == 2 and "mine.txt" in told.err


def test_without_matplotlib_the_demo_shows_its_tables_all_the_same(tale: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    told = tale("demo", "--questions", "3", "--out", "d")
    assert told.code == 0 and "no figures: matplotlib is not installed: pip install" in told.out
    assert "tale-ep" in told.out and not Path("d/report").exists()
