"""`evaluate`: ask many questions at once, and store every paid answer.

A cap, a fault or Ctrl-C stops a run without losing paid answers.

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
from tale_dspy.datasets import Dataset
from tale_dspy.errors import BackendError, BatchWaiting, RunFolderError, UsageError
from tale_dspy.programs.copying import language_models
from tale_dspy.protocols import JsonObject, Program
from tale_dspy.runs.columns import RECORDS
from tale_dspy.runs.describe import describe_run
from tale_dspy.runs.early_warnings import EarlyWarnings
from tale_dspy.runs.folder import RunFolder
from tale_dspy.runs.options import Options, RunOptions, Tally
from tale_dspy.runs.question_sample import QuestionSample
from tale_dspy.runs.questions import QuestionStream, questions_of
from tale_dspy.runs.records import Record, Run, RunEnding
from tale_dspy.runs.scoring import Metric, Question, record_of
from tale_dspy.runs.shards import Shard
from tale_dspy.runs.summary import RunSummary
from tale_dspy.runs.work_runner import ProgramCall, Work, WorkRunner

logger = logging.getLogger(__name__)


def evaluate(
    program: Program,
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
        BatchWaiting: With `batch`, on Ctrl-C or after `batch_wait` hours, in its place.

    Example:
        >>> run = evaluate(TaleEP("question -> answer"), dev, out="runs/a", max_usd=2)
        >>> run.summary["accuracy"]
        1.0
    """
    checked = RunOptions(**options)
    usd, tokens = checked.max_usd, checked.max_total_output_tokens
    if checked.shard is not None:
        usd, tokens = Shard.parse(checked.shard).share_of_caps(usd, tokens)
    ledger = Ledger(usd, tokens, checked.price)
    return evaluate_with_ledger(program, examples, metric, out, checked, ledger)


def evaluate_with_ledger(
    program: Program,
    examples: "Dataset | Sequence[Any]",
    metric: Metric | None,
    out: str | Path | None,
    checked: RunOptions,
    ledger: Ledger,
) -> Run:
    """Do as `evaluate` does, with a ledger of the caller's."""
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
    shard = None if checked.shard is None else Shard.parse(checked.shard)
    folder = None
    if out is not None:
        place = Path(out) if shard is None else Path(out) / shard.folder_name
        folder = RunFolder(place, info, retry_errors=checked.retry_errors)
    try:
        runner: WorkRunner[tuple[Question, int], Record] = WorkRunner(program, lm, metric, checked, ledger, folder)
        return _Evaluation(runner, questions, metric, checked, folder, info, shard).run()
    finally:
        if folder:
            folder.close()


class _Evaluation:
    """One run: what is to do, what is finished, and the summary at the end."""

    def __init__(
        self,
        runner: WorkRunner[tuple[Question, int], Record],
        questions: QuestionStream,
        metric: Metric | None,
        options: RunOptions,
        folder: RunFolder | None,
        info: JsonObject,
        shard: Shard | None,
    ) -> None:
        self.options, self.folder, self.info, self.metric = options, folder, info, metric
        self.runner, self.questions = runner, questions
        self.summary = folder.summary if folder else RunSummary(single=options.repeats == 1)
        self.records: list[Record] | None = None if folder else []
        size = len(questions) if shard is None else sum(map(shard.holds, questions.ids()))
        self.shard, self.total = shard, size * options.repeats
        self.tally = Tally(total=self.total, resumed=folder.resumed if folder else 0)
        self.tally.start_from(self.summary)
        self.early_warnings = EarlyWarnings(metric, self.summary)
        self._lock = threading.Lock()

    def run(self) -> Run:
        """Work until all is done or something ends it.

        The summary is written in any case.
        """
        started = time.perf_counter()
        if self.options.progress:
            self.options.progress(self.tally)
        try:
            cap = self.runner.run(self._to_do(), self._ask_question, self._keep_records, lambda record: record.error)
        except BaseException as fault:
            self._finish_run(started, stop_word(fault))
            raise
        return self._finish_run(started, "cap", str(cap)) if cap else self._finish_run(started, None)

    def _to_do(self) -> Iterator[tuple[Question, int]]:
        if self.tally.done >= self.total:
            return
        for repeat in range(self.options.repeats):
            for question in self.questions:
                if self.shard is not None and not self.shard.holds(question.id):
                    continue
                if self.folder is None or not self.folder.is_done(question.id, repeat):
                    yield question, repeat

    def _ask_question(self, item: tuple[Question, int]) -> Work[Record]:
        question, repeat = item
        sample = QuestionSample(question.id, repeat)
        (answer,) = yield [ProgramCall(question, sample, self.metric)]
        return record_of(question, repeat, answer.fields, sample.calls, answer.seconds, self.options.paper_counts)

    def _keep_records(self, records: Sequence[Record]) -> None:
        if self.folder:
            for record in records:
                self.folder.append(RECORDS, record.to_json())
        with self._lock:
            for record in records:
                if self.records is not None:
                    self.records.append(record)
                self.summary.add(record)
                self.tally.add(record)
            self.early_warnings.check(records)
            if self.options.progress:
                self.options.progress(self.tally)

    def _finish_run(self, started: float, stopped: str | None, message: str | None = None) -> Run:
        """Build the run and write its summary.

        A summary that cannot be written does not hide an earlier error.
        """
        with self._lock:  # a worker that was not waited for may still add to both
            run = Run(
                info=self.folder.info if self.folder else self.info,
                records=self.records,
                path=self.folder.path if self.folder else None,
                ending=RunEnding(
                    stopped,
                    message,
                    wall_s=round((self.folder.wall_s if self.folder else 0.0) + time.perf_counter() - started, 3),
                ),
                total=self.summary,
            )
            figures = run.summary
        if self.folder:
            try:
                self.folder.replace("summary.json", {**figures, "message": message})
                if stopped is None:
                    self.folder.store_columns()
            except (BackendError, RunFolderError) as e:
                logger.warning("the summary of the run is not stored: %s", e)
        return run


def stop_word(fault: BaseException) -> str:
    """Say in a word how a run ended that did not finish."""
    if isinstance(fault, BatchWaiting):
        return "waiting"
    return "interrupted" if isinstance(fault, KeyboardInterrupt) else "failed"
