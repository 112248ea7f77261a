"""What is seen while a run goes on, and what is not when nobody looks."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from terminal import on_terminal, plain

from tale_dspy.cli.console import console, live_bar, print_json, say
from tale_dspy.runs.options import Tally


@pytest.mark.parametrize("columns", [80, 160])
def test_a_live_bar_fits_the_terminal_and_shows_the_figures(
    columns: int, task_flags: list[str], tmp_path: Path
) -> None:
    command = ["eval", "tale-ep", *task_flags, "--price-in", "1", "--price-out", "2"]
    code, lines = on_terminal(columns, *command, cwd=tmp_path)
    assert code == 0 and max(map(len, lines)) <= columns
    last = [line for line in lines if "10/10" in line][-1]
    for figure in ("tale-ep on questions", "10/10", "% right", " tok ", "$0.00", "0:00"):
        assert figure in last
    assert any("kept in runs/" in line for line in lines)


def test_stdout_stays_clean_under_a_live_bar(task_flags: list[str], tmp_path: Path) -> None:
    with (tmp_path / "out").open("w") as out:
        code, lines = on_terminal(80, "eval", "cot", *task_flags, "--json", cwd=tmp_path, stdout=out)
    assert code == 0 and any("10/10" in line for line in lines)
    assert json.loads((tmp_path / "out").read_text())["n"] == 10


def test_no_bar_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with live_bar("cot on gsm8k") as progress:
        assert progress is not None
        progress(Tally(total=3, done=1, correct=1))  # the first line comes after 30 s
    assert capsys.readouterr() == ("", "")


def test_without_a_terminal_a_line_comes_every_30_seconds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = SimpleNamespace(seconds=1000.0, monotonic=lambda: clock.seconds)
    monkeypatch.setattr("tale_dspy.cli.console.time", clock)
    with live_bar("cot on\ngsm8k") as progress:
        assert progress is not None
        clock.seconds += 45
        progress(Tally(total=9, done=0, correct=0))  # nothing is answered yet: there is nothing to say
        for done in range(1, 10):
            progress(Tally(total=9, done=done, correct=1, output_tokens=90, counted=done, spent_usd=0.25))
            clock.seconds += 10
    out, err = capsys.readouterr()
    assert out == "" and err.splitlines() == [
        "cot on gsm8k: 1 of 9, 100.0% right, 90.0 tokens, $0.2500",
        "cot on gsm8k: 4 of 9, 25.0% right, 22.5 tokens, $0.2500",
        "cot on gsm8k: 7 of 9, 14.3% right, 12.9 tokens, $0.2500",
    ]


class Screen:
    """A stderr that says it is a terminal."""

    def __init__(self) -> None:
        self.text = ""
        self.encoding = "utf-8"

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None: ...

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("tally", "shown"),
    [
        (Tally(total=4), "0/4 – right – tok $–"),
        (
            Tally(total=4, done=2, correct=1, output_tokens=30, counted=2, spent_usd=0.5),
            "2/4 50.0% right 15.0 tok $0.5000",
        ),
        (Tally(total=4, done=2, correct=1, unpriced=1), "2/4 50.0% right – tok $–"),
    ],
)
def test_what_is_unknown_is_a_dash(tally: Tally, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("COLUMNS", "120")
    with live_bar("[bold]a\x1b[2Jb") as progress:
        assert progress
        progress(tally)
    last = plain(screen.text)[-2]
    assert shown in last and "[bold]a\\x1b[2Jb" in last


def test_a_bar_is_not_seen_before_there_is_something_to_show(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    with live_bar("cot on gsm8k") as progress:
        assert progress and screen.text == ""
    assert screen.text.strip() == ""


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (
            {"a": math.nan, "b": [math.inf, -math.inf, 1.5], "c": (1, None)},
            '{"a": null, "b": [null, null, 1.5], "c": [1, null]}',
        ),
        ({"text": "é 中 😀"}, '{"text": "é 中 😀"}'),
        ({"path": Path("a")}, '{"path": "a"}'),
        ({"text": "a\u202eb\u200bc\U000e0041\x1b"}, '{"text": "a\\u202eb\\u200bc\\udb40\\udc41\\u001b"}'),
    ],
)
def test_json_is_strict(value: Any, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    print_json(value)
    assert capsys.readouterr().out == text + "\n"


def test_json_survives_an_output_that_is_not_utf8() -> None:
    code = "from tale_dspy.cli.console import print_json; print_json({'text': 'é 😀'})"
    env = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    result = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, check=True)
    assert json.loads(result.stdout) == {"text": "é 😀"}


def test_a_narrow_terminal_cuts_no_figure(tale: Any, task_flags: list[str], tmp_path: Path) -> None:
    assert tale("eval", "cot", *task_flags, "--out", "a").code == tale("eval", "direct", *task_flags, "--out", "b").code
    shown = {}
    for columns in (50, 80):
        code, lines = on_terminal(columns, "report", "a", "b", cwd=tmp_path)
        assert code == 0
        shown[columns] = [" ".join(line.split()) for line in lines]
    assert shown[50] == shown[80] and any("McNemar p = " in line for line in shown[50])


def test_piped_output_is_wide_and_plain(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    console().print("x" * 160, style="red")
    assert capsys.readouterr().out == "x" * 160 + "\n"


def test_without_a_terminal_a_line_is_written_every_so_often(capsys: pytest.CaptureFixture[str]) -> None:
    from tale_dspy.cli.console import line_every
    from tale_dspy.runs.options import Tally

    tally = Tally(total=40)
    update = line_every(0, "cot on gsm8k")
    update(tally)  # nothing is done yet
    tally.done, tally.correct, tally.counted, tally.output_tokens, tally.spent_usd = 10, 5, 10, 123, 0.5
    update(tally)
    line_every(1000, "cot on gsm8k")(tally)
    assert capsys.readouterr().err == "cot on gsm8k: 10 of 40, 50.0% right, 12.3 tokens, $0.5000\n"


def test_a_line_cannot_command_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    say("a\x1b[31mb\u202ec\n中")
    assert capsys.readouterr().out == "a\\x1b[31mb\\u202ec\n中\n"
