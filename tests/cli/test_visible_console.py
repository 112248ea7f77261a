"""Whatever is printed, by whatever of rich's parts, commands no terminal."""

import ast
import json
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

import tale_dspy
from tale_dspy.cli.console import console
from tale_dspy.testing import ScriptedServer

if TYPE_CHECKING:
    from conftest import Tale

HOSTILE = {
    "colour": "a\x1b[31mred",
    "title": "\x1b]0;owned\x07",
    "link": "\x1b]8;;http://evil\x1b\\x",
    "bell": "a\x07b",
    "backspaces": "good\b\b\b\bbad",
    "C1": "a\x9b31mb",
    "bidi": "a\u202eb",
    "isolate": "a\u2066b",
    "zero width": "pass\u200bword",
    "tags": "a\U000e0041b",
    "delete": "a\x7fb",
    "lone surrogate": "a\ud800b",
}


def printed(part: object, capsys: pytest.CaptureFixture[str]) -> str:
    screen = console()
    screen.print(part)
    return capsys.readouterr().out


def commands(text: str) -> list[str]:
    return [c for c in text if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Cn")]


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_no_text_reaches_the_terminal_as_a_command(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    table = Table(text, title=text, caption=text)
    table.add_row(text)
    table.add_row(Text(text))
    table.add_row(Text(text, style="bold"), end_section=True)
    for part in (text, Text(text), table, Panel(text, title=text), Panel(Text(text), subtitle=text)):
        assert commands(printed(part, capsys)) == []


@pytest.mark.parametrize("text", ["[bold]x[/bold]", "[/]", "[link=http://evil]x", ":smile:", "[[18]]", "runs/[a]"])
def test_brackets_are_text_and_no_markup(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    table = Table()
    table.add_column(text)
    table.add_row(text)
    assert printed(table, capsys).count(text) == 2
    assert printed(text, capsys).strip() == text


# --- nothing passes by ------------------------------------------------------------------------------------------------

PACKAGE = Path(tale_dspy.__file__).parent
DOORS = {"cli/console.py", "cli/visible_console.py"}
WRITES = {
    "cli/main.py": "typer.echo",  # the version
    "cli/diff.py": "typer.echo",  # CSV, made visible
}


def calls(tree: ast.AST) -> list[str]:
    return [ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)]


def test_commands_print_through_one_door() -> None:
    outside = [p for p in sorted(PACKAGE.rglob("*.py")) if str(p.relative_to(PACKAGE)) not in DOORS]
    printing = {
        (name, call)
        for path in outside
        for name in [str(path.relative_to(PACKAGE))]
        if name.startswith(("cli/", "reports/"))
        for call in calls(ast.parse(path.read_text(encoding="utf-8")))
        if call in ("print", "rich.print", "Console", "typer.echo", "typer.secho", "click.echo", "sys.stdout.write")
    }
    assert printing == set(WRITES.items())


def test_a_run_of_hostile_texts_is_shown_compared_and_listed(tale: "Tale") -> None:
    hostile = "".join(HOSTILE.values()).replace("\ud800", "")  # no file can hold half a character
    rows = [{"question": f"{hostile} {n}", "answer": "4"} for n in range(3)]
    Path("q.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    outputs = []
    for name, reply in (("a", f"{hostile} [[4]]"), ("b", f"{hostile} [[{hostile}]]")):
        with ScriptedServer(reply) as server:
            options = ("--data", "q.jsonl", "--model", f"openai/x\u202e[bold]{name}", "--api-base", server.url)
            outputs.append(tale("eval", "cot", *options, "--out", f"runs/{name}"))
    record = json.loads(Path("runs/a/records.jsonl").read_text(encoding="utf-8").splitlines()[0])
    for command in (
        ("show", "runs/a"),
        ("show", "runs/a", record["id"]),
        ("report", "runs/a", "runs/b"),
        ("diff", "runs/a", "runs/b"),
        ("diff", "runs/a", "runs/b", "--csv"),
        ("runs",),
    ):
        outputs.append(tale(*command))
    assert [one.err for one in outputs if one.code] == []
    for command in (("show", "runs/\x1b[31m"), ("report", "\u202e.x"), ("eval", hostile)):
        outputs.append(tale(*command))
    assert [commands(one.out + one.err) for one in outputs if commands(one.out + one.err)] == []
