"""`tale demo`: a dozen and more programs on one small model, kept, compared and drawn."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from terminal import on_terminal

from tale_dspy.cli.demo import DATA, NEXT, PROGRAMS
from tale_dspy.datasets import load_dataset
from tale_dspy.testing import Request, ScriptedServer, SolverReply

DONE = "interrupted: what was finished is kept, the same command continues\n"


class Stories:
    """A script that knows the answers, in the place of the model; it may press Ctrl-C in a process, once."""

    def __init__(self) -> None:
        rows = load_dataset(DATA).take(limit=4).examples
        self.solve = SolverReply({row.question: row.answer for row in rows})
        self.pid, self.press_at = 0, 0

    def __call__(self, request: Request) -> Any:
        if self.pid and request.n >= self.press_at:
            os.kill(self.pid, signal.SIGINT)
            self.pid = 0
        return self.solve(request)


@pytest.fixture(scope="module")
def stories() -> Stories:
    return Stories()


@pytest.fixture
def scripted(stories: Stories, monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedServer]:
    with ScriptedServer(stories) as server:
        monkeypatch.setenv("OPENAI_API_BASE", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", "none")
        yield server


COMMAND = ("demo", "--questions", "3", "--out", "d", "--model", "openai/scripted")


def records(program: str, folder: str | Path = "d") -> list[str]:
    return Path(folder, program.replace(":", "-"), "records.jsonl").read_text().splitlines()


def test_the_demo_keeps_compares_and_draws(tale: Any, scripted: ScriptedServer) -> None:
    result = tale(*COMMAND)
    assert (result.code, result.err) == (0, "")
    assert {program: len(records(program)) for program in PROGRAMS} == dict.fromkeys(PROGRAMS, 3)
    for text in ("cot: 3 questions, ", "for the estimate", "tale-ep against cot on embedded:test, 3 questions", *NEXT):
        assert text in result.out
    assert "Fixed budgets" in result.out
    assert "budget shrinks" in result.out or "No rise" in result.out
    drawn = {path.name for path in Path("d/report").iterdir()}
    assert {"table.md", "elasticity.png", "elasticity.svg", "elasticity.csv", "elasticity.md"} < drawn
    requests_before = scripted.stats.requests
    again = tale(*COMMAND)
    assert (again.code, scripted.stats.requests) == (0, requests_before)


@pytest.mark.parametrize("columns", [80, 160])
def test_the_live_table_fits_the_terminal(columns: int, scripted: ScriptedServer, tmp_path: Path) -> None:
    code, lines = on_terminal(columns, *COMMAND, cwd=tmp_path)
    assert code == 0
    assert max(len(line) for line in lines if not any(line.strip() == command for command in NEXT)) <= columns
    rows = [line.split() for line in lines if line.strip().startswith(PROGRAMS)]
    last = {row[0]: row for row in rows if len(row) > 2 and set(row[1]) <= set("━╸╺")}
    assert last.keys() == set(PROGRAMS)
    assert all(row[2] == "3" for row in last.values())


def test_ctrl_c_is_130_and_the_same_command_finishes(
    process: Any, scripted: ScriptedServer, stories: Stories, tmp_path: Path
) -> None:
    stories.press_at = scripted.stats.requests + 5
    with process(*COMMAND) as running:
        stories.pid = running.pid
        _, err = running.communicate()
    assert (running.returncode, err) == (130, DONE)
    assert len(records("cot", tmp_path / "d")) == 3 and not (tmp_path / "d" / "tale-ep").exists()
    requests_before = scripted.stats.requests
    with process(*COMMAND) as running:
        running.communicate()
    assert running.returncode == 0 and scripted.stats.requests - requests_before <= 3 * (len(PROGRAMS) + 1) - 5
    assert len(records("budget:300", tmp_path / "d")) == 3


@pytest.mark.parametrize("count", ["0", "-1", "x"])
def test_a_demo_of_no_number_of_questions_is_refused(count: str, tale: Any) -> None:
    assert tale("demo", "--questions", count).code == 2


def test_a_folder_with_something_else_is_not_touched(tale: Any, scripted: ScriptedServer) -> None:
    Path("d/cot").mkdir(parents=True)
    Path("d/cot/mine.txt").write_text("mine")
    result = tale(*COMMAND)
    assert result.code == 2 and "mine.txt" in result.err and scripted.stats.requests == 0


def test_without_matplotlib_the_demo_shows_its_tables_all_the_same(
    tale: Any, scripted: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = tale(*COMMAND)
    assert result.code == 0 and "no figures: matplotlib is not installed: pip install 'tale-dspy[report]'" in result.out
    assert "Fixed budgets" in result.out and not Path("d/report").exists()


def test_without_torch_the_pip_line_is_said(tale: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    result = tale("demo")
    assert result.code == 2 and "torch is not installed: pip install 'tale-dspy[local]'" in result.err
