"""Every block of the README and the manual runs or says why not, and every link leads somewhere."""

import importlib.util
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from manual_pages import PAGES, ROOT, PageRunner, blocks_of, provider
from typer.main import get_command

from tale_dspy.backends.control_registry import find_control
from tale_dspy.cli.main import app, main

LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
COMMANDS: dict[str, Any] = dict(get_command(app).commands)  # type: ignore[attr-defined]


def hooks() -> Any:
    """The module that the manual is built with."""
    spec = importlib.util.spec_from_file_location("hooks", ROOT / "docs/hooks.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


WITH_BLOCKS = [page for page in PAGES if blocks_of(page)]
COMMANDS_OF_PAGES = [
    pytest.param(words, id=f"{name_of(page)}: {' '.join(words)}")
    for page in PAGES
    for block in blocks_of(page)
    for words in block.commands
]


@pytest.mark.parametrize("page", WITH_BLOCKS, ids=name_of)
def test_the_blocks_of_a_page_run_from_top_to_bottom(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with provider(tmp_path, monkeypatch) as address:
        runner = PageRunner(address, monkeypatch)
        for block in blocks_of(page):
            runner.run(block)
    captured = capsys.readouterr()
    assert bool(captured.out) == any(block.is_run for block in blocks_of(page))
    assert "Traceback" not in captured.err


def test_every_block_is_run_or_says_why_not(capsys: pytest.CaptureFixture[str]) -> None:
    code = [block for page in PAGES for block in blocks_of(page) if block.language != "text"]
    not_run = [block for block in code if not block.is_run]
    assert [block.text for block in not_run if block.reason is None] == []
    assert [block.reason for block in not_run if block.reason not in block.neighbours] == []  # where a reader sees it
    with capsys.disabled():
        sys.stdout.write(f" {len(code)} blocks: {len(code) - len(not_run)} run, {len(not_run)} with a reason ")
    assert len(code) - len(not_run) >= 28


def test_what_is_no_code_holds_no_command() -> None:
    others = [block for page in PAGES for block in blocks_of(page) if block.language not in ("bash", "python", "yaml")]
    assert {block.language for block in others} <= {"text"}
    assert [block.text for block in others if re.search(r"\b(tale|pip|python) ", block.text)] == []
    indented = re.compile(r"^ {4}(tale|pip|python|make|import) ", re.MULTILINE)
    assert [name_of(page) for page in PAGES if indented.search(page.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize("words", COMMANDS_OF_PAGES)
def test_a_command_of_a_page_has_the_flags_it_is_given(words: list[str]) -> None:
    options = {opt for parameter in COMMANDS[words[0]].params for opt in (*parameter.opts, *parameter.secondary_opts)}
    assert {word for word in words if word.startswith("--")} <= options


def test_files_for_other_programs_have_their_form() -> None:
    files = [block.text for page in PAGES for block in blocks_of(page) if block.language == "yaml"]
    assert len(files) == 4 and all(isinstance(yaml.safe_load(text), dict) for text in files)


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
