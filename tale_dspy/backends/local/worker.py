"""The thread in which one model and its adapters write for all callers."""

import atexit
import os
import threading
import time
import weakref
from queue import Empty, SimpleQueue

from tale_dspy.backends.local.batch import ContinuousBatch
from tale_dspy.backends.local.kv_cache import GenerationStoppedError
from tale_dspy.backends.local.prompt_tokenizer import GenerationJob
from tale_dspy.backends.local.threads import ThreadLimit, ThreadTuner
from tale_dspy.dspy_bridge import ProviderError
from tale_dspy.errors import UsageError

EXIT_WAIT_S = 5.0
"""Seconds the interpreter waits, when it ends, for steps that are under way."""


class _Inbox:
    """What the thread shares with the callers.

    It holds no reference to the worker, so that an unused worker can be freed.
    """

    def __init__(self) -> None:
        self.jobs: SimpleQueue[tuple[ContinuousBatch, GenerationJob] | None] = SimpleQueue()
        self.stop = threading.Event()
        self.lock = threading.Lock()
        self.failure: BaseException | None = None
        """What ended the thread, so that no job put in is answered any more."""

    def put(self, batch: ContinuousBatch, job: GenerationJob) -> bool:
        """Put in a job, or fail it and return False if nobody takes jobs any more."""
        with self.lock:  # not between the thread's last look and its end
            if self.failure is None and not self.stop.is_set():
                self.jobs.put((batch, job))
                return True
        reason = "" if isinstance(self.failure, GenerationStoppedError | None) else f" by {_error_text(self.failure)}"
        job.finish(ProviderError(f"the local model was closed{reason}", status=400))
        return False

    def end(self) -> None:
        """End the thread at the next layer of the step under way."""
        self.stop.set()
        self.jobs.put(None)


class GenerationWorker:
    """Take jobs from any thread or event loop, and write them in a thread.

    The thread starts with the first job. While idle it holds neither batches nor weights; it ends when the worker is
    dropped, when it is closed, or with the interpreter. If it ends by an error, all callers get that error.
    """

    def __init__(self) -> None:
        self.threads: int | None = None
        """Threads PyTorch takes for a step; None to find the quickest number. To be set before the first job."""
        self._inbox = _Inbox()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._process = os.getpid()
        self._finalizer = weakref.finalize(self, self._inbox.end)
        self._finalizer.atexit = False  # `_end_all` also waits
        _workers.add(self)

    @property
    def stop(self) -> threading.Event:
        """The event that ends the thread.

        A step under way then ends at its next layer.
        """
        return self._inbox.stop

    def submit(self, batch: ContinuousBatch, job: GenerationJob) -> None:
        """Queue a job for a batch.

        Raises:
            UsageError: If this process was forked from the one the model was made in.
        """
        if os.getpid() != self._process:
            raise UsageError("a local model does not live on in a forked process: make it anew there, or spawn")
        if self._inbox.put(batch, job) and self._thread is None:
            with self._lock:
                if self._thread is None:
                    args = (self._inbox, self.threads)
                    self._thread = threading.Thread(target=_work_until_end, args=args, name="tale-local", daemon=True)
                    _threads.add(self._thread)
                    self._thread.start()

    def close(self) -> None:
        """End the thread at the next layer of the step under way.

        Callers who wait get an error.
        """
        self._inbox.end()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(EXIT_WAIT_S)


_workers: "weakref.WeakSet[GenerationWorker]" = weakref.WeakSet()
_threads: "weakref.WeakSet[threading.Thread]" = weakref.WeakSet()
"""Those of workers that were dropped, too: they may still be at a last step."""


@atexit.register
def _end_all() -> None:
    """End the threads before the interpreter exits.

    A thread still inside torch would crash the process.
    """
    for worker in list(_workers):
        worker._inbox.end()
    _wait_for(list(_threads))


def _wait_for(threads: list[threading.Thread]) -> None:
    last = time.monotonic() + EXIT_WAIT_S
    for thread in threads:
        thread.join(max(0.0, last - time.monotonic()))


def _work_until_end(inbox: _Inbox, threads: int | None) -> None:
    """Write until the end, which all callers hear of, whatever its cause."""
    busy: list[ContinuousBatch] = []
    failure: BaseException = GenerationStoppedError("the model was closed while it wrote")
    try:
        _write_all(inbox, busy, threads)
    except BaseException as e:  # the end of the thread: nobody else would hear of it, and callers would wait for ever
        failure = e
    finally:
        with inbox.lock:
            inbox.failure = failure
        while _take_jobs(inbox, busy, wait=False):
            pass
        for batch in busy:
            batch.abandon(failure)


def _write_all(inbox: _Inbox, busy: list[ContinuousBatch], threads: int | None) -> None:
    import torch

    limit = ThreadLimit()
    tuner = ThreadTuner(limit.count if threads is None else 1)
    with torch.inference_mode():
        while not inbox.stop.is_set():
            _take_jobs(inbox, busy)
            for batch in busy:
                # One step of each batch in turn: the adapters of a model share its time evenly.
                limit.set(threads or tuner.threads)
                start = time.perf_counter()
                tuner.record(batch.step(), time.perf_counter() - start)
                del batch
            busy[:] = [batch for batch in busy if batch.busy]


def _take_jobs(inbox: _Inbox, busy: list[ContinuousBatch], *, wait: bool = True) -> bool:
    """Hand new jobs to their batches.

    With `wait` and no batch at work, it blocks until there is one. It returns whether anything came.
    """
    took_any = False
    while True:
        try:
            item = inbox.jobs.get(block=wait and not busy)
        except Empty:
            return took_any
        took_any = True
        if item is None:
            return True
        batch, job = item
        batch.add(job)
        if batch not in busy:
            busy.append(batch)
        del item, batch, job  # the thread holds nothing while it waits


def _error_text(error: BaseException | None) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
