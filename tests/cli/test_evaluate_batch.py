"""`tale eval --batch` and `tale search --batch`: left with 4, continued by the same command, forecast beforehand."""

import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tale_dspy.testing.batches import BatchFaults, BatchServer
from tale_dspy.testing.problems import SolverReply, word_problems

ROWS = word_problems(12)


@pytest.fixture
def batch_server() -> Iterator[BatchServer]:
    with BatchServer(SolverReply({row["question"]: row["answer"] for row in ROWS})) as server:
        yield server


@pytest.fixture
def flags(batch_server: BatchServer, tmp_path: Path) -> list[str]:
    """Flags that ask the server through batches."""
    (tmp_path / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    model = ["--model", "openai/gpt-4o-mini", "--engine", "auto", "--no-cache"]
    return ["--data", "questions.jsonl", "--api-base", batch_server.url, *model, "--batch", "--out", "run"]


def test_a_run_is_left_with_4_and_continued(tale: Any, flags: list[str], batch_server: BatchServer) -> None:
    batch_server.batch_faults = BatchFaults(delay=3600)
    waiting = tale("eval", "cot", *flags, "--batch-wait", "0", "--json")
    assert waiting.code == 4 and waiting.out == ""
    assert "1 batch is with the provider: the same command collects the answers and continues" in waiting.err
    unbatched = tale("eval", "cot", *(flag for flag in flags if flag != "--batch"))
    assert unbatched.code == 2 and batch_server.stats.requests == 0
    assert "whose answers to 12 requests are paid for: give --batch, too, which collects them" in unbatched.sentence
    batch_server.batch_faults = BatchFaults()
    result = tale("eval", "cot", *flags, "--json")
    assert result.code == 0 and result.json["n"] == result.json["calls"] == batch_server.batch_stats.paid_calls == 12
    assert result.json["batch_calls"] == 12


def test_sigterm_leaves_with_4(
    process: Callable[..., subprocess.Popen[str]], flags: list[str], batch_server: BatchServer
) -> None:
    batch_server.batch_faults = BatchFaults(delay=3600)
    run = process("eval", "cot", *flags)
    assert run.stderr is not None
    assert "round 1: 12 requests in 1 batch" in run.stderr.readline()
    run.send_signal(signal.SIGTERM)
    _, err = run.communicate(timeout=30)
    assert run.returncode == 4 and "the same command collects" in err


def test_a_search_goes_through_four_rounds(tale: Any, flags: list[str], batch_server: BatchServer) -> None:
    result = tale("search", *flags, "--json")
    assert result.code == 0 and result.json["n"] == 12 and result.json["gains"] == {}
    assert 2 <= batch_server.batch_stats.batches <= 4 and batch_server.stats.requests == 0


def test_a_dry_run_tells_rounds_and_half_the_price(tale: Any, flags: list[str], batch_server: BatchServer) -> None:
    plain = [flag for flag in flags if flag != "--batch"]
    usual = tale("eval", "tale-ep", *plain, "--dry-run", "--yes", "--json").json
    output = tale("eval", "tale-ep", *plain, "--batch", "--dry-run", "--from", "run-sample", "--json").json
    assert output["batch_rounds"] == 2 and "batch_rounds" not in usual
    assert output["cost_usd"] == pytest.approx(0.5 * usual["cost_usd"]) and batch_server.batch_stats.batches == 0


def test_a_provider_without_batches_is_named(tale: Any, flags: list[str]) -> None:
    refused = tale("eval", "cot", *flags, "--model", "gemini/gemini-2.5-flash")
    assert refused.code == 2 and "gemini has no batch API that is known here" in refused.sentence
