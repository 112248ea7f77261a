"""Shards as tasks: what the actor knows, how a shard ends, and two Ray nodes of which one is killed."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from local_ray import Actor, LocalRay, use_local_ray

from tale_dspy.accounting.cap_leases import Room
from tale_dspy.errors import BackendError, DataError, RunFolderError, UsageError
from tale_dspy.runs.files import HELD, lock_folder
from tale_dspy.runs.options import Tally
from tale_dspy.runs.ray_shards import ShardContext, do_shard, run_shards
from tale_dspy.runs.shard_coordinator import Coordinator, SharedLimits
from tale_dspy.runs.shards import Shard

ROOT = Path(__file__).parents[2]


@pytest.fixture
def coordinator(monkeypatch: pytest.MonkeyPatch) -> Actor:
    use_local_ray(monkeypatch)
    return Actor(Coordinator(SharedLimits(max_usd=1.0, rpm=600)))


def do(coordinator: Actor, work: Any, out: Path, limits: SharedLimits = SharedLimits(max_usd=1.0, rpm=600)) -> Any:  # noqa: B008
    return do_shard(work, Shard(2, 4), str(out), os.getcwd(), limits, coordinator)


def test_a_shard_leases_its_caps_and_gives_back_what_it_has_not_used(coordinator: Actor, tmp_path: Path) -> None:
    def work(context: ShardContext) -> bool:
        import dspy

        from tale_dspy.accounting.calls import Call
        from tale_dspy.backends.prices import Price

        assert context.caps is not None and context.limiter is not None
        with context.caps.next_ledger(Price(input=0.0, output=0.01)) as ledger:
            held = ledger.reserve(dspy.utils.DummyLM([]), "", {"max_tokens": 10})
            assert coordinator.target._book.leased.usd == pytest.approx(0.8)
            ledger.settle(held, Call(role="reason", model="m", output_tokens=3, prompt_tokens=0, cost_usd=0.03))
        context.progress(Tally(10, 3, 2, 30, 3, 0.03))
        return False

    outcome = do(coordinator, work, tmp_path)
    assert not outcome.capped and outcome.error is None
    assert coordinator.target._book.leased == Room(pytest.approx(0.03), 0)
    assert coordinator.target.tallies() == {2: Tally(10, 3, 2, 30, 3, 0.03)}


@pytest.mark.parametrize("kind", [UsageError, BackendError, DataError, RunFolderError])
def test_an_error_of_a_shard_comes_back_as_its_sentence(kind: Any, coordinator: Actor, tmp_path: Path) -> None:
    def work(context: ShardContext) -> bool:
        raise kind("a sentence")

    outcome = do(coordinator, work, tmp_path)
    assert (outcome.error, outcome.message) == (kind, "a sentence")


def test_an_interrupted_shard_ends_quietly_and_gives_back_its_lease(coordinator: Actor, tmp_path: Path) -> None:
    def work(context: ShardContext) -> bool:
        raise KeyboardInterrupt

    outcome = do(coordinator, work, tmp_path)
    assert outcome.error is None and coordinator.target._book.leased == Room(0.0, 0)


def test_a_shard_ends_at_the_report_after_the_command_was_told_to(
    coordinator: Actor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tale_dspy.runs.ray_shards.REPORT_S", 0.0)
    reports = []

    def work(context: ShardContext) -> bool:
        for done in range(5):
            context.progress(Tally(9, done))
            reports.append(done)
            if done == 1:
                coordinator.target.end()
        return False

    assert do(coordinator, work, tmp_path).error is None
    assert reports == [0, 1, 2], "the answer to one report is read at the next"


def test_the_lock_file_of_a_lost_worker_is_removed_and_no_other(coordinator: Actor, tmp_path: Path) -> None:
    folder = tmp_path / Shard(2, 4).folder_name
    folder.mkdir()
    lock_file = folder / HELD
    coordinator.target.open(2, ("elsewhere", 7))
    locks = []
    for content in ("7\nelsewhere\n123\n", "8\nelsewhere\n123\n"):
        lock_file.write_text(content)
        do(coordinator, lambda context: locks.append(lock_file.exists()) or False, tmp_path)
    assert locks == [False, True]


def test_a_shard_waits_until_the_worker_before_it_has_left(coordinator: Actor, tmp_path: Path) -> None:
    import threading

    folder = tmp_path / Shard(2, 4).folder_name
    folder.mkdir()
    lock = lock_folder(folder)
    threading.Timer(0.3, lock.release).start()
    outcome = do(coordinator, lambda context: lock.is_locked, tmp_path)
    assert outcome.capped is False and outcome.error is None


# ---- all shards


def finish(context: ShardContext) -> bool:
    context.progress(Tally(1, 1, 1))
    return context.shard.number == 2


def refuse(context: ShardContext) -> bool:
    raise UsageError(f"shard {context.shard} cannot be done")


def lose(context: ShardContext) -> bool:
    raise sys.modules["ray"].exceptions.RayError("the worker died")


def do_all(work: Any, out: Path, looks: list[Any], count: int | None = None) -> Any:
    limits = SharedLimits(max_usd=1.0)
    end, merged = run_shards("local", count, out, work, limits, lambda *seen: looks.append(seen), lambda: len(looks))
    assert merged == len(looks) > 0, "merged after the last look"
    return end


def test_a_shard_for_each_core_and_a_cap_of_one_is_that_of_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    use_local_ray(monkeypatch, cpus=3)
    looks: list[Any] = []
    end = do_all(finish, tmp_path, looks)
    assert end.stopped == "spend cap reached: $0.000000 of max_usd=1 spent" and end.used == Room(0.0, 0)
    assert looks[-1] == (dict.fromkeys((1, 2, 3), Tally(1, 1, 1)), 3) or looks[-1][1] == 3


def test_the_error_of_one_shard_ends_the_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    local: LocalRay = use_local_ray(monkeypatch)
    with pytest.raises(UsageError, match="shard 1/4 cannot be done"):
        do_all(refuse, tmp_path, [], 4)
    assert len(local.cancelled) == 3


def test_a_shard_whose_workers_are_lost_again_and_again_is_given_up(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    use_local_ray(monkeypatch)
    with pytest.raises(BackendError, match="shard 1/2 was given up after 10 lost workers"):
        do_all(lose, tmp_path, [], 2)


@pytest.mark.slow
def test_of_two_nodes_one_is_killed_and_nothing_is_lost_doubled_or_paid_beyond_the_cap() -> None:
    sizes = ["--kills", "1", "--questions", "60", "--shards", "3", "--cpus", "1", "--in-flight", "8", "--caps", "10"]
    command = [sys.executable, str(ROOT / "benchmarks" / "ray_kills.py"), *sizes]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=300)
    assert result.returncode == 0, result.stderr[-2000:]
    document = json.loads(result.stdout.splitlines()[-1])
    assert (document["code"], document["kills"], document["records"], document["calls"]) == (0, 1, 60, 120)
