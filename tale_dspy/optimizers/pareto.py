"""ParetoSearch: tune a program for accuracy, tokens and money at once.

It varies wording, demos, budgets, estimator and mode.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import dspy

from tale_dspy.accounting.tracking import track
from tale_dspy.budget import check_count, check_fraction
from tale_dspy.datasets import Dataset
from tale_dspy.dspy_bridge import Teleprompter
from tale_dspy.errors import MissingExtraError, SpendCapReached, UsageError
from tale_dspy.ids import digest
from tale_dspy.optimizers.pareto_front import FrontPoint, ParetoFront, ProgramFigures
from tale_dspy.optimizers.search.budget_override import budgeted_predictors, searchable_predictors
from tale_dspy.optimizers.search.question import Direction, new_study
from tale_dspy.optimizers.search_space import Demos, SearchSpace, collect_demos
from tale_dspy.programs.copying import copy_program
from tale_dspy.protocols import JsonObject, Program
from tale_dspy.runs.options import RunOptions
from tale_dspy.runs.questions import questions_of
from tale_dspy.runs.records import Run
from tale_dspy.runs.scoring import Metric, answers_match, score_of
from tale_dspy.runs.shared_caps import SharedCaps
from tale_dspy.runs.tuning_folder import FRONT_FOLDER

if TYPE_CHECKING:
    from optuna.study import Study

logger = logging.getLogger(__name__)

DEMO_SHARE = 4
"""Without a `valset`, a fourth of the questions is for demos."""


class ParetoSearch(Teleprompter):  # type: ignore[misc]  # dspy ships no types
    """Try variants of a budgeted program, and keep the Pareto front.

    No program of the front is better than another in everything.

    Optuna's multi-objective TPE chooses instruction wording, demos, scale of the budgets, estimator and mode together,
    for accuracy, mean tokens (estimates included) and, where it is known, price. The front is measured again on fresh,
    uncached draws before it is reported: the best of many noisy figures is too good.

    Args:
        metric: As in `evaluate`; None compares answers.
        space: What may be changed.
        trials: Variants tried, the program as it is included; equal ones are asked once.
        max_loss: `compile` returns the program of the fewest tokens among those at most this much less accurate than
            the best, as a fraction; with `max_tokens` the most accurate one of at most this many instead.
        max_tokens: Mean tokens a question, estimates included.
        max_usd: Cap on US dollars of everything together; what was finished until then makes the front.
        out: A folder that keeps a run folder for each variant, so that a killed search continues, and the saved
            programs of the front; None keeps nothing.
        **options: `seed` of the sampler (0), `caps` shared with other work (`SharedCaps`); the rest is passed on to
            `evaluate`: `lm`, `adapter`, `concurrency`, `price`, `repeats`, `max_total_output_tokens` ...

    Raises:
        UsageError: If an option is out of range.

    Attributes:
        front: The programs of the last search; `front.pick(...)` chooses among them, `front.save(folder)` writes them.
        trials_made: Variants that were measured in it.
        stopped: The sentence of the cap that ended it early, or None.
        caps: What it left of its caps.

    Example:
        >>> search = ParetoSearch(max_usd=5, out="runs/front")
        >>> best = search.compile(TaleEP("question -> answer"), trainset=train, valset=dev)
        >>> cheap = search.front.pick(max_loss=0.01).program
    """

    def __init__(
        self,
        metric: Metric | None = None,
        *,
        space: SearchSpace | None = None,
        trials: int = 24,
        max_loss: float = 0.01,
        max_tokens: float | None = None,
        max_usd: float | None = None,
        out: str | Path | None = None,
        **options: Any,
    ) -> None:
        self.metric, self.space = metric, space or SearchSpace()
        self.trials = check_count(trials, "trials")
        check_fraction(max_loss, "max_loss")
        self.rule: dict[str, float] = {"max_loss": max_loss} if max_tokens is None else {"max_tokens": max_tokens}
        self.out = None if out is None else Path(out)
        self.seed = options.pop("seed", 0)
        self._shared_caps: SharedCaps | None = options.pop("caps", None)
        self.options = {**options, "allow_leak": True}  # a student tuned before may see these questions again
        self._limits = (max_usd, options.pop("max_total_output_tokens", None))
        self._threshold = RunOptions(**{**self.options, "max_total_output_tokens": None}).threshold
        self._reset_search()

    def _reset_search(self) -> None:
        self.caps = SharedCaps(*self._limits) if self._shared_caps is None else self._shared_caps
        self._choices = self.space
        self.stopped: str | None = None
        self.front, self.trials_made = ParetoFront([]), 0

    def compile(
        self,
        student: Any,
        *,
        trainset: Dataset | Sequence[object],
        teacher: Any = None,
        valset: Dataset | Sequence[object] | None = None,
        **kwargs: object,
    ) -> Any:
        """Return the program of the front that the rule of the constructor chooses.

        The others are in `front`.

        Args:
            student: A program with one or more budgeted predictors; not changed.
            trainset: Questions that demos are made of.
            teacher: Not used.
            valset: Questions that programs are measured on; None takes all of `trainset`, or three quarters of it
                where demos are wanted. The programs remember all, and evaluating on them is refused.
            **kwargs: Not used.

        Raises:
            UsageError: If the student has no budgeted predictor, there is no question, no program is as short as
                `max_tokens`, or the provider does not tell tokens.
            MissingExtraError: If Optuna is not installed.
            SpendCapReached: If the cap ended the search before a single program was measured.
        """
        return self.search(student, trainset, valset).pick(**self.rule).program

    def search(self, student: Any, trainset: Any, valset: Any = None) -> ParetoFront:
        """Return the front without choosing from it.

        Arguments and errors are those of `compile`.
        """
        searchable_predictors(student)
        _check_extra()
        self._reset_search()
        self._choices = self.space.of_program(student)
        train, val = self._split_questions(trainset, valset)
        variants: dict[str, _MeasuredVariant] = {}
        demos: Demos = {}
        try:
            demos = self._bootstrap_demos(student, train)
            self._search_variants(student, demos, val, variants)
        except SpendCapReached as e:
            self.stopped = str(e)
            if not variants:
                raise
            logger.warning("the search ended after %d programs: %s", len(variants), e)
        self.trials_made = len(variants)
        self.front = self._fresh_front(student, demos, val, variants)
        for point in self.front:
            self._record_questions(point.program, train if demos else [], val)
        if self.out is not None:
            self.front.save(self.out / FRONT_FOLDER)
        return self.front

    # ---- the questions

    def _split_questions(self, trainset: Any, valset: Any) -> tuple[list[Any], Any]:
        """Return the questions for demos, and those that programs are measured on."""
        train = list(trainset.examples if isinstance(trainset, Dataset) else trainset)
        if valset is not None:
            return train, valset
        if not self.space.most_demos or len(train) < 2:
            return [], trainset
        few = max(1, len(train) // DEMO_SHARE)
        rest = train[few:]
        return train[:few], replace(trainset, examples=rest) if isinstance(trainset, Dataset) else rest

    def _bootstrap_demos(self, student: Program, train: Sequence[object]) -> Demos:
        """Make demos of the student's own answers.

        A search that was killed reads them from its folder again.
        """
        k = self.space.most_demos
        if not k or not train:
            return {}
        keeper = copy_program(student)
        demo_file = None if self.out is None else self.out / "demos.json"
        if demo_file is not None and demo_file.exists():
            keeper.load(demo_file)
        else:
            for name, examples in self._asked_for_demos(student, train, k).items():
                budgeted_predictors(keeper)[name].predict.demos = list(examples)
            if demo_file is not None:
                demo_file.parent.mkdir(parents=True, exist_ok=True)
                keeper.save(demo_file)
        return {name: list(module.predict.demos) for name, module in budgeted_predictors(keeper).items()}

    def _asked_for_demos(self, student: Any, train: Sequence[Any], k: int) -> Demos:
        questions = {id(e): q for e, q in zip(train, questions_of(train), strict=True)}

        def is_right(example: object, pred: object) -> bool:
            if self.metric is None:
                return answers_match(questions[id(example)], pred)
            return score_of(self.metric(example, pred)) >= self._threshold

        overrides = {name: self.options[name] for name in ("lm", "adapter") if self.options.get(name) is not None}
        with dspy.context(**overrides), track(**self.caps.left(), price=self.options.get("price")) as ledger:
            try:
                return collect_demos(student, train, is_right, k)
            finally:
                self.caps.ledger.absorb(ledger)

    # ---- the search

    def _search_variants(
        self, student: Program, demos: Demos, val: object, variants: "dict[str, _MeasuredVariant]"
    ) -> None:
        study = self._create_study(
            self._measure_variant(student, self._choices.unchanged(), demos, val, variants).measured
        )
        for _ in range(self.trials):
            trial = study.ask()
            variant = self._measure_variant(student, self._choices.suggest(trial), demos, val, variants)
            study.tell(trial, _objective_values(variant.measured, len(study.directions)))

    def _create_study(self, first: ProgramFigures) -> "Study":
        from optuna.samplers import TPESampler

        goals: list[Direction] = ["maximize", "minimize", "minimize"]
        goals = goals[:2] if first.cost_usd is None else goals
        study = new_study(TPESampler(seed=self.seed, n_startup_trials=max(4, self.trials // 3)), goals)
        study.enqueue_trial(self._choices.unchanged())
        return study

    def _measure_variant(
        self, student: Program, choices: JsonObject, demos: Demos, val: object, variants: "dict[str, _MeasuredVariant]"
    ) -> "_MeasuredVariant":
        """Measure one choice, unless it was measured before."""
        key = digest(choices)
        if key not in variants:
            run = self._run_program(self.space.build(student, choices, demos), val, key, self.options)
            variants[key] = _MeasuredVariant(choices, measured(run))
        return variants[key]

    def _run_program(self, program: Any, val: Any, name: str, options: JsonObject) -> Run:
        overrides: JsonObject = {
            "metric": self.metric,
            "name": name,
            "out": None if self.out is None else self.out / name,
        }
        return self.caps.evaluate(program, val, **{**options, **overrides})

    # ---- what it came to

    def _fresh_front(
        self, student: Program, demos: Demos, val: object, variants: "dict[str, _MeasuredVariant]"
    ) -> ParetoFront:
        """Measure the front again on fresh draws.

        It begins with the most accurate program and goes as far as the caps allow.
        """
        name = val.name if isinstance(val, Dataset) else "examples"
        points = [
            FrontPoint(self.space.build(student, v.choices, demos), v.choices, v.measured, v.measured, False)
            for v in variants.values()
        ]
        again: list[FrontPoint] = []
        for point in sorted(ParetoFront(points), key=lambda p: -p.measured.accuracy):
            again.append(self._measure_again(point, val))
        return ParetoFront(again, name, [p.selected for p in points])

    def _measure_again(self, point: FrontPoint, val: Any) -> FrontPoint:
        if self.stopped:
            return point
        uncached = copy_program(point.program, lambda lm: lm.copy(cache=False))
        lm = self.options.get("lm") or dspy.settings.lm
        options = {**self.options, **({} if lm is None else {"lm": lm.copy(cache=False)})}
        try:
            run = self._run_program(uncached, val, f"{digest(dict(point.choices))}-fresh", options)
        except SpendCapReached as e:
            self.stopped = str(e)
            logger.warning("not every program of the front was measured again: %s", e)
            return point
        return replace(point, measured=measured(run), is_fresh=True)

    def _record_questions(self, program: Any, train: Sequence[Any], val: Any) -> None:
        for module in budgeted_predictors(program).values():
            if train:
                module.seen.add(questions_of(train).ids(), "train", self.options.get("lm"))
            module.seen.add(questions_of(val).ids(), "val", self.options.get("lm"))


class _MeasuredVariant(NamedTuple):
    """One choice and the figures of its run."""

    choices: JsonObject
    measured: ProgramFigures


def measured(run: Run) -> ProgramFigures:
    """Return the figures of a run that programs are compared by.

    Raises:
        UsageError: If tokens are unknown on every question.
    """
    tokens = [r.net_tokens for r in run.records if r.net_tokens is not None]
    if not tokens:
        raise UsageError("the provider tells no tokens, so that programs cannot be compared by them")
    prices = [r.price_usd for r in run.records if r.price_usd is not None]
    cost = sum(prices) / len(prices) if len(prices) == len(run.records) else None
    return ProgramFigures(run.accuracy or 0.0, sum(tokens) / len(tokens), cost, run.summary["n"])


def _objective_values(figures: ProgramFigures, goals: int) -> list[float]:
    return [figures.accuracy, figures.tokens, figures.cost_usd or 0.0][:goals]


def _check_extra() -> None:
    try:
        import optuna  # noqa: F401  # pyright: ignore[reportUnusedImport]
    except ImportError as e:
        raise MissingExtraError("optuna", "search") from e
