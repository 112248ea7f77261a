"""Flags mean the same in every command, and each says what it does."""

import dataclasses
import re

import pytest
import typer

from tale_dspy.cli import flags
from tale_dspy.cli.main import app, main
from tale_dspy.cli.plan import Plan
from tale_dspy.optimizers.budget_search import SAMPLERS
from tale_dspy.programs.catalog import command_line_programs

COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_flag_is_explained(command: str) -> None:
    # Those of typer itself, such as --help, hold a text as well.
    assert [p.name for p in COMMANDS[command].params if not p.help] == []


@pytest.mark.parametrize("command", ["eval", "search", "elasticity", "tune", "train"])
def test_what_a_newcomer_needs_fits_on_the_first_screen(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main([command, "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    head = next(i for i, line in enumerate(lines) if "Needed first" in line)
    last = next(i for i, line in enumerate(lines[head:], head) if line.startswith("╰"))
    assert last < 24 and max(map(len, lines)) <= 80
    flags_shown = [line for line in lines[head + 1 : last] if " --" in line]
    assert len(flags_shown) >= 8 and last - head - 1 - len(flags_shown) <= 3  # nearly all on a line of their own
    assert "..." not in lines[6] or "PROGRAM is" in " ".join(lines[last:])  # what is shortened stands in full below


def test_help_names_every_program_and_every_sampler() -> None:
    words = re.findall(r"[\w:.-]+", str(flags.EPILOGS["eval"]))
    assert set(command_line_programs()) - set(words) == set()
    sampler_help = next(p.help for p in COMMANDS["search"].params if p.name == "sampler")
    assert set(SAMPLERS) - set(re.findall(r"\w+", sampler_help)) == {"effort"}  # that of --efforts, whatever is chosen


@pytest.mark.parametrize("command", COMMANDS)
def test_a_newcomer_needs_ten_flags_at_most(command: str) -> None:
    needed = [p.name for p in COMMANDS[command].params if getattr(p, "rich_help_panel", None) == "Needed first"]
    assert len(needed) <= 10


CONTRACT = (
    "data model inputs gold api_base engine limit offset concurrency temperature max_tokens timeout retries metric "
    "max_usd price_in price_out max_total_output_tokens repeats preset cache seed out json allow_leak vanilla"
)


def test_eval_has_the_contracts_flags() -> None:
    assert set(CONTRACT.split()) - {p.name for p in COMMANDS["eval"].params} == set()


ONLY_EVAL = {"vanilla", "train_data", "train_limit"}
ONLY_RUNS = {"retry_errors", "repeats", "preset", "allow_leak"}


@pytest.mark.parametrize(
    ("command", "missing", "otherwise"),
    [
        ("eval", set(), set()),
        ("elasticity", {*ONLY_EVAL, "shard", "ray", "shards", "batch", "batch_wait"}, {"program"}),
        ("search", ONLY_EVAL | ONLY_RUNS, {"program", "metric"}),
    ],
)
def test_commands_that_ask_questions_share_the_flags_of_a_plan(
    command: str, missing: set[str], otherwise: set[str]
) -> None:
    planned = {f.name: f.default for f in dataclasses.fields(Plan)}
    params = {p.name: p for p in COMMANDS[command].params}
    assert planned.keys() - params.keys() == {"api_key", *missing}
    eval_help = {p.name: p.help for p in COMMANDS["eval"].params}
    assert {name for name in planned.keys() & params.keys() if params[name].help != eval_help[name]} == otherwise
    shared = {name for name in planned.keys() & params.keys() - otherwise if planned[name] is not dataclasses.MISSING}
    assert {name: params[name].default for name in shared} == {name: planned[name] for name in shared}


def test_reproduce_shares_the_flags_of_eval() -> None:
    help_texts = {command: {p.name: p.help for p in COMMANDS[command].params} for command in ("eval", "reproduce")}
    both = (help_texts["eval"].keys() & help_texts["reproduce"].keys()) - {"model", "out"}
    assert both >= {"api_base", "max_usd", "price_in"}
    assert {name: help_texts["eval"][name] for name in both} == {name: help_texts["reproduce"][name] for name in both}


def test_flags_are_declared_once() -> None:
    texts = [hint.__metadata__[0].help for hint in vars(flags).values() if "__metadata__" in dir(hint)]
    assert len(texts) > 25 and len(set(texts)) == len(texts)
