"""Tune a budgeted program, then measure the choice on questions not yet used.

Three optimizers: `pareto` (`ParetoSearch`: wording, prompt form, demos, budgets, estimator and mode together), and
DSPy's `mipro` and `gepa` with `token_aware_metric`, which rewrite instructions.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import dspy

from tale_dspy.accounting.tracking import track
from tale_dspy.budget import check_count, check_fraction
from tale_dspy.datasets import Dataset
from tale_dspy.errors import SpendCapReached, TaleError, UsageError, first_line
from tale_dspy.optimizers.pareto import ParetoSearch, measured
from tale_dspy.optimizers.pareto_front import FrontPoint, ParetoFront
from tale_dspy.optimizers.search.budget_override import searchable_predictors
from tale_dspy.optimizers.search_space import SearchSpace
from tale_dspy.optimizers.token_metric import token_aware_metric
from tale_dspy.programs.convert import unbudgeted
from tale_dspy.runs.records import Run
from tale_dspy.runs.scoring import Metric
from tale_dspy.runs.shared_caps import SharedCaps
from tale_dspy.runs.tuning_folder import FRESH_RUNS, FRONT_FOLDER, PROGRAM_FILE

if TYPE_CHECKING:
    from tale_dspy.comparison.compare import Comparison

Optimizer = Literal["pareto", "mipro", "gepa"]
OPTIMIZERS: tuple[Optimizer, ...] = get_args(Optimizer)

FRESH_SHARE = 3
"""By default a third of the questions is held out for the last measurement."""


@dataclass(frozen=True, kw_only=True)
class TuningOptions:
    """How a program is tuned and chosen.

    Raises:
        UsageError: If an option is out of range.
    """

    optimizer: Optimizer = "pareto"
    """One of `OPTIMIZERS`."""
    trials: int = 24
    """Variants that are tried."""
    max_drop: float = 0.01
    """The chosen program has the fewest tokens among those no more than this (a fraction) below the best accuracy."""
    max_tokens: float | None = None
    """The chosen program is the most accurate one of at most this many mean tokens a question; overrides `max_drop`."""
    fresh: int | None = None
    """Questions kept back to measure the chosen program on; None keeps a third."""
    space: SearchSpace = field(default_factory=SearchSpace)
    """What `pareto` may change."""
    prompt_lm: "dspy.LM | None" = None
    """What rewrites instructions under `mipro` and `gepa`; None takes the model that is tuned."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.optimizer not in OPTIMIZERS:
            raise UsageError(f"optimizer must be one of {', '.join(OPTIMIZERS)}, got {self.optimizer!r}")
        check_count(self.trials, "trials")
        check_fraction(self.max_drop, "max_drop")
        if self.max_tokens is not None and not self.max_tokens > 0:
            raise UsageError(f"max_tokens must be a number above 0, got {self.max_tokens!r}")
        if self.fresh is not None:
            check_count(self.fresh, "fresh")


@dataclass(frozen=True, kw_only=True)
class TuningResult:
    """What a tuning came to."""

    front: ParetoFront
    chosen: FrontPoint
    comparison: "Comparison | None"
    """The chosen program against the same program without budgets, on the fresh questions; None where a cap came
    before."""
    stopped: str | None
    """The sentence of the cap that ended it early, or None."""
    cost_usd: float | None
    """US dollars paid for all of it; None if any price is unknown."""


class Tuning:
    """Tune one program under shared caps.

    Args:
        options: How it is tuned and chosen.
        metric: As in `evaluate`; None compares answers.
        caps: Caps over the search and the last measurement together.
        out: Folder of everything; the same tuning into the same folder continues where it was. DSPy's optimizers begin
            again, with the replies that DSPy's cache has.
        **settings: Passed on to `evaluate`: `lm`, `adapter`, `concurrency`, `price` ...
    """

    def __init__(
        self,
        options: TuningOptions,
        *,
        metric: Metric | None = None,
        caps: SharedCaps | None = None,
        out: str | Path,
        **settings: Any,
    ) -> None:
        self.options, self.metric, self.out = options, metric, Path(out)
        self.caps = SharedCaps() if caps is None else caps
        self.settings = {**settings, "allow_leak": True}

    def run(self, student: Any, data: Dataset) -> TuningResult:
        """Tune, choose, save as `program.json` and measure on fresh questions.

        Args:
            student: A program with one or more budgeted predictors; not changed.
            data: Questions with gold answers; the last ones are kept back (`TuningOptions.fresh`).

        Raises:
            UsageError: If the student has no budgeted predictor, or there are too few questions.
            SpendCapReached: If a cap came before a single program was measured.
        """
        searchable_predictors(student)
        rest, fresh = deal_questions(data, self.options.fresh)
        stopped: str | None
        if self.options.optimizer == "pareto":
            front, stopped = self._pareto_front(student, rest)
        else:
            front, stopped = self._rewritten_front(student, rest)
        chosen = front.pick(**self._rule())
        self.out.mkdir(parents=True, exist_ok=True)
        chosen.program.save(self.out / PROGRAM_FILE)
        comparison = None
        if stopped is None:
            try:
                comparison = self._on_fresh_questions(student, chosen.program, fresh)
            except SpendCapReached as e:
                stopped = f"{e} (not measured on fresh questions)"
        ledger = self.caps.ledger
        cost = None if ledger.unpriced_calls else ledger.spent_usd
        return TuningResult(front=front, chosen=chosen, comparison=comparison, stopped=stopped, cost_usd=cost)

    def _rule(self) -> dict[str, float]:
        options = self.options
        return {"max_loss": options.max_drop} if options.max_tokens is None else {"max_tokens": options.max_tokens}

    def _pareto_front(self, student: Any, data: Dataset) -> tuple[ParetoFront, str | None]:
        options = self.options
        search = ParetoSearch(
            self.metric, space=options.space, trials=options.trials, out=self.out, seed=options.seed, caps=self.caps,
            **self.settings,
        )  # fmt: skip
        return search.search(student, data), search.stopped

    def _rewritten_front(self, student: Any, data: Dataset) -> tuple[ParetoFront, str | None]:
        """Let an optimizer of DSPy rewrite the program, and measure both."""
        train, val = deal_questions(data, 2 * len(data) // 3)
        plain = self._measure(student, val, "student")
        stopped: str | None = None
        points = [plain]
        try:
            points.append(self._measure(self._rewritten(student, train, val), val, self.options.optimizer))
        except SpendCapReached as e:
            stopped = str(e)
        front = ParetoFront(points, data.name)
        front.save(self.out / FRONT_FOLDER)
        return front, stopped

    def _rewritten(self, student: Any, train: Dataset, val: Dataset) -> Any:
        context = {name: self.settings[name] for name in ("lm", "adapter") if self.settings.get(name) is not None}
        metric, trials, seed = token_aware_metric(self.metric), self.options.trials, self.options.seed
        lm = context.get("lm") or dspy.settings.lm
        writer = self.options.prompt_lm or lm
        threads = {"num_threads": self.settings.get("concurrency", 32)}
        compiled: Any
        with dspy.context(**context), track(**self.caps.left(), price=self.settings.get("price")) as ledger:
            try:
                if self.options.optimizer == "mipro":
                    mipro = dspy.MIPROv2(
                        metric=metric, prompt_model=writer, task_model=lm, auto=None, seed=seed, max_labeled_demos=0,
                        num_candidates=max(2, min(8, trials // 2)), max_bootstrapped_demos=3, **threads,
                    )  # fmt: skip
                    compiled = mipro.compile(
                        student.deepcopy(), trainset=list(train), valset=list(val), num_trials=trials, minibatch=False
                    )
                else:
                    gepa = dspy.GEPA(metric=metric, max_full_evals=trials, reflection_lm=writer, seed=seed, **threads)
                    compiled = gepa.compile(student.deepcopy(), trainset=list(train), valset=list(val))
            except dspy.LMError as e:
                raise TaleError(f"{self.options.optimizer} cannot rewrite the instructions: {first_line(e)}") from e
            finally:
                self.caps.ledger.absorb(ledger)
        return compiled

    def _measure(self, program: Any, data: Dataset, name: str) -> FrontPoint:
        figures = measured(self._evaluate(program, data, name))
        return FrontPoint(program, {"optimizer": name}, figures, figures, False)

    def _evaluate(self, program: Any, data: Dataset, name: str) -> Run:
        settings = {**self.settings, "metric": self.metric, "name": name, "out": self.out / name}
        return self.caps.evaluate(program, data, **settings)

    def _on_fresh_questions(self, student: Any, program: Any, fresh: Dataset) -> "Comparison":
        from tale_dspy.comparison.compare import compare

        programs = (unbudgeted(student), program)
        before, after = (self._evaluate(p, fresh, name) for p, name in zip(programs, FRESH_RUNS, strict=True))
        return compare(before, after)


def deal_questions(data: Dataset, fresh: int | None) -> tuple[Dataset, Dataset]:
    """Return the questions to choose by, and the last ones, which are kept back.

    Args:
        data: All questions.
        fresh: How many are kept back; None keeps a third.

    Raises:
        UsageError: If fewer than two would be left on either side.
    """
    kept_back = len(data) // FRESH_SHARE if fresh is None else fresh
    first = len(data) - kept_back
    if kept_back < 1 or first < 2:
        raise UsageError(f"{len(data)} questions are too few to keep {kept_back} back and choose by 2 others at least")
    return data.take(0, first), data.take(first)
