"""Workers take each piece of work once, stop at the first fault, and leave nobody waiting."""

import asyncio
import threading
from typing import Any

import dspy
import pytest

import tale_dspy
from tale_dspy.accounting.ledger import Ledger
from tale_dspy.errors import BackendError
from tale_dspy.runs.session import RunStopped, Session
from tale_dspy.runs.workers import Workers, run_settings, tasks_are_cheaper


@pytest.fixture
def workers() -> Workers[int]:
    return Workers(Session(None, Ledger(), 0, threading.Event()), {"tale_test": "set"})


def test_each_piece_of_work_is_done_once_by_threads_or_tasks(workers: Workers[int]) -> None:
    results: list[tuple[int, Any]] = []
    workers.run(range(50), 8, lambda n: results.append((n, dspy.settings.get("tale_test"))))
    assert sorted(results) == [(n, "set") for n in range(50)] and workers.fault is None


def test_tasks_do_the_same(workers: Workers[int]) -> None:
    results: list[int] = []

    async def work(n: int) -> None:
        await asyncio.sleep(0)
        results.append(n)

    workers.run_tasks(range(50), 8, work)
    assert sorted(results) == list(range(50)) and workers.fault is None


def test_the_first_fault_ends_the_work(workers: Workers[int]) -> None:
    results: list[int] = []

    def work(n: int) -> None:
        if n == 3:
            raise ValueError("three")
        results.append(n)

    workers.run(range(1000), 1, work)
    assert isinstance(workers.fault, ValueError) and results == [0, 1, 2]
    assert workers.session.stop.is_set()


def test_a_fault_of_the_whole_run_is_reported_and_not_its_messenger(workers: Workers[int]) -> None:
    workers.session.fatal = BackendError("no key")
    workers.end(RunStopped())
    workers.end(ValueError("later"))
    assert workers.fault is workers.session.fatal


@pytest.mark.parametrize(("items", "count"), [(0, 4), (3, 64)])
def test_fewer_pieces_than_workers(workers: Workers[int], items: int, count: int) -> None:
    results: list[int] = []
    workers.run(range(items), count, results.append)
    assert len(results) == items


def test_a_track_block_goes_on_listening_and_modules_around_do_not() -> None:
    with tale_dspy.track(), dspy.context(caller_modules=[*dspy.settings.caller_modules, dspy.Predict("a -> b")]):
        settings = run_settings("lm", "adapter")
    assert len(settings["caller_modules"]) == 1 and (settings["lm"], settings["adapter"]) == ("lm", "adapter")
    assert "adapter" not in run_settings("lm")


@pytest.mark.parametrize(
    ("engine", "metric", "ledger", "tasks"),
    [
        ("litellm", None, Ledger(), True),
        ("auto", None, Ledger(), False),
        ("litellm", len, Ledger(), False),
        ("litellm", None, Ledger(max_total_output_tokens=5), False),
    ],
)
def test_tasks_are_for_litellm_without_code_that_may_block(
    engine: Any, metric: Any, ledger: Ledger, tasks: bool
) -> None:
    program, lm = tale_dspy.VanillaCoT("question -> answer"), tale_dspy.LM("openai/x", engine=engine)
    assert tasks_are_cheaper(program, lm, metric, ledger) is tasks


class Rule(dspy.Module):  # type: ignore[misc]
    """An estimator of the user's, without `aforward`."""

    def forward(self, question: str) -> Any:
        return dspy.Prediction(token_budget=len(question))


def test_a_module_of_the_users_inside_may_block_too() -> None:
    lm = tale_dspy.LM("openai/x", engine="litellm")
    for program in (tale_dspy.TaleEP("question -> answer", Rule()), tale_dspy.Vote(Rule())):
        assert not tasks_are_cheaper(program, lm, None, Ledger())
