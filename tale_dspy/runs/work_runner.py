"""One runner for evaluation and search.

It runs pieces of work that ask a program questions, many at once, under caps.

A piece of work is a generator. It yields a `ProgramCall` for each answer it wants next, is sent the fields of the
records that came of them, and returns its result. The runner drives it, in threads with the program's `forward` or in
tasks of one event loop with its `aforward`, whichever is cheaper; the generator never knows which.

How an LM call of the program gets out: the runner works on a copy of the program whose LMs are bound to the run's
`Session` (`session.run_lm`). `lm(...)` becomes `Session.call`, `await lm.acall(...)` becomes `Session.acall`; both
replay what the journal holds, reserve the worst case in the ledger, send, retry, journal the reply, and book it. While
a coroutine waits in `Session.acall` the other tasks go on: there `batch_rounds` gathers the calls of a run that goes
through a batch API.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from typing import Any, Generic, TypeVar

import dspy

from tale_dspy.accounting.ledger import Ledger
from tale_dspy.backends.batch.client import check_batch_support
from tale_dspy.errors import BackendError, BatchWaiting, SpendCapReached, UsageError
from tale_dspy.programs.copying import copy_program, language_models
from tale_dspy.protocols import AsyncProgram, JsonObject, LanguageModel, Program
from tale_dspy.runs.batch_log import refuse_open_batches
from tale_dspy.runs.batch_questions import AskedQuestions
from tale_dspy.runs.batch_rounds import QUESTIONS_AT_ONCE, BatchRounds
from tale_dspy.runs.folder import JournalFolder
from tale_dspy.runs.options import RunOptions
from tale_dspy.runs.question_sample import QuestionSample
from tale_dspy.runs.run_lm import run_lm
from tale_dspy.runs.scoring import Metric, Question, aask, ask
from tale_dspy.runs.session import Session
from tale_dspy.runs.workers import Workers, run_settings, tasks_are_cheaper

MAX_INITIAL_ERRORS = 8
"""Results that may be errors, before any call was answered, until the run is given up."""

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class ProgramCall:
    """One answer of the program that a piece of work asks for."""

    question: Question
    sample: QuestionSample
    """What the journal knows it by; holds its LM calls afterwards."""
    metric: Metric | None
    settings: Mapping[str, object] = field(default_factory=dict)
    """Further DSPy settings in force during the call."""
    may_come_later: bool = False
    """Whether the work goes on without the answer, where that takes another round of batches."""


@dataclass(frozen=True)
class ProgramAnswer:
    """The result of a `ProgramCall`."""

    fields: JsonObject
    """The fields of the record that come from the answer: `outcome`, `answer`, `score`, `error` ..."""
    seconds: float
    delays: int = 0
    """Rounds of batches that brought no answer."""
    waiting: bool = False
    """Whether there is no answer yet: it `may_come_later`."""


Work = Generator[Sequence[ProgramCall], Sequence[ProgramAnswer], R]


class WorkRunner(Generic[T, R]):
    """Run pieces of work until all are done.

    A cap, a fault or Ctrl-C ends them earlier.

    Args:
        program: What is asked; copied, never changed.
        lm: Language model of predictors that have none of their own.
        metric: The run's; decides, with the program, whether threads or tasks do the work.
        options: Concurrency, retries, timeout, threshold, adapter.
        ledger: Books every call and holds the caps.
        folder: Where calls are journalled; None for a run that is not written.

    Attributes:
        session: What all LM calls share.
    """

    def __init__(
        self,
        program: Program,
        lm: LanguageModel | None,
        metric: Metric | None,
        options: RunOptions,
        ledger: Ledger,
        folder: JournalFolder | None,
    ) -> None:
        self.options, self.ledger, self.metric = options, ledger, metric
        self.session = Session(folder, ledger, options.retries, threading.Event())
        if options.batch:
            self.session.batches = batch_rounds(self.session, folder, program, lm, options)
        elif folder is not None:
            refuse_open_batches(folder)
        self.lm = None if lm is None else run_lm(lm, self.session, options.timeout)
        self.program = copy_program(program, lambda used: run_lm(used, self.session, options.timeout))
        self._workers: Workers[T] = Workers(self.session, run_settings(self.lm, options.adapter))
        self._lock = threading.Lock()
        self._unpublished: list[R] = []

    def run(
        self,
        items: Iterable[T],
        work: Callable[[T], Work[R]],
        on_results: Callable[[Sequence[R]], None],
        error_of: Callable[[R], str | None],
    ) -> SpendCapReached | None:
        """Do the work on all items, and publish each result as soon as it may be.

        Until anything is answered errors are held back, since they may have one cause that ends the run:
        `MAX_INITIAL_ERRORS` of them, or nothing but errors at the end, stop it.

        Args:
            items: Read one by one, never as a whole.
            work: Makes the generator of an item.
            on_results: Takes finished results, from any thread.
            error_of: Gives the error of a result that failed, else None.

        Returns:
            The cap that ended the work early, or None.

        Raises:
            BackendError: If the provider refuses every question, or results cannot be written.
            KeyboardInterrupt: On Ctrl-C, after calls in flight were given their time.
            BatchWaiting: On Ctrl-C, or when the wait is over, of a run that goes through a batch API.
        """

        def finish(result: R) -> None:
            self._publish_results(result, on_results, error_of)

        def work_in_thread(item: T) -> None:
            finish(self._drive_steps(work(item)))

        async def work_in_task(item: T) -> None:
            if batches is None:
                finish(await self._drive_async(work(item)))
            else:
                finish(await self._drive_in_rounds(work(item), batches.questions))

        remaining = iter(items)
        batches = self.session.batches
        first = list(islice(remaining, self.options.concurrency if batches is None else QUESTIONS_AT_ONCE))
        if not first:
            return None
        self.session.load_journal()
        queue, count = chain(first, remaining), len(first)
        if batches is not None:
            try:
                self._workers.run_tasks(queue, count, work_in_task, batches)
            except KeyboardInterrupt:
                raise BatchWaiting(batches.waiting_message()) from None
        elif tasks_are_cheaper(self.program, self.lm, self.metric, self.ledger):
            self._workers.run_tasks(queue, count, work_in_task)
        else:
            self._workers.run(queue, count, work_in_thread)
        fault = self._workers.fault
        if isinstance(fault, SpendCapReached):
            return fault
        if fault is not None:
            raise fault
        if self._unpublished and not self.session.answered.is_set():
            raise BackendError(f"no question could be answered: {error_of(self._unpublished[-1])}")
        on_results(self._unpublished)
        return None

    def _drive_steps(self, work: Work[R]) -> R:
        try:
            calls = next(work)
            while True:
                calls = work.send([self._ask(call) for call in calls])
        except StopIteration as e:
            result: R = e.value
            return result

    def _ask(self, call: ProgramCall) -> ProgramAnswer:
        started = time.perf_counter()
        with dspy.context(tale_sample=call.sample, **call.settings):
            fields = ask(self.program, call.question, call.metric, self.options.threshold, call.sample.calls)
        return ProgramAnswer(fields, time.perf_counter() - started)

    async def _drive_in_rounds(self, work: Work[R], questions: AskedQuestions) -> R:
        """Do as `_drive_async` does, for calls that are answered in rounds.

        Where an answer takes another round, the work may ask more in that round: it yields the calls without an answer
        again, with others. Those without an answer when it ends are not sent again.
        """
        tasks: dict[tuple[str, int], asyncio.Task[ProgramAnswer]] = {}
        # Those that the work knows of: a call that it did not ask for in between may have more by now.
        delays: dict[tuple[str, int], int] = {}
        try:
            calls = next(work)
            while True:
                call_tasks = []
                for call in calls:
                    key = _key_of(call)
                    if key not in tasks:
                        tasks[key] = questions.start_call(self._aask(call))
                    call_tasks.append(tasks[key])
                may_come_later = all(call.may_come_later for call in calls)
                news = any(call.sample.delays > delays.get(_key_of(call), 0) for call in calls)
                if not (may_come_later and news):
                    await questions.wait_for_calls(call_tasks, or_delay=may_come_later)
                delays |= {_key_of(call): call.sample.delays for call in calls}
                answers = [
                    replace(task.result(), delays=call.sample.delays)
                    if task.done()
                    else ProgramAnswer({}, 0.0, call.sample.delays, waiting=True)
                    for call, task in zip(calls, call_tasks, strict=True)
                ]
                calls = work.send(answers)
        except StopIteration as e:
            await questions.withdraw_calls([*tasks.values()])
            for task in tasks.values():
                if not task.cancelled():
                    task.result()
            result: R = e.value
            return result

    async def _drive_async(self, work: Work[R]) -> R:
        try:
            calls = next(work)
            while True:
                if len(calls) == 1:
                    answers = [await self._aask(calls[0])]
                else:
                    answers = await asyncio.gather(*map(self._aask, calls))
                calls = work.send(answers)
        except StopIteration as e:
            result: R = e.value
            return result

    async def _aask(self, call: ProgramCall) -> ProgramAnswer:
        started = time.perf_counter()
        with dspy.context(tale_sample=call.sample, **call.settings):
            fields = await aask(self.program, call.question, call.metric, self.options.threshold, call.sample.calls)
        return ProgramAnswer(fields, time.perf_counter() - started)

    def _publish_results(
        self, result: R, on_results: Callable[[Sequence[R]], None], error_of: Callable[[R], str | None]
    ) -> None:
        with self._lock:
            self._unpublished.append(result)
            error = error_of(result)
            if error is not None and not self.session.answered.is_set():
                if len(self._unpublished) >= MAX_INITIAL_ERRORS:
                    raise BackendError(f"no question could be answered: {error}")
                return
            ready, self._unpublished = self._unpublished, []
        on_results(ready)  # outside the lock: threads would wait for each other's disk


def _key_of(call: ProgramCall) -> tuple[str, int]:
    return call.sample.id, call.sample.repeat


def batch_rounds(
    session: Session, folder: JournalFolder | None, program: object, lm: Any, options: RunOptions
) -> BatchRounds:
    """Return the rounds of a run that goes through a batch API.

    Raises:
        UsageError: If the run has no folder, or program or model cannot go through a batch.
    """
    if folder is None:
        raise UsageError("batch needs out, a folder: without one a run that is left would pay for its answers twice")
    if not isinstance(program, AsyncProgram):
        raise UsageError(f"batch needs a program with aforward, and {type(program).__name__} has none")
    models = language_models(program) if isinstance(program, dspy.Module) else ()
    for model in (lm, *models):
        if model is not None:
            check_batch_support(model)
    return BatchRounds(folder, session.stop, session.end, 3600.0 * options.batch_wait, options.retries + 1)
