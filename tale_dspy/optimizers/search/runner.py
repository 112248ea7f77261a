"""Make the calls of the searches of many questions.

They run at once, under caps, journalled, and judged by the metric.
"""

import threading
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from tale_dspy.accounting.calls import total_or_none
from tale_dspy.accounting.ledger import Ledger
from tale_dspy.optimizers.search.budget_override import ProbeContext, with_budget_override
from tale_dspy.optimizers.search.folder import FAILED, UNANSWERED, SearchFolder, error_of, sample_id
from tale_dspy.optimizers.search.question import (
    BudgetQuery,
    QueryResult,
    QuestionResult,
    SearchPlan,
    finish_question,
    per_question,
    search_question,
    trial_of,
)
from tale_dspy.optimizers.search.records import SEARCH_FILE, SearchRow, VanillaAnswer
from tale_dspy.optimizers.search.rounds import ROUNDS, search_in_rounds
from tale_dspy.runs.options import RunOptions, Tally
from tale_dspy.runs.question_sample import QuestionSample
from tale_dspy.runs.questions import QuestionStream
from tale_dspy.runs.scoring import Metric, Question
from tale_dspy.runs.shards import Shard
from tale_dspy.runs.work_runner import ProgramAnswer, ProgramCall, Work, WorkRunner

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

AGREEMENT = "agreement"
"""What `judged_by` says where right means: the same answer as without a budget."""
PHRASE_BESIDE = "; with the phrase beside a word it is {ratio:.2f} times as many: search token budgets, --efforts none"
"""Follows `NO_EFFECT` where the phrase does what the words do not."""
NO_PHRASE = (
    "the phrase beside the effort words has no observable effect on the tokens (paired 95 % interval covers 0): it was "
    "asked on {n} questions and given up"
)
NO_EFFECT = (
    "no observable effect: on {n} questions the tokens at the effort words {words} do not differ from those without "
    "(paired 95 % interval covers 0); the search ended"
)
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
    efforts: tuple[str, ...] = ()
    """Effort words that are searched, from the least to the most; none searches token budgets."""

    @cached_property
    def shard(self) -> Shard | None:
        """Which part of the questions is searched; None for all."""
        return None if self.options.shard is None else Shard.parse(self.options.shard)

    @cached_property
    def size(self) -> int:
        """How many questions are searched."""
        ids = self.questions.ids() if isinstance(self.questions, QuestionStream) else (q.id for q in self.questions)
        return len(self.questions) if self.shard is None else sum(map(self.shard.holds, ids))

    def __iter__(self) -> Iterator[Question]:
        """Yield the questions that are searched."""
        return (q for q in self.questions if self.shard is None or self.shard.holds(q.id))


class SearchRunner:
    """The search of one predictor of a program, over all questions.

    Args:
        program: The program; copied, never changed.
        name: The predictor, as in `budgeted_predictors`.
        lm: Language model of predictors that have none of their own.
        job: What is searched.
        ledger: Books every call and holds the caps.
        tally: Running figures of all predictors, continued.

    Attributes:
        rows: The finished questions, in the order in which they were.
        stopped: The sentence of the cap that ended the search early, or None.
        notice: Why questions were left out without a cap, or None.
    """

    def __init__(self, program: Any, name: str, lm: Any, job: SearchJob, ledger: Ledger, tally: Tally) -> None:
        self.name, self.job, self.ledger, self.tally = name, job, ledger, tally
        self.runner: WorkRunner[Question, SearchRow] = WorkRunner(
            with_budget_override(program, name), lm, job.metric, job.options, ledger, job.folder
        )
        self.rows: list[SearchRow] = []
        self.stopped: str | None = None
        self.notice: str | None = None
        self._spent_before = tally.spent_usd
        self._lock = threading.Lock()
        self._sampling = threading.Lock()  # samplers of Optuna's are not made for threads

    def run(self) -> list[SearchRow]:
        """Search all questions that are not finished, and return all finished rows.

        Raises:
            BackendError: If the provider refuses every question, or results cannot be written.
            KeyboardInterrupt: On Ctrl-C, after what was finished has been written.
        """
        finished = self._finished_before()
        if self.job.options.progress:
            self.job.options.progress(self.tally)
        questions = (q for q in takewhile(lambda _: not self._has_no_effect(), self.job) if q.id not in finished)
        cap = self.runner.run(questions, self._search_question, self._store_rows, error_of)
        self.stopped = None if cap is None else str(cap)
        self._note_phrase()
        return self.rows

    def _note_phrase(self) -> None:
        """Say what was learned of the phrase beside the words."""
        from tale_dspy.optimizers.samplers.effort import EffortSampler

        sampler = self.job.sampler
        if not isinstance(sampler, EffortSampler) or sampler.phrase_ratio is None:
            return
        if sampler.phrase_has_no_effect and self.notice is None:
            questions = sum(any("+" in str(trial.budget) for trial in row.trials) for row in self.rows)
            self.notice = NO_PHRASE.format(n=questions)
        elif self.notice is not None and not sampler.phrase_has_no_effect and sampler.phrase_ratio < 1:
            self.notice += PHRASE_BESIDE.format(ratio=sampler.phrase_ratio)

    def _has_no_effect(self) -> bool:
        """Return whether the sampler has seen that effort words make no difference.

        No further question is then asked.
        """
        if not self.job.efforts:
            return False
        from tale_dspy.optimizers.samplers.effort import EffortSampler

        sampler = self.job.sampler
        if not isinstance(sampler, EffortSampler) or not sampler.has_no_effect:
            return False
        if self.notice is None:
            self.notice = NO_EFFECT.format(
                n=len(self.rows), words=", ".join(word for word in self.job.efforts if "+" not in word)
            )
        return True

    def _finished_before(self) -> set[str]:
        """Load the rows of an earlier process.

        The sampler learns from them in the same order.
        """
        for row in self.job.folder.rows.values() if self.job.folder else ():
            if row.predictor == self.name:
                if row.vanilla.correct and row.vanilla.tokens:
                    finish_question(self.job.sampler, row.vanilla.tokens, row.trials, self.job.efforts)
                self.rows.append(row)
                self._count_row(row)
        return {row.id for row in self.rows}

    # ---- one question

    def _search_question(self, question: Question) -> Work[SearchRow]:
        """Ask without a budget, then what the search wants to know."""
        job = self.job
        rounds = ROUNDS if job.options.batch and not self._is_asked_again(question) else None
        reply, probe, answer = yield from self._ask_program(question, BudgetQuery(None), rounds)
        correct = reply.correct and (answer is not None or not job.agreement)
        vanilla = VanillaAnswer(reply.tokens, reply.text, correct)
        inputs = dict(question.inputs if probe.inputs is None else probe.inputs)
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
        if reply.waiting:
            return replace(row, reason=UNANSWERED.format(n=1, rounds=rounds), unanswered=1)
        if reply.error is not None:
            return replace(row, reason=f"{FAILED}{reply.error}")
        if job.agreement and correct:
            question = replace(question, example=question.example.copy(**{question.gold_field: answer}))
        if job.options.batch:
            result = yield from self._search_rounds(question, vanilla, reply.delays, rounds)
        else:
            result = yield from self._search_one_by_one(question, vanilla)
        reason = result.reason
        if result.unanswered and result.best is None:
            reason = UNANSWERED.format(n=result.unanswered, rounds=rounds)
        return replace(row, trials=result.trials, best=result.best, reason=reason, unanswered=result.unanswered)

    def _is_asked_again(self, question: Question) -> bool:
        """Return whether an earlier process left the question without answers.

        It now waits for all of them.
        """
        return self.job.folder is not None and (self.name, question.id) in self.job.folder.asked_again

    def _search_rounds(
        self, question: Question, vanilla: VanillaAnswer, delays: int, rounds: int | None
    ) -> Generator[Sequence[ProgramCall], Sequence[ProgramAnswer], QuestionResult]:
        search = search_in_rounds(vanilla, self.job.plan, self.job.efforts, delays=delays, rounds=rounds)
        calls: dict[BudgetQuery, tuple[ProgramCall, ProbeContext]] = {}
        try:
            draws = next(search)
            while True:
                for draw in draws:
                    if draw not in calls:
                        calls[draw] = self._call_of(question, draw, may_come_later=True)
                pending = [calls[draw] for draw in draws]
                answers = yield [call for call, _ in pending]
                draws = search.send(
                    [_query_result(call, probe, a) for (call, probe), a in zip(pending, answers, strict=True)]
                )
        except StopIteration as e:
            result: QuestionResult = e.value
            return result

    def _search_one_by_one(
        self, question: Question, vanilla: VanillaAnswer
    ) -> Generator[Sequence[ProgramCall], Sequence[ProgramAnswer], QuestionResult]:
        """Ask what an earlier process has asked, then what the sampler wants to know."""
        job, known = self.job, []
        for draw in job.folder.known(self.name, question.id) if job.folder else ():
            reply, _, _ = yield from self._ask_program(question, draw)
            if reply.error is None and draw.budget is not None:
                known.append(trial_of(draw.budget, reply))
        search = search_question(vanilla, per_question(job.sampler), job.plan, known, job.efforts)
        try:
            with self._sampling:
                draw = next(search)
            while True:
                reply, _, _ = yield from self._ask_program(question, draw)
                with self._sampling:
                    draw = search.send(reply)
        except StopIteration as e:
            result: QuestionResult = e.value
            return result

    def _ask_program(
        self, question: Question, draw: BudgetQuery, rounds: int | None = None
    ) -> Generator[Sequence[ProgramCall], Sequence[ProgramAnswer], tuple[QueryResult, ProbeContext, Any]]:
        """Ask the program with a budget.

        It returns the reply, what the searched predictor saw, and the answer.

        Args:
            question: What is asked.
            draw: With which budget.
            rounds: After how many rounds of batches the reply is given up, and returned as `waiting`; None waits.
        """
        call, probe = self._call_of(question, draw, may_come_later=rounds is not None)
        while True:
            (answer,) = yield [call]
            if not answer.waiting or (rounds is not None and answer.delays >= rounds):
                break
        return _query_result(call, probe, answer), probe, answer.fields.get("answer")

    def _call_of(
        self, question: Question, draw: BudgetQuery, *, may_come_later: bool = False
    ) -> tuple[ProgramCall, ProbeContext]:
        """Return the call of a draw, and the probe the searched predictor writes to."""
        sample = QuestionSample(sample_id(question.id, self.name, draw.budget), draw.number)
        probe = ProbeContext(draw.budget)
        settings = {"tale_probe": probe}
        return ProgramCall(question, sample, self._metric_of(draw), settings, may_come_later), probe

    def _metric_of(self, draw: BudgetQuery) -> Metric | None:
        """Return the metric of an answer.

        The answer without a budget has nothing to agree with yet.
        """
        return (lambda example, pred: True) if self.job.agreement and draw.budget is None else self.job.metric

    # ---- what is finished

    def _store_rows(self, rows: Sequence[SearchRow]) -> None:
        for row in rows:
            if self.job.folder:
                self.job.folder.append(SEARCH_FILE, row.to_json())
        with self._lock:
            for row in rows:
                self.rows.append(row)
                self._count_row(row)
            if self.job.options.progress:
                self.job.options.progress(self.tally)

    def _count_row(self, row: SearchRow) -> None:
        """Count a row for the live display.

        It is right if it was right without a budget; its tokens are those under the best budget.
        """
        tally = self.tally
        tokens = row.best.tokens if row.best else row.vanilla.tokens
        tally.done += 1
        tally.correct += row.vanilla.correct
        if tokens is not None:
            tally.output_tokens += round(tokens)
            tally.counted += 1
        tally.spent_usd, tally.unpriced = self._spent_before + self.ledger.spent_usd, self.ledger.unpriced_calls


def _query_result(call: ProgramCall, probe: ProbeContext, answer: ProgramAnswer) -> QueryResult:
    """Return the result of a draw, judged by the calls of the searched predictor."""
    if answer.waiting:
        return QueryResult(None, False, delays=answer.delays, waiting=True)
    answering = [c for c in probe.calls if c.role in ANSWERING]
    if not answering:  # an adapter of DSPy's raised at its reply: there was no prediction to tell of its calls
        answering = [c for c in call.sample.calls if c.role in ANSWERING]
    last = answering[-1] if answering else None
    fields = answer.fields
    error = fields.get("error")
    return QueryResult(
        tokens=total_or_none([c.output_tokens for c in answering]),
        correct=fields["outcome"] == "correct",
        text=last.text if last else None,
        finish_reason=last.finish_reason if last else None,
        error=(error or "no call was made") if fields["outcome"] == "error" or last is None else None,
        delays=answer.delays,
    )
