"""Fixtures for all tests: no keys, no network, no cache that outlives a test, and a scripted server to ask."""

import contextvars
import copy
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from tale_dspy.testing.problems import SolverReply, word_problems
from tale_dspy.testing.server import ScriptedServer

# Read when litellm is imported, which a test module may do before any fixture runs: prices from the installed file
# instead of a download.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

_PROVIDER = re.compile(r"_API_KEY$|_API_BASE$|_BASE_URL$|^(HTTPS?|ALL)_PROXY$", re.IGNORECASE)


class SolverServer(ScriptedServer):
    """A scripted server that knows the answers of `bank`."""

    def __init__(self, bank: dict[str, str]) -> None:
        super().__init__(SolverReply(bank))
        self.bank = bank


@pytest.fixture(autouse=True, scope="session")
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep DSPy's disk cache out of the home directory, for tests and processes that open one."""
    folder = tmp_path_factory.mktemp("dspy_cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DSPY_CACHEDIR", str(folder))
        yield folder


@pytest.fixture(autouse=True)
def no_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide every key, endpoint and proxy of the person who runs the tests."""
    for name in [name for name in os.environ if _PROVIDER.search(name)]:
        monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def fresh_dspy() -> Iterator[None]:
    """Give the test a memory-only DSPy cache and leave DSPy as it was imported, as DSPy's own tests do.

    Looks at `sys.modules` so that a test without DSPy does not pay for its import.
    """
    if "dspy" in sys.modules:
        _drop_cache()
        sys.modules["dspy"].configure_cache(enable_disk_cache=False, enable_memory_cache=True)
    yield
    if "dspy" in sys.modules:
        _drop_cache()
        settings = sys.modules["dspy.dsp.utils.settings"]
        settings.main_thread_config.clear()
        settings.main_thread_config.update(copy.deepcopy(settings.DEFAULT_CONFIG))
        # The next test may configure from another thread or task.
        settings.config_owner_thread_id = settings.config_owner_async_task = None


def _drop_cache() -> None:
    # DSPy builds a cache on disk when `dspy.cache` is first read: only look at one that is there.
    cache = vars(sys.modules["dspy"]).pop("cache", None)
    if cache is not None and cache.enable_disk_cache:
        cache.disk_cache.close()


@pytest.fixture
def in_time() -> Iterator[Callable[..., Any]]:
    """Run something in a thread of its own that must end in time."""

    def run(job: Callable[[], Any]) -> Any:
        future: Future[Any] = Future()

        def work() -> None:
            try:
                future.set_result(job())
            except BaseException as e:
                future.set_exception(e)

        threading.Thread(target=contextvars.copy_context().run, args=(work,), daemon=True).start()
        return future.result(30.0)  # a test that deadlocks ends here

    yield run


@pytest.fixture
def server() -> Iterator[SolverServer]:
    """A server that solves 40 word problems; `server.bank` maps their questions to the answers."""
    with SolverServer({row["question"]: row["answer"] for row in word_problems(40)}) as running:
        yield running


@pytest.fixture
def lm(server: SolverServer) -> Any:
    """A plain dspy.LM that asks `server`."""
    import dspy

    return dspy.LM("openai/scripted", api_base=server.url, api_key="test-key-123", engine="auto")
