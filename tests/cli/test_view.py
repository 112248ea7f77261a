"""`tale view`: one file, and a browser that opens it."""

import webbrowser
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Addresses that were opened in a browser."""
    addresses: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda address: addresses.append(address) or True)
    return addresses


@pytest.fixture
def runs(tale: Any, task_flags: list[str]) -> tuple[str, str]:
    assert (
        tale("eval", "cot", *task_flags, "--out", "a").code
        == tale("eval", "tale-ep", *task_flags, "--out", "b").code
        == 0
    )
    return "a", "b"


def test_the_page_is_written_and_opened(tale: Any, runs: tuple[str, str], opened: list[str]) -> None:
    result = tale("view", *runs)
    assert (result.code, result.err) == (0, "") and result.out == "written: a/report.html\n"
    assert opened == [Path("a/report.html").resolve().as_uri()]
    assert "tale-ep against cot" in Path("a/report.html").read_text()


def test_no_open_writes_alone(tale: Any, runs: tuple[str, str], opened: list[str]) -> None:
    assert tale("view", "b", "--no-open", "--out", "x/page.html").code == 0
    assert opened == [] and Path("x/page.html").is_file() and not Path("b/report.html").exists()


def test_without_a_browser_that_is_said(tale: Any, runs: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webbrowser, "open", lambda address: False)
    result = tale("view", "a")
    assert result.code == 0 and "open the file yourself" in result.err


def test_another_folder_is_refused(tale: Any, opened: list[str]) -> None:
    result = tale("view", "nowhere")
    assert result.code == 2 and "nowhere is not a run folder" in result.sentence and opened == []
