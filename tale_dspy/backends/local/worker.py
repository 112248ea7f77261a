"""The thread in which one model and its adapters write, for all callers of this process."""

import atexit
import os
import threading
import time
import weakref
from queue import Empty, SimpleQueue

from tale_dspy.backends.local.batch import Batch
from tale_dspy.backends.local.requests import Job
from tale_dspy.dspy_bridge import ProviderError
from tale_dspy.errors import UsageError

PATIENCE = 5.0
"""Seconds the interpreter waits, when it ends, for steps that are under way."""

_Inbox = SimpleQueue[tuple[Batch, Job] | None]


class Worker:
    """Takes jobs from any thread or event loop, and writes them in one of its own.

    The thread starts with the first job. While idle it holds neither batches nor weights; it ends when the worker is
    dropped, when it is closed, or with the interpreter.
    """

    def __init__(self) -> None:
        self.threads: int | None = None
        """Threads PyTorch takes for a step, if not as many as elsewhere; to be set before the first job."""
        self._inbox: _Inbox = SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._process = os.getpid()
        self._finalizer = weakref.finalize(self, _end, self._stop, self._inbox)
        self._finalizer.atexit = False  # `_end_all` also waits
        _workers.add(self)

    def submit(self, batch: Batch, job: Job) -> None:
        """Queue a job for a batch.

        Raises:
            UsageError: If this process was forked from the one the model was made in.
        """
        if os.getpid() != self._process:
            raise UsageError("a local model does not live on in a forked process: make it anew there, or spawn")
        if self._stop.is_set():
            job.future.set_exception(ProviderError("the local model was closed", status=400))
            return
        self._inbox.put((batch, job))
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    args = (self._inbox, self._stop, self.threads)
                    target = threading.Thread(target=_work, args=args, name="tale-local", daemon=True)
                    self._thread = target
                    _threads.add(target)
                    target.start()

    def close(self) -> None:
        """End the thread after the step under way; whoever waits is told."""
        _end(self._stop, self._inbox)
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(PATIENCE)


_workers: "weakref.WeakSet[Worker]" = weakref.WeakSet()
_threads: "weakref.WeakSet[threading.Thread]" = weakref.WeakSet()
"""Those of workers that were dropped, too: they may still be at a last step."""


@atexit.register
def _end_all() -> None:
    """End the threads before the interpreter does: one that is inside torch then takes the process down with it."""
    for worker in list(_workers):
        _end(worker._stop, worker._inbox)
    _wait_for(list(_threads))


def _wait_for(threads: list[threading.Thread]) -> None:
    last = time.monotonic() + PATIENCE
    for thread in threads:
        thread.join(max(0.0, last - time.monotonic()))


def _end(stop: threading.Event, inbox: _Inbox) -> None:
    stop.set()
    inbox.put(None)


def _limit_threads(count: int) -> None:
    """Let PyTorch take so many threads for the work of this thread, and leave that of all others as it is."""
    import torch

    usual = torch.get_num_threads()
    torch.set_num_threads(count)  # for this thread, and for all that PyTorch sees first from now on
    other = threading.Thread(target=torch.set_num_threads, args=(usual,))  # takes the latter back
    other.start()
    other.join()


def _work(inbox: _Inbox, stop: threading.Event, threads: int | None) -> None:
    import torch

    if threads is not None:
        _limit_threads(threads)
    busy: list[Batch] = []
    with torch.inference_mode():
        while not stop.is_set():
            _take(inbox, busy)
            for batch in busy:
                batch.step()
                del batch
            busy = [batch for batch in busy if batch.busy]
        while _take(inbox, busy, wait=False):
            pass
        for batch in busy:
            batch.abandon(RuntimeError("the model was closed while it wrote"))


def _take(inbox: _Inbox, busy: list[Batch], *, wait: bool = True) -> bool:
    """Hand what has come in to its batches; wait for it if there is nothing else to do."""
    taken = False
    while True:
        try:
            item = inbox.get(block=wait and not busy)
        except Empty:
            return taken
        taken = True
        if item is None:
            return True
        batch, job = item
        batch.add(job)
        if batch not in busy:
            busy.append(batch)
        del item, batch, job  # the thread holds nothing while it waits
