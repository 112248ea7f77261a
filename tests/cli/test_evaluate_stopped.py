"""`tale eval` stopped by a cap, by Ctrl-C or by a full disk: what was finished is kept, the same command goes on."""

import json
import os
import resource
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tale_dspy.testing import Request, ScriptedServer, SolverReply

PRICES = ("--price-in", "1", "--price-out", "2")

Start = Callable[..., subprocess.Popen[str]]


def ids(folder: Path) -> list[str]:
    return [json.loads(line)["id"] for line in (folder / "records.jsonl").read_text().splitlines()]


def test_a_cap_is_3_with_the_json_of_what_was_finished(tale: Any, task_flags: list[str], server: Any) -> None:
    command = ["eval", "cot", *task_flags, *PRICES, "--max-tokens", "200", "--concurrency", "2", "--out", "a", "--json"]
    result = tale(*command, "--max-usd", "0.0015")
    output = result.json
    assert result.code == 3 and output["stopped"] == "cap" and 0 < output["n"] < 10
    assert "spend cap reached" in result.sentence and "kept in a, the same command continues" in result.sentence
    assert server.stats.prompt_tokens * 1e-6 + server.stats.completion_tokens * 2e-6 <= 0.0015
    while tale(*command, "--max-usd", "0.0015").code == 3:
        pass
    assert sorted(ids(Path("a"))) == sorted(set(ids(Path("a")))) and len(ids(Path("a"))) == server.stats.requests == 10


def test_a_cap_in_tokens_is_3(tale: Any, task_flags: list[str], server: Any) -> None:
    result = tale("eval", "cot", *task_flags, "--max-tokens", "200", "--max-total-output-tokens", "500")
    assert result.code == 3 and "max_total_output_tokens=500" in result.err
    assert "not finished: cap" in " ".join(result.out.split())
    assert server.stats.completion_tokens <= 500


def test_our_own_warnings_reach_stderr(process: Start, task_flags: list[str]) -> None:
    flags = [*PRICES, "--max-tokens", "150", "--concurrency", "1", "--max-usd", "0.0012"]
    with process("eval", "cot", *task_flags, *flags, "--json") as running:
        out, err = running.communicate()
    assert running.returncode == 3 and json.loads(out)["stopped"] == "cap"
    warnings = [line for line in err.splitlines() if "of the spend cap is used" in line]
    assert warnings and all(line.startswith(("50 %", "80 %")) for line in warnings)
    assert err.count("\n") == len(warnings) + 1


class Interrupting:
    """A solver that sends a process a signal, Ctrl-C's at first, when the fifth request comes, once."""

    def __init__(self, bank: dict[str, str], ending: signal.Signals = signal.SIGINT) -> None:
        self.solve = SolverReply(bank)
        self.pid, self.ending = 0, ending

    def __call__(self, request: Request) -> Any:
        if request.n >= 5 and self.pid:
            os.kill(self.pid, self.ending)
            self.pid = 0
        return self.solve(request)


def interrupted(found: dict[str, Any], folder: Path) -> bool:
    return found["stopped"] == "interrupted" and 3 <= found["n"] == len(set(ids(folder))) <= 6


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_are_130_and_the_same_command_finishes(
    ending: signal.Signals, process: Start, task_flags: list[str], server: Any, tmp_path: Path
) -> None:
    reply = Interrupting(server.bank, ending)
    with ScriptedServer(reply, latency=0.05) as slow:
        command = ["eval", "cot", *task_flags, "--api-base", slow.url, "--concurrency", "2", "--out", "a", "--json"]
        with process(*command) as running:
            reply.pid = running.pid
            out, err = running.communicate()
        assert running.returncode == 130 and interrupted(json.loads(out), tmp_path / "a")
        assert err.splitlines()[-1] == "interrupted: what was finished is kept, the same command continues"
        with process(*command) as running:
            out, err = running.communicate()
        assert (running.returncode, json.loads(out)["n"], json.loads(out)["stopped"]) == (0, 10, None)
        assert slow.stats.requests <= 10 + 2
    assert len(ids(tmp_path / "a")) == len(set(ids(tmp_path / "a"))) == 10


@pytest.fixture
def heeds_ctrl_c() -> Iterator[None]:
    """A process started in the background may ignore SIGINT."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeds_ctrl_c")
def test_ctrl_c_ends_a_run_over_litellm_too(tale: Any, task_flags: list[str], server: Any) -> None:
    reply = Interrupting(server.bank)
    with ScriptedServer(reply, latency=0.05) as slow:
        command = ["eval", "cot", *task_flags, "--api-base", slow.url, "--concurrency", "2", "--out", "a", "--json"]
        command += ["--engine", "litellm", "--no-cache"]
        reply.pid = os.getpid()
        result = tale(*command)
        assert result.code == 130 and interrupted(result.json, Path("a"))
        assert tale(*command).json["n"] == len(set(ids(Path("a")))) == 10
        assert slow.stats.requests <= 10 + 2


def test_ctrl_c_before_the_first_answer_leaves_nothing_to_print(tale: Any, task_flags: list[str]) -> None:
    Path("pressing.py").write_text("raise KeyboardInterrupt")
    result = tale("eval", "pressing:x", *task_flags, "--json")
    assert (result.code, result.out) == (130, "") and result.sentence.startswith("interrupted")


@pytest.mark.parametrize("room", [100, 3_000, 9_000])
def test_a_full_disk_is_1_and_leaves_whole_lines(
    room: int, process: Start, tale: Any, task_flags: list[str], server: Any
) -> None:
    def fill() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))

    command = ["eval", "cot", *task_flags, "--no-cache", "--concurrency", "2", "--out", "a", "--json"]
    with process(*command, preexec_fn=fill) as running:
        out, err = running.communicate()
    assert (running.returncode, out) == (1, "")
    assert err.startswith("error: a/") and err.endswith("cannot be written: File too large\n")
    for name in ("records.jsonl", "calls.jsonl"):
        written = Path("a", name).read_bytes() if Path("a", name).exists() else b""
        assert written == b"" or written.endswith(b"}\n")
    assert tale(*command).json["n"] == len(set(ids(Path("a")))) == 10
    assert server.stats.requests <= 10 + 2
