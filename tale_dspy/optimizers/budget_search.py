"""BudgetSearch: find each question's best budget, and learn to predict it."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import dspy

from tale_dspy.accounting.ledger import Ledger
from tale_dspy.datasets import Dataset
from tale_dspy.dspy_bridge import Teleprompter
from tale_dspy.errors import SpendCapReached, UsageError
from tale_dspy.optimizers import samplers
from tale_dspy.optimizers.few_shot import few_shot
from tale_dspy.optimizers.fit_effort import fit_effort
from tale_dspy.optimizers.fit_regression import fit_regression
from tale_dspy.optimizers.search.budget_override import (
    budgeted_predictors,
    replace_module,
    searchable_predictors,
    task_of,
    with_estimator,
)
from tale_dspy.optimizers.search.budget_space import check_efforts
from tale_dspy.optimizers.search.effort_settings import Efforts, effort_settings
from tale_dspy.optimizers.search.folder import SearchFolder, total_cost
from tale_dspy.optimizers.search.question import SearchPlan
from tale_dspy.optimizers.search.records import SearchRow
from tale_dspy.optimizers.search.rounds import LADDER_CALLS
from tale_dspy.optimizers.search.runner import SearchJob, SearchRunner
from tale_dspy.optimizers.search.summary import search_summary
from tale_dspy.programs.copying import copy_program, language_models
from tale_dspy.programs.estimators.estimator import input_signature
from tale_dspy.programs.tale_ep import TaleEP
from tale_dspy.protocols import JsonObject, Program
from tale_dspy.runs.describe import describe_run
from tale_dspy.runs.engine import stop_word
from tale_dspy.runs.options import RunOptions, Tally
from tale_dspy.runs.questions import questions_of
from tale_dspy.runs.scoring import Metric
from tale_dspy.runs.shards import Shard
from tale_dspy.runs.shared_caps import SharedCaps

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

    from tale_dspy.optimizers.samplers.elastic import LessonExchange

logger = logging.getLogger(__name__)

AGREES = "agrees-with-vanilla"
"""The metric of questions without gold."""
SAMPLERS: "dict[str, Callable[[int], BaseSampler]]" = {
    "elastic": lambda seed: samplers.ElasticSampler(),
    "halving": lambda seed: samplers.HalvingSampler(),
    "tpe": lambda seed: samplers.TPESampler(seed),
    "grid": lambda seed: samplers.GridSampler(),
    "effort": lambda seed: samplers.EffortSampler(),
}
"""Samplers that can be given by name, each made from a seed: a new one is one line here."""
DEFAULT_CALLS = 12
"""Budgets tried for a question by a sampler that does not know when it is done."""
ENDLESS = 10_000

MakeEstimator = Callable[[Sequence[SearchRow], type[dspy.Signature]], dspy.Module]
"""Makes an estimator from the rows of a search and a signature of the inputs it may look at."""
ESTIMATORS: dict[str, MakeEstimator] = {
    "regression": lambda rows, signature: fit_regression(rows, signature),
    "few-shot": lambda rows, signature: few_shot(rows, signature),
}
"""Estimators of token budgets that can be given by name."""
EFFORT_ESTIMATORS: dict[str, MakeEstimator] = {"regression": lambda rows, signature: fit_effort(rows, signature)}
"""Their counterparts for effort words."""


class BudgetSearch(Teleprompter):  # type: ignore[misc]  # dspy ships no types
    """Search the best budget of every question, and learn an estimator from them.

    For each question an Optuna study minimises the tokens really used, subject to a right answer; what it finds is
    drawn again before it is believed (paper, section 4 and algorithm 1, which neither draws again nor learns). A
    question that no budget makes cheaper says so, with the reason, and is never given a made-up target; one that is
    wrong without a budget is counted and not searched.

    Args:
        metric: As in `evaluate`; None compares answers with the gold. `agrees-with-vanilla` is for questions without
            gold: right then means the same answer as without a budget, and everything is labelled `agreement`.
        sampler: `elastic`, `halving` (the paper's), `tpe`, `grid`, or any Optuna sampler. Over effort words `elastic`
            is replaced by `effort`, its counterpart for ordered words. With `batch` no sampler is asked: a ladder of
            budgets is tried at once, so that the search takes four rounds at most.
        efforts: What is searched: effort words such as `("low", "medium", "low+50")`, in any order, a number being
            that of the phrase beside the word; None for token budgets; `auto` for all words the model has, with and
            without the phrase, if it is a reasoning model that takes words, else token budgets.
        calls_per_question: Most budgets tried for a question. None leaves that to the sampler; one that does not know
            when it is done is given `DEFAULT_CALLS`.
        repeats: By how many the right fresh draws of a budget must outnumber the wrong ones before it is chosen. 0
            believes the first draw.
        estimator: `regression` (`RegressionEstimator`: no call), `few-shot` (`FewShotEstimator`: searched budgets as
            demos), or a function of the rows and a signature of the inputs that returns a module.
        max_usd: Cap on US dollars of the whole search; what was finished until then is learned from.
        out: Run folder, so that a search killed at any moment continues; None keeps everything in memory.
        seed: Decides the random numbers of samplers given by name.
        **options: Passed on to the run engine: `lm`, `adapter`, `concurrency`, `price`, `timeout`, `retries`,
            `threshold`, `max_total_output_tokens`, `progress` ... as in `RunOptions`.

    Raises:
        UsageError: If an argument cannot be used.

    Attributes:
        rows: What the last search found, one `SearchRow` a question and predictor.
        summary: Its figures.
        notices: By predictor, why the search left questions out, such as a control without an observable effect.
        stopped: The sentence of the cap that ended it early, or None.
        caps: What it left of its caps.
        shared_caps: Caps that it shares with searches of other processes, set before `compile`; None takes its own.
        exchange: Shares what `elastic` learns with them, likewise.

    Example:
        >>> best = BudgetSearch(max_usd=5).compile(TaleEP("question -> answer"), trainset=train)
        >>> best.save("p.json")
    """

    def __init__(
        self,
        metric: Metric | Literal["agrees-with-vanilla"] | None = None,
        *,
        sampler: "str | BaseSampler" = "elastic",
        efforts: Efforts = "auto",
        calls_per_question: int | None = None,
        repeats: int = 2,
        estimator: Literal["regression", "few-shot"] | MakeEstimator = "regression",
        max_usd: float | None = None,
        out: str | Path | None = None,
        seed: int = 0,
        **options: Any,
    ) -> None:
        if isinstance(metric, str) and metric != AGREES:
            raise UsageError(f"metric must be a function, None or {AGREES!r}, got {metric!r}")
        if isinstance(sampler, str) and sampler not in SAMPLERS:
            raise UsageError(f"sampler must be one of {', '.join(SAMPLERS)} or an Optuna sampler, got {sampler!r}")
        if options.get("batch") and sampler != "elastic":
            raise UsageError("a search through a batch tries a ladder of budgets at once: it takes no sampler")
        if isinstance(estimator, str) and estimator not in ESTIMATORS:
            raise UsageError(f"estimator must be {' or '.join(ESTIMATORS)} or a function of rows, got {estimator!r}")
        self.plan = SearchPlan(DEFAULT_CALLS if calls_per_question is None else calls_per_question, repeats)
        self.metric, self.sampler, self.seed = metric, sampler, seed
        self.efforts = efforts if efforts is None or efforts == "auto" else check_efforts(efforts)
        self.estimator = ESTIMATORS[estimator] if isinstance(estimator, str) else estimator
        self._estimator_name = estimator if isinstance(estimator, str) else ""
        self.out = None if out is None else Path(out)
        self.options = RunOptions(**{**options, "max_usd": max_usd, "allow_leak": True})
        self._sampler_decides = calls_per_question is None
        self.shared_caps: SharedCaps | None = None
        self.exchange: LessonExchange | None = None
        self._reset_search()

    def _reset_search(self) -> None:
        self.rows: list[SearchRow] = []
        self.notices: dict[str, str] = {}
        self.summary: JsonObject = {}
        self.stopped: str | None = None
        caps = SharedCaps(self.options.max_usd, self.options.max_total_output_tokens)
        self.caps = caps if self.shared_caps is None else self.shared_caps

    def compile(
        self,
        student: Any,
        *,
        trainset: Dataset | Sequence[object],
        teacher: Any = None,
        valset: object = None,
        **kwargs: object,
    ) -> Any:
        """Return a copy of the student with an estimator in each predictor.

        Each budgeted predictor gets an estimator learned from its own best budgets.

        Several predictors are searched one after the other, each under the program's own metric, with the estimators
        found before it in place. A `BudgetedChainOfThought` comes back as a `TaleEP`. Where no budget gained anything,
        a predictor keeps the estimator it has, with a warning.

        Args:
            student: A program with one or more budgeted predictors; not changed.
            trainset: Questions to search on; the program remembers them, and evaluating on them is refused.
            teacher: Not used.
            valset: Not used.
            **kwargs: Not used.

        Raises:
            UsageError: If there is no budgeted predictor, no question, or a cap in dollars meets an unknown price.
            SpendCapReached: If the cap ended the search before a single question was finished.
            BackendError: If the provider refuses every question, or results cannot be written.
            KeyboardInterrupt: On Ctrl-C, after what was finished has been written.
        """
        self._reset_search()
        names = searchable_predictors(student)
        lm = self.options.lm or dspy.settings.lm
        if lm is None and not list(language_models(student)):
            raise UsageError("no language model: pass lm=tale_dspy.LM(...) or call dspy.configure(lm=...)")
        job = self._make_job(student, lm, trainset)
        try:
            return self._search_predictors(student, names, lm, job)
        finally:
            if job.folder:
                job.folder.close()

    def _make_job(self, student: Program, lm: Any, trainset: Dataset | Sequence[object]) -> SearchJob:
        ledger = Ledger(self.options.max_usd, price=self.options.price)
        for model in [lm, *language_models(student)]:
            if model is not None and ledger.capped:
                ledger.require_price(model)
        questions = questions_of(trainset)
        efforts = effort_settings(student, lm, self.efforts)
        sampler = self._make_sampler(efforts)
        search_config = {"sampler": type(sampler).__name__, "seed": self.seed, **asdict(self.plan)}
        if efforts:
            search_config["efforts"] = list(efforts)
        plan = self.plan
        if self.options.batch:
            plan = replace(plan, calls_per_question=LADDER_CALLS) if self._sampler_decides else plan
            search_config |= {"sampler": "in rounds", "calls_per_question": plan.calls_per_question}
        elif self._sampler_decides and _decides_when_done(sampler):
            plan, search_config["calls_per_question"] = replace(plan, calls_per_question=ENDLESS), None
        config: JsonObject = {**(self.options.config or {}), "search": search_config}
        metric = None if isinstance(self.metric, str) else self.metric
        if isinstance(self.metric, str):
            config["metric"] = self.metric
        info = describe_run(student, lm, questions, metric, replace(self.options, config=config), trainset)
        self.info = info
        if self.exchange is not None and isinstance(sampler, samplers.ElasticSampler):
            sampler.join(self.exchange)
        shard = None if self.options.shard is None else Shard.parse(self.options.shard)
        folder = None
        if self.out is not None:
            folder = SearchFolder(self.out if shard is None else self.out / shard.folder_name, info)
        return SearchJob(questions, metric, isinstance(self.metric, str), sampler, plan, self.options, folder, efforts)

    def _make_sampler(self, efforts: tuple[str, ...]) -> "BaseSampler":
        """Return the sampler.

        Over effort words the default is replaced by its counterpart for words.
        """
        if efforts and self.sampler in ("elastic", "effort"):
            return samplers.EffortSampler(efforts)
        return make_sampler(self.sampler, self.seed)

    def _search_predictors(self, student: Program, names: Sequence[str], lm: Any, job: SearchJob) -> Any:
        started = time.perf_counter()
        tally = Tally(total=len(names) * job.size)
        program = copy_program(student)
        calls, usd = 0, []
        fault: BaseException | None = None
        try:
            for name in names:
                with self.caps.next_ledger(self.options.price) as ledger:
                    search = SearchRunner(program, name, lm, job, ledger, tally)
                    try:
                        rows = search.run()
                    finally:
                        self.rows += search.rows
                        calls += ledger.calls
                        usd.append(None if ledger.unpriced_calls else ledger.spent_usd)
                if search.notice:
                    logger.warning("%s", search.notice)
                    self.notices[name] = search.notice
                program = self._with_estimator(program, name, rows)
                self.stopped = search.stopped
                if search.stopped:
                    break
        except SpendCapReached as e:  # nothing is left for the next predictor
            self.stopped = str(e)
        except BaseException as e:  # such as Ctrl-C: the summary says that the search is not finished
            fault = e
            raise
        finally:
            self._sum_up(job, calls, total_cost(usd), time.perf_counter() - started, fault)
        if self.stopped and not self.rows:
            raise SpendCapReached(self.stopped, self.caps.ledger)
        if self.stopped:
            logger.warning("the search ended after %d of %d questions: %s", len(self.rows), tally.total, self.stopped)
        return program

    def _with_estimator(self, program: Program, name: str, rows: Sequence[SearchRow]) -> Any:
        """Return the program with an estimator for one predictor.

        The program remembers which questions the estimator was learned from.
        """
        module = budgeted_predictors(program)[name]
        module.seen.add((row.id for row in rows), "search", self.options.lm)
        if not any(row.best for row in rows):
            logger.warning("no budget gained anything on %d questions: %s keeps its estimator", len(rows), name)
            return program
        inputs = module.estimate_from if isinstance(module, TaleEP) else None
        signature = input_signature(task_of(module), inputs)
        make = self.estimator
        if any(row.best is not None and isinstance(row.best.budget, str) for row in rows):
            make = EFFORT_ESTIMATORS.get(self._estimator_name, self.estimator)
        return replace_module(program, module, with_estimator(module, make(rows, signature)))

    def _sum_up(
        self, job: SearchJob, calls: int, usd: float | None, seconds: float, fault: BaseException | None
    ) -> None:
        """Set the summary, and write it."""
        if job.folder:
            calls, usd = job.folder.cost()
            seconds += job.folder.wall_s
        place = None if job.folder is None else job.folder.path
        self.summary = {
            **search_summary(self.info, self.rows, calls, usd, seconds, place),
            "notices": list(self.notices.values()),
            "stopped": (self.stopped and "cap") if fault is None else stop_word(fault),
            "message": self.stopped,
        }
        if job.folder:
            job.folder.replace("summary.json", self.summary)


def make_sampler(sampler: "str | BaseSampler", seed: int = 0) -> "BaseSampler":
    """Return the sampler of a name; one that is none comes back as it is.

    Raises:
        MissingExtraError: If Optuna is not installed.
        UsageError: If it is no Optuna sampler.
    """
    if isinstance(sampler, str) and sampler in SAMPLERS:
        return SAMPLERS[sampler](seed)
    from optuna.samplers import BaseSampler

    if not isinstance(sampler, BaseSampler):
        raise UsageError(f"sampler must be one of {', '.join(SAMPLERS)} or an Optuna sampler, got {sampler!r:.80}")
    return sampler


def _decides_when_done(sampler: "BaseSampler") -> bool:
    """Return whether a sampler knows when a question is done."""
    return isinstance(sampler, samplers.BudgetSampler)
