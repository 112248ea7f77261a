"""Runs through a batch API: the records of a run without one, each call paid once, whatever happens in between."""

import json
from pathlib import Path
from typing import Any

import dspy
import pytest
from batched import REPLY, batched_run, examples, figures, language_model

import tale_dspy
from tale_dspy.errors import BackendError, BatchWaiting, UsageError
from tale_dspy.runs.folder import JournalFolder
from tale_dspy.testing.batches import BatchFaults, BatchServer

FILES = ("batches", "calls", "records")
FAULTS = BatchFaults(expired=0.1, failed=0.05, missing=0.03, doubled=0.1, shuffled=True)


@pytest.mark.parametrize("engine", ["auto", "litellm"])
@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_records_are_those_of_a_run_without_a_batch(tmp_path: Path, provider: str, engine: str) -> None:
    with BatchServer(REPLY, batch_faults=FAULTS) as server:
        run = batched_run(server, 40, tmp_path / "b", provider=provider, engine=engine)
        stats = server.batch_stats
        assert stats.paid_calls == 80 and max(stats.paid.values()) == 1 and max(stats.custom_ids.values()) == 1
        assert stats.by_fault.total() > 5 and server.stats.requests == 0
    assert run.summary["calls"] == run.summary["paid_calls"] == 80
    if provider == "openai":
        with BatchServer(REPLY) as server:
            plain = batched_run(server, 40, tmp_path / "plain", engine=engine, batch=False)
        assert figures(run) == figures(plain)
        assert run.summary["cost_usd"] == pytest.approx(0.5 * plain.summary["cost_usd"])
    calls = [json.loads(line) for line in (tmp_path / "b" / "calls.jsonl").read_text().splitlines()]
    assert {c["batch"] for c in calls} == {True} and {c["role"] for c in calls} == {"estimate", "reason"}


def test_the_responses_api_goes_through_batches_too(tmp_path: Path) -> None:
    with BatchServer(REPLY, batch_faults=FAULTS, record=0) as server:
        chat = batched_run(server, 30, tmp_path / "chat")
    with BatchServer(REPLY, batch_faults=FAULTS) as server:
        run = batched_run(server, 30, tmp_path / "responses", lm=language_model(server, model_type="responses"))
        stats = server.batch_stats
        assert stats.paid_calls == 60 and max(stats.paid.values()) == 1 and max(stats.custom_ids.values()) == 1
        assert server.stats.requests == 0
    assert figures(run) == figures(chat) and run.summary["cost_usd"] == chat.summary["cost_usd"] > 0


def test_tale_ep_takes_two_rounds_and_the_ledger_marks_them(tmp_path: Path) -> None:
    with BatchServer(REPLY) as server, tale_dspy.track() as ledger:
        batched_run(server, 30, tmp_path)
        assert server.batch_stats.batches == 2
    assert {name: role.batch_calls for name, role in ledger.roles.items()} == {"estimate": 30, "reason": 30}


def test_a_wait_that_ends_leaves_all_submitted_and_continues(tmp_path: Path) -> None:
    with BatchServer(REPLY, batch_faults=BatchFaults(delay=3600)) as server:
        for _ in range(3):
            with pytest.raises(BatchWaiting, match="1 batch is with the provider: the same command"):
                batched_run(server, 10, tmp_path, batch_wait=0)
        assert server.batch_stats.batches == 1
        server.batch_faults = BatchFaults()
        assert batched_run(server, 10, tmp_path).summary["n"] == 10
        assert server.batch_stats.paid_calls == 20 and server.batch_stats.batches == 2
    assert json.loads((tmp_path / "summary.json").read_text())["stopped"] is None


def test_requests_that_fail_for_ever_are_errors_of_their_questions(tmp_path: Path) -> None:
    with BatchServer(REPLY, batch_faults=BatchFaults(failed=0.2, refused=0.2, tries=99)) as server:
        run = batched_run(server, 20, tmp_path, program="cot", retries=2)
        stats = server.batch_stats
    assert stats.batches == 3
    assert run.summary["outcomes"]["error"] == stats.by_fault["refused"] + stats.by_fault["failed"] // 3 > 2
    assert run.summary["cost_usd"] is not None and stats.paid_calls == 20 - run.summary["outcomes"]["error"]


def test_caps_are_reserved_a_round_and_what_does_not_fit_waits(tmp_path: Path) -> None:
    """The worst case of all is far above the cap, what they use below it."""
    with BatchServer(REPLY) as server:
        run = batched_run(server, 24, tmp_path, program="cot", max_total_output_tokens=12 * 600, max_tokens=600)
        assert run.stopped is None and server.batch_stats.batches > 1
        assert server.batch_stats.completion_tokens <= 12 * 600
        stopped = batched_run(server, 24, tmp_path / "b", program="cot", max_total_output_tokens=700, max_tokens=600)
    assert stopped.stopped == "cap" and 0 < stopped.summary["n"] < 24


def test_half_the_price_is_reserved(tmp_path: Path) -> None:
    price = tale_dspy.Price(input=0.0, output=1e-3)
    with BatchServer(REPLY) as server:
        run = batched_run(server, 10, tmp_path, program="cot", max_usd=3.01, max_tokens=600, price=price)
        assert server.batch_stats.batches == 1  # ten times 600 tokens at half the price
    planned = json.loads((tmp_path / "batches.jsonl").read_text().splitlines()[0])
    assert planned["reserved_usd"] == pytest.approx(3.0)
    assert run.summary["cost_usd"] == pytest.approx(0.5e-3 * server.batch_stats.completion_tokens)


class DyingDisk:
    """Lets so many lines be written, and none after."""

    def __init__(self, lines: int) -> None:
        self.lines = lines
        self.write = JournalFolder.append

    def append(self, folder: JournalFolder, name: str, row: dict[str, Any], *, to_disk: bool = False) -> None:
        self.lines -= 1
        if self.lines < 0:
            raise BackendError("nothing is written any more")
        self.write(folder, name, row, to_disk=to_disk)


def appends_to(disk: DyingDisk) -> Any:
    return lambda *args, **options: disk.append(*args, **options)


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_ended_before_any_line_a_run_pays_nothing_twice(
    tmp_path: Path, provider: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever was written last: planned, submitted, a call, a record, collected."""
    faults = BatchFaults(expired=0.2, failed=0.2, doubled=0.2, shuffled=True)
    with BatchServer(REPLY) as server:
        whole = batched_run(server, 4, tmp_path / "whole", provider=provider)
        written = sum(len((tmp_path / "whole" / f"{name}.jsonl").read_text().splitlines()) for name in FILES)
    for lines in range(0, written, 2):
        with BatchServer(REPLY, batch_faults=faults) as server:
            out = tmp_path / str(lines)
            with monkeypatch.context() as patch, pytest.raises(BackendError, match="nothing is written"):
                patch.setattr(JournalFolder, "append", appends_to(DyingDisk(lines)))
                batched_run(server, 4, out, provider=provider)
            assert figures(batched_run(server, 4, out, provider=provider)) == figures(whole), lines
            stats = server.batch_stats
            assert stats.paid_calls == 8 and max(stats.custom_ids.values()) == 1, lines
        assert json.loads((out / "batches.jsonl").read_text().splitlines()[-1])["event"] == "collected"


class Waitless(dspy.Module):  # type: ignore[misc]
    """A program without `aforward`."""

    def forward(self, **kwargs: Any) -> Any:
        return dspy.Prediction(answer="4")


class Blocking(dspy.Module):  # type: ignore[misc]
    """A program whose call does not wait."""

    def __init__(self) -> None:
        super().__init__()
        self.predict = dspy.Predict("question -> answer")

    async def aforward(self, **kwargs: Any) -> Any:
        return self.predict(**kwargs)


def test_what_cannot_wait_is_refused(tmp_path: Path) -> None:
    with BatchServer(REPLY) as server:
        lm = language_model(server)
        with pytest.raises(UsageError, match="batch needs out"):
            tale_dspy.evaluate(tale_dspy.VanillaCoT("question -> answer"), examples(2), lm=lm, batch=True)
        with pytest.raises(UsageError, match="Waitless has none"):
            tale_dspy.evaluate(Waitless(), examples(2), lm=lm, batch=True, out=tmp_path / "a")
        with pytest.raises(BackendError, match="called without await"):
            tale_dspy.evaluate(Blocking(), examples(2), lm=lm, batch=True, out=tmp_path / "b")
        with pytest.raises(UsageError, match="batch_wait must be"):
            tale_dspy.evaluate(Waitless(), examples(2), lm=lm, batch=True, batch_wait=-1, out=tmp_path / "c")
        assert server.stats.requests == 0
