"""`evaluate`: ask many questions at once, keep what is paid for, and stop at a cap, a fault or Ctrl-C with it.

The work is done by `work_runner.WorkRunner`, which a search uses, too.
"""

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Unpack

import dspy

from tale_dspy.accounting.ledger import Ledger
from tale_dspy.datasets import Dataset, example_ids
from tale_dspy.errors import BackendError, DataError, UsageError
from tale_dspy.programs.copying import language_models
from tale_dspy.runs.describe import describe_run
from tale_dspy.runs.folder import RunFolder
from tale_dspy.runs.options import Options, RunOptions, Tally
from tale_dspy.runs.records import Record, Run
from tale_dspy.runs.scoring import Metric, Question, record_of
from tale_dspy.runs.session import QuestionSample
from tale_dspy.runs.work_runner import ProgramCall, Work, WorkRunner

logger = logging.getLogger(__name__)


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
    from its journal. 429, 5xx, time-outs, dropped connections and broken replies are tried again. A program that uses
    `dspy.Parallel` may, rarely, end a question in a KeyError of tqdm, since progress bars of DSPy share a set without a
    lock; `retry_errors` asks it again.

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
    ledger = Ledger(checked.max_usd, checked.max_total_output_tokens, checked.price)
    return evaluate_with_ledger(program, examples, metric, out, checked, ledger)


def evaluate_with_ledger(
    program: Any,
    examples: "Dataset | Sequence[Any]",
    metric: Metric | None,
    out: str | Path | None,
    checked: RunOptions,
    ledger: Ledger,
) -> Run:
    """Do as `evaluate` does, with a ledger that the caller made and whose caps count."""
    questions = questions_of(examples)
    if not isinstance(program, dspy.Module):
        raise UsageError(f"program must be a dspy.Module, got {type(program).__name__}")
    lm = checked.lm or dspy.settings.lm
    if lm is None and not list(language_models(program)):
        raise UsageError("no language model: pass lm=tale_dspy.LM(...) or call dspy.configure(lm=...)")
    for model in [lm, *language_models(program)]:
        if model is not None and ledger.max_usd is not None:
            ledger.require_price(model)
    info = describe_run(program, lm, questions, metric, checked, examples)
    folder = None if out is None else RunFolder(out, info, retry_errors=checked.retry_errors)
    try:
        return _Evaluation(program, lm, questions, metric, checked, ledger, folder, info).run()
    finally:
        if folder:
            folder.close()


def questions_of(examples: "Dataset | Sequence[Any]") -> list[Question]:
    """Give every example its id, its gold and the kind of its answer.

    Raises:
        DataError: If there is no example, or one has no inputs marked.
    """
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


class _Evaluation:
    """One run: what is to do, what is finished, and the summary at the end."""

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
        self.options, self.folder, self.info, self.metric = options, folder, info, metric
        self.runner: WorkRunner[tuple[Question, int], Record] = WorkRunner(program, lm, metric, options, ledger, folder)
        self.questions = questions
        self.records: list[Record] = list(folder.records) if folder else []
        self.tally = Tally(total=len(questions) * options.repeats, resumed=len(self.records))
        for record in self.records:
            self.tally.add(record)
        self._lock = threading.Lock()

    def run(self) -> Run:
        """Work until all is done or something ends it; write the summary in any case."""
        started = time.perf_counter()
        if self.options.progress:
            self.options.progress(self.tally)
        try:
            cap = self.runner.run(self._to_do(), self._work, self._keep, lambda record: record.error)
        except BaseException as fault:
            self._finish(started, "interrupted" if isinstance(fault, KeyboardInterrupt) else "failed")
            raise
        return self._finish(started, "cap", str(cap)) if cap else self._finish(started, None)

    def _to_do(self) -> Iterator[tuple[Question, int]]:
        done = {(r.id, r.repeat) for r in self.records}
        for repeat in range(self.options.repeats):
            for question in self.questions:
                if (question.id, repeat) not in done:
                    yield question, repeat

    def _work(self, item: tuple[Question, int]) -> Work[Record]:
        question, repeat = item
        sample = QuestionSample(question.id, repeat)
        answer = yield ProgramCall(question, sample, self.metric)
        return record_of(question, repeat, answer.fields, sample.calls, answer.seconds, self.options.paper_counts)

    def _keep(self, records: Sequence[Record]) -> None:
        if self.folder:
            for record in records:
                self.folder.append("records.jsonl", record.to_json())
        with self._lock:
            for record in records:
                self.records.append(record)
                self.tally.add(record)
            if self.options.progress:
                self.options.progress(self.tally)

    def _finish(self, started: float, stopped: str | None, message: str | None = None) -> Run:
        """Build the run and write its summary; a summary that cannot be written hides nothing that came before."""
        with self._lock:  # a worker that was not waited for may still append
            records = list(self.records)
        run = Run(
            info=self.folder.info if self.folder else self.info,
            records=records,
            path=self.folder.path if self.folder else None,
            stopped=stopped,
            message=message,
            wall_s=round((self.folder.wall_s if self.folder else 0.0) + time.perf_counter() - started, 3),
        )
        if self.folder:
            try:
                self.folder.replace("summary.json", {**run.summary, "message": message})
            except BackendError as e:
                logger.warning("the summary of the run is not stored: %s", e)
        return run
