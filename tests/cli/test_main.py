"""The command line as a whole: help at once, exit codes, one sentence on stderr."""

import importlib.metadata
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from tale_dspy.accounting.ledger import Ledger
from tale_dspy.cli.main import exits, main
from tale_dspy.errors import BackendError, MissingExtraError, SpendCapReached, UsageError

HELP = """
import sys
from tale_dspy.cli.main import main
code = main(sys.argv[1:])
print([m for m in ("dspy", "litellm", "openai", "numpy", "matplotlib") if m in sys.modules], file=sys.stderr)
raise SystemExit(code)
"""


@pytest.mark.parametrize("command", ["", "eval", "diff", "report", "gate", "reproduce", "demo"])
def test_help_comes_at_once_and_loads_neither_dspy_nor_litellm(command: str) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    args = [sys.executable, "-c", HELP, *command.split(), "--help"]
    result = subprocess.run(args, capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert "Usage: tale" in result.stdout and result.stderr == "[]\n"
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1.5  # seconds of CPU


def test_the_version_is_that_of_the_distribution(tale: Any) -> None:
    assert tale("--version").out.strip() == importlib.metadata.version("tale-dspy")


@pytest.mark.parametrize(
    "args", [[], ["nonsense"], ["eval"], ["eval", "cot"], ["eval", "cot", "--nonsense", "1"], ["diff", "a"], ["report"]]
)
def test_wrong_usage_is_2_without_a_traceback(args: list[str], tale: Any) -> None:
    result = tale(*args)
    assert result.code == 2
    assert "Traceback" not in result.err + result.out


@pytest.mark.parametrize(
    ("raised", "code", "sentence"),
    [
        (UsageError("no\nsuch  thing"), 2, "error: no such thing"),
        (BackendError("the key is refused"), 1, "error: the key is refused"),
        (MissingExtraError("matplotlib", "report"), 1, "error: matplotlib is not installed: pip install "),
        (SpendCapReached("cap reached", Ledger()), 3, "cap reached"),
        (KeyboardInterrupt(), 130, "interrupted: what was finished is kept"),
        (PermissionError(13, "Permission denied", "/x/y"), 1, "error: /x/y cannot be used: Permission denied"),
        (OSError("odd"), 1, "error: stdout cannot be used: odd"),
        (BrokenPipeError(), 1, ""),
    ],
)
def test_what_a_command_raises_becomes_a_code_and_a_sentence(
    raised: BaseException, code: int, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def command() -> int:
        raise raised

    with pytest.raises(typer.Exit) as ended:
        exits(command)()
    err = capsys.readouterr().err
    assert ended.value.exit_code == code
    assert err.startswith(sentence) and err.count("\n") == bool(sentence)


@pytest.mark.parametrize(("given", "code"), [(None, 0), (0, 0), (3, 3)])
def test_what_a_command_returns_is_its_code(given: int | None, code: int) -> None:
    with pytest.raises(typer.Exit) as ended:
        exits(lambda: given)()
    assert ended.value.exit_code == code


def test_a_bug_is_not_hidden() -> None:
    def command() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        exits(command)()


def test_a_reader_that_leaves_early_is_no_error(process: Callable[..., subprocess.Popen[str]]) -> None:
    with process("reproduce", "list") as running:
        assert running.stdout and running.stderr
        running.stdout.close()
        assert (running.wait(), running.stderr.read()) == (1, "")


@pytest.mark.parametrize("full", [p for p in [Path("/dev/full")] if p.exists()])
def test_a_full_disk_behind_stdout_is_said(full: Path, process: Callable[..., subprocess.Popen[str]]) -> None:
    with full.open("w") as stdout, process("reproduce", "list", stdout=stdout) as running:
        assert running.stderr
        err = running.stderr.read()
    assert (running.returncode, err) == (1, "error: stdout cannot be used: No space left on device\n")


def test_arguments_are_the_processes_where_none_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["tale", "diff", "/no/such/run", "/no/such/run"])
    assert main() == 2
