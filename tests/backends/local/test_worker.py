"""One thread writes for all, and ends when it should: when closed, dropped, or with the interpreter."""

import gc
import multiprocessing
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import pytest
from dspy.lm15 import ProviderError

from tale_dspy.backends.local import worker as module
from tale_dspy.backends.local.prompt_tokenizer import GenerationJob
from tale_dspy.backends.local.sampling import SamplingParams
from tale_dspy.backends.local.worker import GenerationWorker
from tale_dspy.errors import UsageError


class Echo:
    """A batch whose jobs take one step each, or as long as the test holds it."""

    def __init__(self) -> None:
        self.jobs: list[GenerationJob] = []
        self.threads: set[str] = set()
        self.go = threading.Event()
        self.go.set()
        self.stepping = threading.Event()

    def add(self, job: GenerationJob) -> None:
        self.jobs.append(job)

    @property
    def busy(self) -> bool:
        return bool(self.jobs)

    def step(self) -> None:
        self.threads.add(threading.current_thread().name)
        self.stepping.set()
        assert self.go.wait(60)
        self.jobs.pop(0).future.set_result("done")  # type: ignore[arg-type]

    def abandon(self, error: Exception) -> None:
        while self.jobs:
            self.jobs.pop().future.set_exception(error)


def job() -> GenerationJob:
    import random

    return GenerationJob([1], 1, SamplingParams(), (), random.Random(0))


def ask(worker: GenerationWorker, batch: Any) -> Future[Any]:
    worker.submit(batch, one := job())
    return one.future


def alive(thread: threading.Thread | None) -> bool:
    """Whether a thread is alive after it had time to end."""
    assert thread is not None
    thread.join(60)
    return thread.is_alive()


def test_jobs_of_all_threads_are_written_in_one() -> None:
    worker, batches = GenerationWorker(), [Echo(), Echo()]
    replies: list[Any] = []
    threads = [threading.Thread(target=lambda b=b: replies.append(ask(worker, b).result(60))) for b in batches * 10]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert replies == ["done"] * 20
    assert {name for batch in batches for name in batch.threads} == {"tale-local"}
    worker.close()


def test_no_thread_before_the_first_job_and_none_after_it_is_closed() -> None:
    worker = GenerationWorker()
    assert worker._thread is None
    ask(worker, Echo()).result(60)
    worker.close()
    assert not alive(worker._thread)
    worker.close()


def test_who_waits_when_it_is_closed_is_told_and_who_comes_after_too() -> None:
    worker, batch = GenerationWorker(), Echo()
    batch.go.clear()
    first = ask(worker, batch)
    assert batch.stepping.wait(60)
    waiting = [ask(worker, batch), ask(worker, Echo())]
    closing = threading.Thread(target=worker.close)
    closing.start()
    while not worker.stop.is_set():
        time.sleep(0.001)
    batch.go.set()
    closing.join()
    assert first.result(60) == "done"
    assert {str(future.exception(60)) for future in waiting} == {"the model was closed while it wrote"}
    late = ask(worker, batch).exception(60)
    assert isinstance(late, ProviderError)
    assert "the local model was closed" in str(late)


class Dying(Echo):
    """Ends the thread it is written in."""

    def step(self) -> None:
        raise SystemExit("out of memory")


def test_callers_of_a_thread_that_dies_hear_of_it_at_once() -> None:
    worker, batch = GenerationWorker(), Dying()
    assert str(ask(worker, batch).exception(60)) == "out of memory"
    assert not alive(worker._thread)
    late = ask(worker, Echo()).exception(60)
    assert isinstance(late, ProviderError)
    assert "the local model was closed by SystemExit: out of memory" in str(late)


def test_a_worker_nobody_has_any_more_ends_its_thread() -> None:
    worker = GenerationWorker()
    ask(worker, Echo()).result(60)
    thread = worker._thread
    del worker
    gc.collect()
    assert not alive(thread)


def test_the_end_of_the_interpreter_waits_for_workers_that_were_dropped_too() -> None:
    worker, batch = GenerationWorker(), Echo()
    batch.go.clear()
    ask(worker, batch)
    assert batch.stepping.wait(60)
    thread = worker._thread
    del worker
    gc.collect()
    assert thread in module._threads
    threading.Timer(0.05, batch.go.set).start()
    module._wait_for([t for t in module._threads if t is thread])
    assert thread is not None
    assert not thread.is_alive()


def test_while_idle_it_holds_no_batch() -> None:
    worker, batch = GenerationWorker(), Echo()
    ask(worker, batch).result(60)
    gone = weakref.ref(batch)
    del batch
    ask(worker, Echo()).result(60)  # it has come back to wait
    gc.collect()
    assert gone() is None
    worker.close()


class Counting(Echo):
    """Notes how many threads PyTorch takes where a step is done."""

    counts: tuple[int, ...] = ()

    def step(self) -> None:
        import torch

        self.counts += (torch.get_num_threads(),)
        super().step()


@pytest.fixture
def three() -> Iterator[None]:
    """Three threads of PyTorch in this thread."""
    import torch

    usual = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(usual)


@pytest.mark.usefixtures("three")
def test_the_threads_of_pytorch_are_limited_in_its_own_thread_alone() -> None:
    import torch

    counts = []
    for threads in (1, None):
        worker, batch = GenerationWorker(), Counting()
        worker.threads = threads
        ask(worker, batch).result(60)
        counts.append((batch.counts, torch.get_num_threads()))
        worker.close()
    assert counts == [((1,), 3), ((3,), 3)]


def _in_a_fork(worker: GenerationWorker, said: Any) -> None:
    try:
        worker.submit(Echo(), job())  # type: ignore[arg-type]
    except UsageError as e:
        said.put(str(e))


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_a_forked_process_is_told_that_it_has_no_model() -> None:
    worker = GenerationWorker()
    ask(worker, Echo()).result(60)
    context = multiprocessing.get_context("fork")
    messages = context.Queue()
    child = context.Process(target=_in_a_fork, args=(worker, messages))
    child.start()
    assert (
        messages.get(timeout=60) == "a local model does not live on in a forked process: make it anew there, or spawn"
    )
    child.join(60)
    worker.close()


SCRIPT = """
import sys, threading
from tale_dspy.backends.local.engine import LocalEngine
from dspy.lm15 import Config, Message, Request
engine = LocalEngine(sys.argv[1])
asked = Request(model="m", messages=(Message.user("Hi"),), config=Config(max_tokens=400))
engine.submit(asked)
print(type(engine.complete(asked)).__name__)
[engine.submit(asked) for _ in range(8)]
"""


DROPPED = """
import sys
from tale_dspy.backends.local.engine import LocalEngine
from dspy.lm15 import Config, Message, Request
def ask():
    asked = Request(model="m", messages=(Message.user("Hi"),), config=Config(max_tokens=400))
    engines = [LocalEngine(sys.argv[1], max_batch=n) for n in range(1, 9)]
    [engine.submit(asked) for engine in engines]
ask()
"""


def test_a_process_ends_right_after_its_models_were_dropped(base: Any) -> None:
    run = subprocess.run([sys.executable, "-c", DROPPED, f"local:{base}"], capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")


def test_a_process_ends_while_replies_are_being_written(base: Any) -> None:
    run = subprocess.run([sys.executable, "-W", "error", "-c", SCRIPT, f"local:{base}"], capture_output=True, text=True)
    assert (run.returncode, run.stdout, run.stderr) == (0, "Response\n", "")
