"""Every block of the README and the manual runs as it stands, and every link leads somewhere."""

import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from tale_dspy.backends.control_registry import find_control
from tale_dspy.cli import streams
from tale_dspy.cli.main import app, main
from tale_dspy.testing import ScriptedServer, SolverReply, word_problems

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
COMMANDS: dict[str, Any] = dict(get_command(app).commands)  # type: ignore[attr-defined]


ROBE = "A robe takes 2 bolts of blue fiber and half that much white. How many bolts in all?"


def hooks() -> Any:
    """The module that the manual is built with."""
    found = importlib.util.spec_from_file_location("hooks", ROOT / "docs/hooks.py")
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path, *languages: str) -> list[str]:
    return [text for language, text in BLOCK.findall(page.read_text(encoding="utf-8")) if language in languages]


WITH_PYTHON = [page for page in PAGES if blocks(page, "python")]
COMMAND_LINES = [
    (name_of(page), line.partition("  #")[0])
    for page in PAGES
    for text in blocks(page, "", "bash", "sh")
    for line in text.splitlines()
    if line.startswith(("tale ", "srun tale "))
]


@pytest.mark.parametrize("page", WITH_PYTHON, ids=name_of)
def test_the_python_of_a_page_runs_from_top_to_bottom(page: Path, tmp_path: Path) -> None:
    rows = word_problems(12)
    rows[0] = {
        "question": "A robe takes 2 bolts of blue fiber and half that much white. How many bolts in all?",
        "answer": "3",
    }
    (tmp_path / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "page.py").write_text("\n".join(blocks(page, "python")))
    with ScriptedServer(SolverReply({r["question"]: r["answer"] for r in rows})) as server:
        env = {**os.environ, "OPENAI_API_BASE": server.url, "OPENAI_API_KEY": "none", "HOME": str(tmp_path)}
        result = subprocess.run(
            [sys.executable, "page.py"], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300
        )
    assert result.returncode == 0, result.stderr
    assert result.stdout


@pytest.mark.parametrize(("page", "line"), COMMAND_LINES)
def test_a_command_of_a_page_has_the_flags_it_is_given(page: str, line: str) -> None:
    words = shlex.split(line.removeprefix("srun ").partition(" && ")[0])[1:]
    if words[0].startswith("--"):
        return
    options = {opt for parameter in COMMANDS[words[0]].params for opt in (*parameter.opts, *parameter.secondary_opts)}
    assert {word for word in words if word.startswith("--")} <= options, page


WITH_COMMANDS = ["README.md", "docs/guides/evaluate.md", "docs/index.md"]
"""Pages for newcomers, whose commands need nothing but a provider. Those of other pages need a cluster, a batch API,
another environment or minutes of training: tests of commands run them, and here their flags are checked."""


@pytest.mark.parametrize("page", WITH_COMMANDS)
def test_the_commands_of_a_page_run_one_after_another(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = word_problems(12)
    questions = "".join(json.dumps(row) + "\n" for row in rows)
    for name in ("gsm8k_test.jsonl", "gsm8k_train.jsonl", "questions.jsonl"):
        marked = questions if name == "questions.jsonl" else questions.replace('"answer": "', '"answer": "#### ')
        (tmp_path / name).write_text(marked)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("webbrowser.open", lambda address: True)
    for name, value in streams._ENVIRONMENT.items():  # set as the command would, and put back afterwards
        monkeypatch.setenv(name, os.environ.get(name, value))
    monkeypatch.setenv("TALE_DATA", str(tmp_path))
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    monkeypatch.setenv("TALE_YES", "1")  # where a terminal would be asked whether a sample may be paid
    codes = {}
    with ScriptedServer(SolverReply({r["question"]: r["answer"] for r in rows})) as server:
        monkeypatch.setenv("OPENAI_API_BASE", server.url)
        for where, line in COMMAND_LINES:
            if where == page:
                codes[line] = main(shlex.split(line.removeprefix("tale ")))
    captured = capsys.readouterr()
    assert codes == dict.fromkeys(codes, 0), captured.err[-2000:]
    assert "Traceback" not in captured.err


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "yaml", "text")], ids=name_of)
def test_what_needs_other_machines_has_its_form_and_its_flags(page: Path) -> None:
    for text in blocks(page, "yaml"):
        assert isinstance(yaml.safe_load(text), dict)
    for text in blocks(page, "yaml", "text"):
        for command in re.findall(r"^ *-? *(tale .*(?:\n +(?:\S|--).*)*)", text, re.MULTILINE):
            words = command.partition("  #")[0].replace("\\\n", " ").split()
            known = {opt for parameter in COMMANDS[words[1]].params for opt in parameter.opts}
            assert {word for word in words if word.startswith("--")} <= known, text


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_links_of_a_page_lead_to_files(page: Path) -> None:
    targets = [link for link in LINK.findall(page.read_text(encoding="utf-8")) if "://" not in link]
    assert [link for link in targets if not (page.parent / link).exists()] == []


def test_the_manual_lists_every_page() -> None:
    nav = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    pages = [page.relative_to(ROOT / "docs").as_posix() for page in PAGES[1:]]
    assert [page for page in pages if page not in nav] == []


def test_the_command_lines_reference_is_that_of_the_commands() -> None:
    assert (ROOT / "docs/reference/cli.md").read_text(encoding="utf-8") == hooks().command_line()


def test_llms_txt_has_a_sentence_and_a_file_for_each_page(tmp_path: Path) -> None:
    names = [page.relative_to(ROOT / "docs").as_posix() for page in PAGES[1:]]
    config = {"site_name": "tale-dspy", "site_description": "Short.", "docs_dir": ROOT / "docs", "site_dir": tmp_path}
    hooks().on_post_build({**config, "nav": [{"Start": names[0]}, {"Guides": [{"a": name} for name in names[1:]]}]})
    lines = (tmp_path / "llms.txt").read_text(encoding="utf-8").splitlines()
    assert lines[:5] == ["# tale-dspy", "", "> Short.", "", "## Manual"]
    linked = {LINK.findall(line)[0]: line.partition("): ")[2] for line in lines if line.startswith("- ")}
    assert list(linked) == names and all((tmp_path / name).is_file() for name in names)
    assert [name for name, sentence in linked.items() if not sentence.endswith(".")] == []


def test_which_model_takes_what_is_what_doctor_prints(capsys: pytest.CaptureFixture[str]) -> None:
    page = (ROOT / "docs/reference/controls.md").read_text(encoding="utf-8")
    assert page == hooks().reasoning_controls()
    assert main(["doctor", "--controls"]) == 0
    table = capsys.readouterr().out
    assert table.startswith("| Models | Budget is sent as |") and page.endswith(table)


def test_the_short_table_of_the_readme_says_what_the_map_says() -> None:
    rows = re.findall(r"^\| ([^|]+) \| `([^`/]+/[^`]+)` \| ([^|]+) \|", PAGES[0].read_text(encoding="utf-8"), re.M)
    assert len(rows) >= 6
    for name, model, taken in rows:
        control = find_control(model)
        assert control is not None, (name, model)
        words = (*(["none"] if control.off is not None else []), *control.words)
        assert taken.strip() == (", ".join(words) if control.words else "tokens"), (name, model)


def test_the_readme_can_be_read_in_one_sitting() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120
