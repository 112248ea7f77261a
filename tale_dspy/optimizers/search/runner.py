"""Ask what the searches of many questions want to know: at once, under caps, journalled, judged by the metric."""

import threading
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import dspy

from tale_dspy.accounting.ledger import Ledger
from tale_dspy.accounting.receipts import Call, total
from tale_dspy.errors import BackendError, SpendCapReached
from tale_dspy.optimizers.search.budget_override import Asked, with_budget_override
from tale_dspy.optimizers.search.question import (
    Draw,
    Reply,
    SearchPlan,
    finish_question,
    per_question,
    search_question,
    trial_of,
)
from tale_dspy.optimizers.search.search_folder import FAILED, SearchFolder, unit_name
from tale_dspy.optimizers.search.search_records import SEARCH_FILE, SearchRow, Vanilla
from tale_dspy.programs.copying import copy_program
from tale_dspy.runs.engine import DOOMED
from tale_dspy.runs.options import RunOptions, Tally
from tale_dspy.runs.scoring import Metric, Question, aask, ask
from tale_dspy.runs.session import Session, Unit, run_lm
from tale_dspy.runs.workers import Workers, run_settings, tasks_are_cheaper

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

AGREEMENT = "agreement"
"""What `judged_by` says where right means: the same answer as without a budget."""
ANSWERING = ("reason", "recovery")
"""Roles of the calls whose tokens an answer takes."""


@dataclass(frozen=True)
class SearchJob:
    """What is searched, and how."""

    questions: Sequence[Question]
    metric: Metric | None
    agreement: bool
    """Whether right means the same answer as without a budget, whatever the gold is."""
    sampler: "BaseSampler"
    plan: SearchPlan
    options: RunOptions
    folder: SearchFolder | None


Asking = Generator[tuple[Question, Draw], tuple[Reply, Asked, Any], SearchRow]
"""The whole of a question: yields what to ask, takes what came of it and the answer, returns the row."""


class SearchRunner:
    """The search of one predictor of a program, over all questions.

    Args:
        program: The program; copied, never changed.
        name: The predictor, as in `budgeted_predictors`.
        lm: Language model of predictors that have none of their own.
        job: What is searched.
        ledger: Books every call and holds the caps.
        tally: Running figures, gone on with.

    Attributes:
        rows: The finished questions, in the order in which they were.
        stopped: The sentence of the cap that ended the search early, or None.
    """

    def __init__(self, program: Any, name: str, lm: Any, job: SearchJob, ledger: Ledger, tally: Tally) -> None:
        self.name, self.job, self.ledger, self.tally = name, job, ledger, tally
        self.session = Session(job.folder, ledger, job.options.retries, threading.Event())
        timeout = job.options.timeout
        self.lm = None if lm is None else run_lm(lm, self.session, timeout)
        self.program = copy_program(
            with_budget_override(program, name), lambda held: run_lm(held, self.session, timeout)
        )
        self.rows: list[SearchRow] = []
        self.stopped: str | None = None
        self._spent = tally.spent_usd
        self._held: list[SearchRow] = []
        self._lock = threading.Lock()
        self._workers: Workers[Question] = Workers(self.session, run_settings(self.lm, job.options.adapter))

    def run(self) -> list[SearchRow]:
        """Search all questions that are not finished; return the rows of all that are.

        Raises:
            BackendError: If the provider refuses every question, or results cannot be written.
            KeyboardInterrupt: On Ctrl-C, after what was finished has been written.
        """
        done = self._finished_before()
        if self.job.options.progress:
            self.job.options.progress(self.tally)
        todo = [q for q in self.job.questions if q.id not in done]
        self._doomed = min(DOOMED, len(todo))
        count = self.job.options.concurrency
        if tasks_are_cheaper(self.program, self.lm, self.job.metric, self.ledger):
            self._workers.run_tasks(todo, count, self._asearch)
        else:
            self._workers.run(todo, count, self._search)
        fault = self._workers.fault
        if isinstance(fault, SpendCapReached):
            self.stopped = str(fault)
        elif fault is not None:
            raise fault
        elif self._held:
            self._write(self._held)
        return self.rows

    def _finished_before(self) -> set[str]:
        """Take over the rows of an earlier process; the sampler learns from them in the same order."""
        for row in self.job.folder.rows.values() if self.job.folder else ():
            if row.predictor == self.name:
                if row.vanilla.correct and row.vanilla.tokens:
                    finish_question(self.job.sampler, row.vanilla.tokens, row.trials)
                self.rows.append(row)
                self._count(row)
        return {row.id for row in self.rows}

    # ---- one question

    def _search(self, question: Question) -> None:
        with self.session.turns.taken():  # much is thought here between calls
            asking = self._asking(question)
            item = next(asking)
            try:
                while True:
                    item = asking.send(self._ask(*item))
            except StopIteration as e:
                self._keep(e.value)

    async def _asearch(self, question: Question) -> None:
        asking = self._asking(question)
        item = next(asking)
        try:
            while True:
                item = asking.send(await self._aask(*item))
        except StopIteration as e:
            self._keep(e.value)

    def _asking(self, question: Question) -> Asking:
        """Ask without a budget, then what an earlier process has asked, then what the search wants to know."""
        job = self.job
        reply, asked, answer = yield question, Draw(None)
        correct = reply.correct and (answer is not None or not job.agreement)
        vanilla = Vanilla(reply.tokens, reply.text, correct)
        inputs = dict(question.inputs if asked.inputs is None else asked.inputs)
        row = SearchRow(
            id=question.id,
            question=inputs["question"] if isinstance(inputs.get("question"), str) else None,
            inputs=inputs if [*inputs] != ["question"] else None,
            gold=question.gold,
            predictor=self.name,
            vanilla=vanilla,
            trials=[],
            judged_by=AGREEMENT if job.agreement else "gold",
        )
        if reply.error is not None:
            return replace(row, reason=f"{FAILED}{reply.error}")
        if job.agreement and correct:
            question = replace(question, example=question.example.copy(**{question.gold_field: answer}))
        known = []
        for draw in job.folder.known(self.name, question.id) if job.folder else ():
            reply, _, _ = yield question, draw
            if reply.error is None and draw.budget is not None:
                known.append(trial_of(draw.budget, reply))
        search = search_question(vanilla, per_question(job.sampler), job.plan, known)
        try:
            draw = next(search)
            while True:
                reply, _, _ = yield question, draw
                draw = search.send(reply)
        except StopIteration as e:
            return replace(row, trials=e.value.trials, best=e.value.best, reason=e.value.reason)

    # ---- one draw

    def _judge(self, draw: Draw) -> Metric | None:
        """Without a budget there is nothing to agree with yet."""
        return (lambda example, pred: True) if self.job.agreement and draw.budget is None else self.job.metric

    def _ask(self, question: Question, draw: Draw) -> tuple[Reply, Asked, Any]:
        unit, asked = Unit(unit_name(question.id, self.name, draw.budget), draw.number), Asked(draw.budget)
        with dspy.context(tale_unit=unit, tale_asked=asked):
            found = ask(self.program, question, self._judge(draw), self.job.options.threshold, unit.calls)
        return _reply(found, asked, unit.calls), asked, found.get("answer")

    async def _aask(self, question: Question, draw: Draw) -> tuple[Reply, Asked, Any]:
        unit, asked = Unit(unit_name(question.id, self.name, draw.budget), draw.number), Asked(draw.budget)
        with dspy.context(tale_unit=unit, tale_asked=asked):
            found = await aask(self.program, question, self._judge(draw), self.job.options.threshold, unit.calls)
        return _reply(found, asked, unit.calls), asked, found.get("answer")

    # ---- what is finished

    def _keep(self, row: SearchRow) -> None:
        """Write a row. Until anything was answered errors are held back: they may be one fault of the whole run."""
        with self._lock:
            self._held.append(row)
            if row.reason and row.reason.startswith(FAILED) and not self.session.answered.is_set():
                if len(self._held) >= self._doomed:
                    raise BackendError(f"no question could be answered: {row.reason.removeprefix(FAILED)}")
                return
            kept, self._held = self._held, []
        self._write(kept)

    def _write(self, rows: Sequence[SearchRow]) -> None:
        for row in rows:
            if self.job.folder:
                self.job.folder.append(SEARCH_FILE, row.to_json())
        with self._lock:
            for row in rows:
                self.rows.append(row)
                self._count(row)
            if self.job.options.progress:
                self.job.options.progress(self.tally)

    def _count(self, row: SearchRow) -> None:
        """Count a row in: as right if it was without a budget, with the tokens that are left of it."""
        tally = self.tally
        tokens = row.best.tokens if row.best else row.vanilla.tokens
        tally.done += 1
        tally.correct += row.vanilla.correct
        if tokens is not None:
            tally.output_tokens += round(tokens)
            tally.counted += 1
        tally.spent_usd, tally.unpriced = self._spent + self.ledger.spent_usd, self.ledger.unpriced_calls


def _reply(found: dict[str, Any], asked: Asked, calls: Sequence[Call]) -> Reply:
    """Return what came of a draw, judged by the calls of the predictor that is searched."""
    own = [c for c in asked.calls if c.role in ANSWERING]
    if not own:  # an adapter of DSPy's raised at its reply: there was no prediction to tell of its calls
        own = [c for c in calls if c.role in ANSWERING]
    last = own[-1] if own else None
    error = found.get("error")
    return Reply(
        tokens=total([c.output_tokens for c in own]),
        correct=found["outcome"] == "correct",
        text=last.text if last else None,
        finish_reason=last.finish_reason if last else None,
        error=(error or "no call was made") if found["outcome"] == "error" or last is None else None,
    )
