"""Who may write to the screen, and how a process ends that gave up a request."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

NOISE = """
import logging, sys, warnings
from tale_dspy.cli import streams
streams.set_up()
import dspy
for name in ("LiteLLM", "LiteLLM Router", "asyncio", "httpx", "openai"):
    logging.getLogger(name).error("noise of %s", name)
warnings.warn_explicit("noise", UserWarning, "main.py", 1, module="pydantic.main")
warnings.warn_explicit("noise", DeprecationWarning, "x.py", 1, module="litellm.utils")
logging.getLogger("tale_dspy.accounting.ledger").warning("half of the cap")
logging.getLogger("tale_dspy.runs").warning("the server said %s", "\\x1b[2J")
logging.getLogger("mine").info("noise")
warnings.warn_explicit("a warning of your own", UserWarning, "mine.py", 1, module="mine")
print("lone \\ud800 surrogate")
"""


def run(code: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], env={**os.environ, **env}, capture_output=True, text=True)


def test_only_our_own_warnings_reach_the_screen() -> None:
    result = run(NOISE)
    lines = result.stderr.splitlines()
    assert lines[:2] == ["half of the cap", "the server said \\x1b[2J"] and "a warning of your own" in lines[2]
    assert "noise" not in result.stderr and result.stdout == "lone \\ud800 surrogate\n"


def test_litellm_is_told_to_be_quiet_unless_the_user_wants_it_loud() -> None:
    code = "import os; from tale_dspy.cli import streams; streams.set_up(); print(os.environ['LITELLM_LOG'])"
    assert run(code).stdout == "CRITICAL\n"
    assert run(code, LITELLM_LOG="DEBUG").stdout == "DEBUG\n"


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_a_closed_stream_is_no_error(closed: str, tmp_path: Path) -> None:
    command = f"{sys.executable} -m tale_dspy.cli.main runs . {closed}"
    result = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")


STUCK = """
import threading
from tale_dspy.cli import streams
class Late:
    def __del__(self):
        print("torn down")
late = Late()
threading.Thread(target=threading.Event().wait, name={name!r}, daemon=True).start()
print("told", end=" ")
streams.leave_at_once(130)
"""


@pytest.mark.parametrize(("name", "code", "out"), [("tale-0", 130, "told "), ("other", 0, "told torn down\n")])
def test_a_process_with_a_request_in_flight_ends_without_tearing_down(name: str, code: int, out: str) -> None:
    result = run(STUCK.format(name=name))
    assert (result.returncode, result.stdout) == (code, out)


@pytest.mark.parametrize("full", [p for p in [Path("/dev/full")] if p.exists()])
def test_what_cannot_be_written_is_dropped_for_good(full: Path) -> None:
    code = "from tale_dspy.cli.streams import drop_stdout\ntry: print('x', flush=True)\nexcept OSError: drop_stdout()"
    with full.open("w") as stdout:
        result = subprocess.run([sys.executable, "-c", code], stdout=stdout, stderr=subprocess.PIPE, text=True)
    assert (result.returncode, result.stderr) == (0, "")
