"""A command line to type into: `tale("eval", "cot", ...)` in this process, `process` for a real one."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from terminal import COMMAND

from tale_dspy.cli import streams
from tale_dspy.cli.main import main


@dataclass(frozen=True)
class Told:
    """What a command said and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON value on stdout, in strict JSON."""
        return json.loads(self.out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))

    @property
    def sentence(self) -> str:
        """The one line on stderr."""
        assert self.err.count("\n") == 1 and "Traceback" not in self.err, self.err
        return self.err.strip()


Tale = Callable[..., Told]


@pytest.fixture
def tale(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tale]:
    """Run a command in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    for name, value in streams._ENVIRONMENT.items():  # set as the command would, and put back afterwards
        monkeypatch.setenv(name, os.environ.get(name, value))

    def run(*args: object) -> Told:
        code = main([str(a) for a in args])
        return Told(code, *capsys.readouterr())

    yield run
    if "dspy" in sys.modules:
        sys.modules["dspy"].enable_logging()


@pytest.fixture
def task_flags(server: Any, tmp_path: Path) -> list[str]:
    """Flags that ask `server` its first ten questions, on DSPy's own engine."""
    rows = [{"question": q, "answer": a} for q, a in list(server.bank.items())[:10]]
    (tmp_path / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return ["--data", "questions.jsonl", "--model", "openai/scripted", "--api-base", server.url, "--engine", "auto"]


@pytest.fixture
def process(tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """Start a command as a process of its own, in the same folder."""

    def start(*args: object, **options: Any) -> subprocess.Popen[str]:
        pipes: dict[str, Any] = {"cwd": tmp_path, "text": True, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen([*COMMAND, *map(str, args)], env=dict(os.environ), **{**pipes, **options})

    return start
