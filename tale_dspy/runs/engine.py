"""`evaluate`: ask many questions at once, keep what is paid for, and stop at a cap, a fault or Ctrl-C with it.

Workers take one question after the other. They are threads, since any DSPy program has a `forward`; for the modules of
DSPy and of this library over LiteLLM they are asyncio tasks, which took less CPU there and more with DSPy's own engine
(benchmarks/throughput.py).
"""

import asyncio
import contextvars
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Unpack

import dspy

from tale_dspy.backends.meter import under_cap
from tale_dspy.datasets import Dataset, example_ids
from tale_dspy.errors import BackendError, DataError, SpendCapReached, UsageError
from tale_dspy.ledger import Ledger
from tale_dspy.programs.copying import copy_program, language_models
from tale_dspy.receipts import Sink
from tale_dspy.runs.describe import describe_run
from tale_dspy.runs.folder import RunFolder
from tale_dspy.runs.options import Options, RunOptions, Tally
from tale_dspy.runs.records import Record, Run
from tale_dspy.runs.scoring import Metric, Question, aask, ask, record_of
from tale_dspy.runs.session import RunStopped, Session, Unit, run_lm

GRACE = 5.0
"""Seconds that calls in flight are given to end after Ctrl-C or a fault, so that their answers are kept."""
HEARD = {"disable_history": False, "max_history_size": 1}
"""DSPy settings under which it tells what a call used; `run_lm` keeps none of it."""
DOOMED = 8
"""Questions that may end in `error`, before any call was answered, until the run is given up."""


def evaluate(
    program: Any,
    examples: "Dataset | Sequence[Any]",
    *,
    metric: Metric | None = None,
    out: str | Path | None = None,
    **options: Unpack[Options],
) -> Run:
    """Ask a program every question, and keep the answers.

    Each question ends as exactly one of `correct`, `wrong`, `unreadable`, `empty`, `truncated` and `error`. A folder
    that exists is continued: what is finished is not asked again, and answers paid for by a killed process are read
    from its journal. 429, 5xx, time-outs, dropped connections and broken replies are tried again.

    Args:
        program: Any `dspy.Module`; copied, never changed.
        examples: A `Dataset`, or `dspy.Example`s with their inputs marked.
        metric: Called as `metric(example, prediction)`; gives a bool, a number or a Prediction with a score. None
            compares the answer with the gold in any of its forms.
        out: The run folder; None keeps everything in memory.
        **options: See `RunOptions`: `concurrency`, `repeats`, `max_usd`, `timeout` ...

    Returns:
        The run; `run.stopped` is `cap` where a spend cap ended it early, with what was finished until then.

    Raises:
        UsageError: If an argument cannot be used, or a cap in dollars meets a model without a price.
        RunFolderError: If the folder is in use or holds a run of another configuration.
        BackendError: If the provider refuses every question (key, model, quota), or results cannot be written.
        KeyboardInterrupt: On Ctrl-C, after what was finished has been written.

    Example:
        >>> run = evaluate(TaleEP("question -> answer"), examples, out="runs/a", max_usd=2)  # doctest: +SKIP
        >>> run.summary["accuracy"]  # doctest: +SKIP
        0.84
    """
    checked = RunOptions(**options)
    questions = _questions(examples)
    if not isinstance(program, dspy.Module):
        raise UsageError(f"program must be a dspy.Module, got {type(program).__name__}")
    lm = checked.lm or dspy.settings.lm
    if lm is None and not list(language_models(program)):
        raise UsageError("no language model: pass lm=tale_dspy.LM(...) or call dspy.configure(lm=...)")
    ledger = Ledger(checked.max_usd, checked.max_total_output_tokens, checked.price)
    for model in [lm, *language_models(program)]:
        if model is not None and checked.max_usd is not None:
            ledger.require_price(model)
    info = describe_run(program, lm, questions, metric, checked, examples)
    folder = None if out is None else RunFolder(out, info, retry_errors=checked.retry_errors)
    try:
        runner = _Runner(program, lm, questions, metric, checked, ledger, folder, info)
        return runner.run()
    finally:
        if folder:
            folder.close()


def _questions(examples: "Dataset | Sequence[Any]") -> list[Question]:
    """Give every example its id, its gold and the kind of its answer."""
    rows = list(examples.examples if isinstance(examples, Dataset) else examples)
    if not rows:
        raise DataError("there is no question to ask: examples is empty")
    for number, example in enumerate(rows, 1):
        if not isinstance(example, dspy.Example) or not example._input_keys:
            raise DataError(
                f"examples[{number - 1}] must be a dspy.Example with its inputs marked by .with_inputs(...)"
            )
    gold = examples.gold if isinstance(examples, Dataset) else gold_field(rows[0])
    kind = examples.kind if isinstance(examples, Dataset) else "auto"
    return [Question(i, e, gold, kind) for i, e in zip(example_ids(rows, gold), rows, strict=True)]


def gold_field(example: Any) -> str:
    """Name the field that holds the gold: the only label, or `answer`, or the first."""
    labels = list(example.labels().keys())
    return "answer" if "answer" in labels or not labels else labels[0]


class _Runner:
    """The workers of one run and what they share."""

    def __init__(
        self,
        program: Any,
        lm: Any,
        questions: list[Question],
        metric: Metric | None,
        options: RunOptions,
        ledger: Ledger,
        folder: RunFolder | None,
        info: dict[str, Any],
    ) -> None:
        self.options, self.ledger, self.folder, self.info = options, ledger, folder, info
        self.metric = metric
        self.stop = threading.Event()
        self.session = Session(folder, ledger, options.retries, self.stop)
        self.lm = None if lm is None else run_lm(lm, self.session, options.timeout)
        self.program = copy_program(program, lambda held: run_lm(held, self.session, options.timeout))
        self.records: list[Record] = list(folder.records) if folder else []
        done = {(r.id, r.repeat) for r in self.records}
        units = [(q, r) for r in range(options.repeats) for q in questions]
        self.todo = [(q, r) for q, r in units if (q.id, r) not in done]
        self.tally = Tally(total=len(units), resumed=len(self.records))
        for record in self.records:
            self.tally.add(record)
        self._lock = threading.Lock()
        self._queue: Iterator[tuple[Question, int]] = iter(self.todo)
        self._held: list[Record] = []
        self._fault: BaseException | None = None

    def run(self) -> Run:
        """Work until all is done or something ends it; write the summary in any case."""
        started = time.perf_counter()
        if self.options.progress:
            self.options.progress(self.tally)
        try:
            self._work()
        except KeyboardInterrupt:
            self._finish(started, "interrupted")
            raise
        if isinstance(self._fault, SpendCapReached):
            return self._finish(started, "cap", str(self._fault))
        if self._fault is not None:
            self._finish(started, "failed")
            raise self._fault
        return self._finish(started, None)

    def _work(self) -> None:
        context = contextvars.copy_context()
        count = min(self.options.concurrency, len(self.todo))
        targets: list[Callable[[], None]] = [self._worker] * count
        if self._tasks_are_cheaper():
            targets = [lambda: asyncio.run(self._worker_tasks(count))]
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
            while targets and not finished.wait(0.2) and not self.stop.is_set():
                pass
        finally:
            self.stop.set()
            self.ledger.close()
            if targets:
                finished.wait(GRACE)

    def _tasks_are_cheaper(self) -> bool:
        """Say whether to use tasks: not under a cap, where calls wait, nor for code that may block the loop."""
        own = type(self.program).__module__.partition(".")[0] in ("tale_dspy", "dspy")
        lms = [self.lm, *language_models(self.program)]
        over_litellm = all(lm is None or (isinstance(lm, dspy.LM) and lm.engine == "litellm") for lm in lms)
        return own and over_litellm and self.metric is None and not self.ledger.capped and not under_cap()

    def _worker(self) -> None:
        with dspy.context(**self._overrides()):
            for question, repeat in self._take():
                try:
                    started = time.perf_counter()
                    unit = Unit(question.id, repeat)
                    with dspy.context(tale_unit=unit):
                        found = ask(self.program, question, self.metric, self.options.threshold, unit.calls)
                    self._keep(self._record(question, unit, found, started))
                except BaseException as e:  # the boundary of a worker: whatever it is, it ends the run
                    self._end(e)

    async def _worker_tasks(self, count: int) -> None:
        await asyncio.gather(*(self._worker_task() for _ in range(count)))

    async def _worker_task(self) -> None:
        with dspy.context(**self._overrides()):
            for question, repeat in self._take():
                try:
                    started = time.perf_counter()
                    unit = Unit(question.id, repeat)
                    with dspy.context(tale_unit=unit):
                        found = await aask(self.program, question, self.metric, self.options.threshold, unit.calls)
                    self._keep(self._record(question, unit, found, started))
                except BaseException as e:  # the same boundary
                    self._end(e)

    def _overrides(self) -> dict[str, Any]:
        # A `track` block around the run goes on listening; modules around it need no history of ours.
        listeners = [m for m in dspy.settings.caller_modules or [] if isinstance(m, Sink)]
        overrides: dict[str, Any] = {"lm": self.lm, "trace": None, "caller_modules": listeners, **HEARD}
        if self.options.adapter is not None:
            overrides["adapter"] = self.options.adapter
        return overrides

    def _take(self) -> Iterator[tuple[Question, int]]:
        """Yield questions to this worker until there are none, or the run has ended."""
        while not self.stop.is_set():
            with self._lock:
                item = next(self._queue, None)
            if item is None:
                return
            yield item

    def _record(self, question: Question, unit: Unit, found: dict[str, Any], started: float) -> Record:
        seconds = time.perf_counter() - started
        return record_of(question, unit.repeat, found, unit.calls, seconds, self.options.paper_counts)

    def _keep(self, record: Record) -> None:
        """Append a record. Until anything was answered errors are held back: they may be one fault of the whole run."""
        with self._lock:
            self._held.append(record)
            if record.outcome == "error" and not self.session.answered.is_set():
                if len(self._held) >= min(DOOMED, len(self.todo)):
                    raise BackendError(f"no question could be answered: {record.error}")
                return
            kept, self._held = self._held, []
        if self.folder:  # outside the lock: 32 threads would wait for each other's disk
            for one in kept:
                self.folder.append("records.jsonl", one.to_json())
        with self._lock:
            for one in kept:
                self.records.append(one)
                self.tally.add(one)
            if self.options.progress:
                self.options.progress(self.tally)

    def _end(self, fault: BaseException) -> None:
        """End the run with a cap, a fault of all questions, a full disk or a bug; the first one counts."""
        if self._fault is None:
            self._fault = self.session.fatal if isinstance(fault, RunStopped) else fault
        self.stop.set()

    def _finish(self, started: float, stopped: str | None, message: str | None = None) -> Run:
        for record in self._held if stopped is None else ():
            self.records.append(record)
            if self.folder:
                self.folder.append("records.jsonl", record.to_json())
        self._held.clear()
        run = Run(
            info=self.folder.info if self.folder else self.info,
            records=list(self.records),
            path=self.folder.path if self.folder else None,
            stopped=stopped,
            message=message,
            wall_s=round((self.folder.wall_s if self.folder else 0.0) + time.perf_counter() - started, 3),
        )
        if self.folder:
            self.folder.replace("summary.json", {**run.summary, "message": message})
        return run
