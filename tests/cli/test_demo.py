"""`tale demo`: the whole tool on a scripted server, which it says."""

import json
from pathlib import Path
from typing import Any

from tale_dspy.cli.demo import PROGRAMS


def test_the_demo_says_what_it_is_and_can_be_run_again(tale: Any) -> None:
    told = tale("demo", "--questions", "12", "--out", "d")
    assert (told.code, told.err) == (0, "")
    assert "not a language model" in told.out and "marked `scripted`" in told.out
    for program in PROGRAMS:
        folder = Path("d", program.replace(":", "-"))
        assert json.loads((folder / "run.json").read_text())["mark"] == "scripted"
        assert len((folder / "records.jsonl").read_text().splitlines()) == 12
    assert len(list(Path("d/report").glob("*.png"))) >= len(PROGRAMS) - 1
    again = tale("demo", "--questions", "12", "--out", "d")
    assert again.code == 0 and "tale-ep" in again.out


def test_a_demo_without_questions_is_refused(tale: Any) -> None:
    assert tale("demo", "--questions", "0").code == 2


def test_a_demo_of_another_size_does_not_touch_the_old_one(tale: Any) -> None:
    Path("d/dspy-cot").mkdir(parents=True)
    Path("d/dspy-cot/mine.txt").write_text("mine")
    told = tale("demo", "--questions", "3", "--out", "d")
    assert told.code == 2 and "mine.txt" in told.err
