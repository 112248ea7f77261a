"""tale_dspy.backends.call_threads: what only computes is done in the loop, all else in threads."""

import asyncio
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any

import httpx
import pytest

import tale_dspy
from tale_dspy.backends.call_threads import CallThreads, only_computes
from tale_dspy.backends.guarded_openai import GuardedAsyncOpenAI
from tale_dspy.testing import ScriptedServer


class _Recorded(CallThreads):
    """Threads that tell which jobs they were given."""

    def __init__(self) -> None:
        super().__init__()
        self.jobs: list[bool] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        self.jobs.append(only_computes(fn))
        return super().submit(fn, *args, **kwargs)


@pytest.mark.parametrize(
    ("model", "in_the_loop"), [("openai/x", [True, True]), ("mistral/x", [False, True])], ids=["SDK", "handler"]
)
async def test_litellm_and_dspy_hand_over_the_jobs_that_are_known(model: str, in_the_loop: list[bool]) -> None:
    threads = _Recorded()
    asyncio.get_running_loop().set_default_executor(threads)
    with ScriptedServer("4") as server:
        lm = tale_dspy.LM(model, engine="litellm", api_base=server.url, api_key="k", cache=False)
        assert await lm.acall("2+2?") == ["4"]
    assert threads.jobs == in_the_loop


async def test_all_else_has_a_thread_of_its_own() -> None:
    asyncio.get_running_loop().set_default_executor(CallThreads())
    assert await asyncio.to_thread(threading.get_ident) != threading.get_ident()
    assert await asyncio.get_running_loop().run_in_executor(None, threading.get_ident) != threading.get_ident()


def test_what_a_job_raises_or_returns_is_its_results() -> None:
    client = GuardedAsyncOpenAI(httpx.AsyncClient(), api_key="k", base_url="http://127.0.0.1:1", organization=None)

    def job(outcome: BaseException | int, *, client: object) -> int:
        if isinstance(outcome, BaseException):
            raise outcome
        return threading.get_ident()

    def submit(outcome: BaseException | int) -> "Future[int]":
        return CallThreads().submit(partial(contextvars.copy_context().run, partial(job, outcome, client=client)))

    assert submit(4).result(0) == threading.get_ident()
    assert isinstance(submit(ValueError("no")).exception(0), ValueError)
    assert isinstance(submit(KeyboardInterrupt()).exception(0), KeyboardInterrupt)
