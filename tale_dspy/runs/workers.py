"""The workers of a run.

They are threads or asyncio tasks that take one piece of work after the other until something ends it.

They are threads, since any DSPy program has a `forward`; for the modules of DSPy and of this library over LiteLLM they
are asyncio tasks, which took less CPU there and more with DSPy's own engine (benchmarks/throughput.py).
"""

import asyncio
import contextvars
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Generic, TypeVar

import dspy

from tale_dspy.accounting.calls import CallListener
from tale_dspy.accounting.ledger import Ledger
from tale_dspy.accounting.tracking import under_cap
from tale_dspy.backends.call_threads import CallThreads
from tale_dspy.programs.copying import language_models, modules_of
from tale_dspy.protocols import JsonObject, LanguageModel, Program
from tale_dspy.runs.batch_rounds import BatchRounds
from tale_dspy.runs.session import Session
from tale_dspy.runs.stopped import SHUTDOWN_GRACE_S, RunStopped

HISTORY_SETTINGS = {"disable_history": False, "max_history_size": 1}
"""DSPy settings under which it tells what a call used; `run_lm` keeps none of it."""

T = TypeVar("T")


class Workers(Generic[T]):
    """The workers of one run, and the first thing that ended it.

    Args:
        session: The run's; its stop sign ends the workers, too.
        settings: DSPy settings each worker works under.

    Attributes:
        fault: What ended the work before all was done, or None.
    """

    def __init__(self, session: Session, settings: JsonObject) -> None:
        self.session = session
        self.settings = settings
        self.fault: BaseException | None = None
        self._lock = threading.Lock()
        self._queue: Iterator[T] = iter(())

    def run(self, items: Iterable[T], count: int, work: Callable[[T], None]) -> None:
        """Work with `count` threads until all is done or something ends it.

        Raises:
            KeyboardInterrupt: On Ctrl-C, after calls in flight were given `SHUTDOWN_GRACE_S` seconds.
        """
        self._queue = iter(items)
        self._watch_threads([lambda: self._work_in_thread(work)] * count)

    def run_tasks(
        self,
        items: Iterable[T],
        count: int,
        work: Callable[[T], Awaitable[None]],
        batches: BatchRounds | None = None,
    ) -> None:
        """Do the work as tasks of one event loop.

        Their calls may wait for rounds of batches.
        """
        self._queue = iter(items)

        async def in_rounds(rounds: BatchRounds, item: T) -> None:
            with rounds.questions.working():
                await work(item)

        async def all_of_them() -> None:
            asyncio.get_running_loop().set_default_executor(CallThreads())
            if batches is None:
                await asyncio.gather(*(self._work_in_task(work) for _ in range(count)))
                return
            async with batches as rounds:
                await asyncio.gather(*(self._work_in_task(partial(in_rounds, rounds)) for _ in range(count)))

        self._watch_threads([lambda: asyncio.run(all_of_them())])

    def _watch_threads(self, targets: Sequence[Callable[[], None]]) -> None:
        context, stop = contextvars.copy_context(), self.session.stop
        left, finished = len(targets), threading.Event()

        def until_last(target: Callable[[], None]) -> None:
            nonlocal left
            try:
                target()
            finally:
                with self._lock:
                    left -= 1
                if not left:
                    finished.set()

        for i, target in enumerate(targets):
            work = context.copy().run
            threading.Thread(target=work, args=(until_last, target), name=f"tale-{i}", daemon=True).start()
        try:
            # Never `join` here: interrupted by Ctrl-C it marks a living thread as dead (bpo-45274).
            while targets and not finished.wait(0.2) and not stop.is_set():
                pass
        finally:
            stop.set()
            self.session.ledger.close()
            if targets:
                finished.wait(SHUTDOWN_GRACE_S)

    def _work_in_thread(self, work: Callable[[T], None]) -> None:
        with dspy.context(**self.settings):
            for item in self._take_items():
                try:
                    work(item)
                except BaseException as e:  # the boundary of a worker: whatever it is, it ends the run
                    self.end(e)

    async def _work_in_task(self, work: Callable[[T], Awaitable[None]]) -> None:
        with dspy.context(**self.settings):
            for item in self._take_items():
                try:
                    await work(item)
                except BaseException as e:  # the same boundary
                    self.end(e)

    def _take_items(self) -> Iterator[T]:
        """Yield pieces of work until there are none, or the run has ended."""
        while not self.session.stop.is_set():
            with self._lock:
                try:
                    item = next(self._queue)
                except StopIteration:
                    return
            yield item

    def end(self, fault: BaseException) -> None:
        """End the run with a cap, a fault of all questions, a full disk or a bug.

        The first one counts.
        """
        if self.fault is None:
            self.fault = self.session.fatal if isinstance(fault, RunStopped) else fault
        self.session.stop.set()


def run_settings(lm: LanguageModel | None, adapter: Any = None) -> JsonObject:
    """Return the DSPy settings of a run's workers.

    Args:
        lm: The run's copy of the language model.
        adapter: In force during the run; None leaves the one that is configured.
    """
    # A `track` block around the run goes on listening; modules around it need no history of ours.
    listeners = [m for m in dspy.settings.caller_modules or [] if isinstance(m, CallListener)]
    overrides: JsonObject = {"lm": lm, "trace": None, "caller_modules": listeners, **HISTORY_SETTINGS}
    return overrides if adapter is None else {**overrides, "adapter": adapter}


def tasks_are_cheaper(program: Program, lm: LanguageModel | None, metric: Any, ledger: Ledger) -> bool:
    """Return whether to use tasks in place of threads.

    Tasks are not used under a cap, where calls wait, nor for code that may block the loop.
    """
    ours = all(type(module).__module__.partition(".")[0] in ("tale_dspy", "dspy") for module in modules_of(program))
    lms = [lm, *language_models(program)]
    over_litellm = all(one is None or (isinstance(one, dspy.LM) and one.engine == "litellm") for one in lms)
    return ours and over_litellm and metric is None and not ledger.capped and not under_cap()
