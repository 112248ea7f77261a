"""What all budget samplers share.

It is the Optuna side of a search over one integer parameter, the budget.

A sampler here decides from a `QuestionHistory`, the trials of one question, and from nothing of Optuna. This module
turns a study into a `QuestionHistory`, moves proposals onto the grid of the range, and stops `study.optimize` when the
sampler wants no further trial. It calls no model and knows no question.

What these samplers expect of a study:

- the objective calls `trial.suggest_int("budget", 1, vanilla_tokens)`, with a step if it likes. A study that has no
  parameter of that name may call it anything: its first integer parameter with a lower end of at least 1 is the budget.
  All other parameters are sampled independently, at random;
- its value, minimised, is the number of tokens used;
- before `tell`, a wrong answer is marked by `trial.set_constraint("wrong", 1.0)`, a right one by `0.0`.

With ask and tell, call `sampler.finished(study)` before each `ask`, and `sampler.finish_question(history)` once the
question is done, with `history_of(study)` or a `QuestionHistory` rebuilt from a journal; `study.optimize` does both by
itself.

This module loads Optuna; `tale_dspy.optimizers.samplers` itself does not, until one of its classes is used.
"""

import math
import threading
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from tale_dspy.errors import MissingExtraError, UsageError
from tale_dspy.protocols import JsonObject

try:
    from optuna.distributions import BaseDistribution, IntDistribution
    from optuna.samplers import BaseSampler, RandomSampler
    from optuna.study import Study, StudyDirection
    from optuna.trial import FrozenTrial, TrialState
except ImportError as e:  # pragma: no cover - tested in a process of its own
    raise MissingExtraError("optuna", "search") from e

PARAMETER = "budget"
"""Name of the parameter that is searched, in studies that have one of this name."""


@dataclass(frozen=True)
class Observation:
    """One finished trial: a budget and its result."""

    budget: int
    """Tokens asked for."""
    tokens: float
    """Tokens really used."""
    right: bool
    """Whether the answer was right."""


@dataclass(frozen=True)
class QuestionHistory:
    """What is known of one question."""

    vanilla_tokens: int
    """Tokens of the answer without a budget, which was right: the upper end of the range."""
    trials: tuple[Observation, ...] = ()
    """The finished trials, in the order in which they were started; failed ones are left out."""
    pending: tuple[int, ...] = ()
    """Budgets that are being asked now."""
    lowest: int = 1
    """The lower end of the range."""
    step: int = 1
    """Budgets of the range are `lowest`, `lowest + step`, ..., up to `vanilla_tokens`."""

    @property
    def best(self) -> Observation | None:
        """The right answer with the fewest tokens.

        Of two with equal tokens it is the one of the larger budget. It is None if none was right.
        """
        return min((o for o in self.trials if o.right), key=lambda o: (o.tokens, -o.budget), default=None)

    @property
    def best_tokens(self) -> float:
        """Tokens of the best right answer, that without a budget included."""
        return min([o.tokens for o in self.trials if o.right], default=self.vanilla_tokens)

    def on_grid(self, budget: float) -> int:
        """Return the budget of the range that is nearest."""
        steps = (self.vanilla_tokens - self.lowest) // self.step
        return self.lowest + min(max(0, round((budget - self.lowest) / self.step)), steps) * self.step

    @property
    def tried(self) -> set[int]:
        """Budgets that were asked or are being asked."""
        return {*(o.budget for o in self.trials), *self.pending}


class BudgetSampler(BaseSampler):
    """Base class of the samplers that know when a question is done.

    A subclass says which budget comes next (`propose`) and whether the search is over (`should_stop`). Inside
    `study.optimize` the study is stopped then; with ask and tell the caller asks `finished(study)` before each `ask`.
    Asked on after the end, a sampler still proposes a budget within the range.

    One sampler may serve many studies at once, from several threads, and can be copied and pickled. What it proposes
    depends on the history of the question and on the calls of `observe` and `finish_question`, in their order, and on
    nothing else. With `n_jobs`, budgets being tried in other threads are seen as `pending`.

    Failed and pruned trials are ignored. A trial without the constraint counts as right, as in Optuna; a complete trial
    whose value is not finite counts as wrong.

    Raises:
        UsageError: From `ask` or `suggest_int`, if the study has more than one objective or maximises, or a parameter
            named `budget` is not an integer from 1 on.
    """

    _lock: threading.RLock
    _reserved: dict[tuple[str, int], int]
    """(study, trial) -> a budget that was proposed and is not stored yet."""
    _others: RandomSampler

    def __new__(cls, *args: object, **kwargs: object) -> Self:
        """Make what every sampler has, so that a subclass need not call `__init__`."""
        sampler = super().__new__(cls)
        sampler._lock, sampler._reserved, sampler._others = threading.RLock(), {}, RandomSampler(seed=0)
        return sampler

    @abstractmethod
    def propose(self, history: QuestionHistory) -> int:
        """Return the next budget to ask for.

        It is clipped to the range.
        """

    @abstractmethod
    def should_stop(self, history: QuestionHistory) -> bool:
        """Return whether the search of this question is over."""

    def finish_question(self, history: QuestionHistory) -> None:
        """Learn from a question whose search is over.

        Later questions profit. Inside `study.optimize` this is called with the last trial of a study that the sampler
        ended itself.
        """

    def observe(self, history: QuestionHistory) -> None:
        """Learn from another trial of a question that is not finished.

        Other questions that are searched at the same time profit. It is called for each finished trial of a study.
        """

    def finished(self, study: Study) -> bool:
        """Return whether the study needs no further trial.

        A study without any trial that got as far as its budget is not finished.
        """
        history = history_of(study)
        return history is not None and self.should_stop(history)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return nothing.

        The range of the budget is known only when the objective asks for it.
        """
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: Mapping[str, BaseDistribution]
    ) -> JsonObject:
        """Return nothing.

        There is one parameter and nothing for it to be relative to.
        """
        return {}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Return the proposed budget, within the range.

        Any other parameter is sampled at random.
        """
        if param_name != _budget_name(study, trial, param_name, param_distribution):
            return self._others.sample_independent(study, trial, param_name, param_distribution)
        if list(study.directions) != [StudyDirection.MINIMIZE]:
            names = [d.name.lower() for d in study.directions]
            raise UsageError(f"{type(self).__name__} minimises one value, the tokens used; the study has {names}")
        budgets = _check_range(self, param_name, param_distribution)
        with self._lock:  # Optuna stores a proposal only after this returns: other threads must see it before
            stored = _question_history(study, param_name, budgets, leave_out=trial.number)
            reserved = tuple(self._pending_budgets(study, trial.number, param_name))
            history = replace(stored, pending=stored.pending + reserved)
            budget = history.on_grid(self.propose(history))
            self._reserved[study.study_name, trial.number] = budget
        return budget

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """Observe the trial, and stop `study.optimize` if it was the last one needed."""
        with self._lock:
            self._reserved.pop((study.study_name, trial.number), None)
        # The trial is not stored as complete yet: it is taken from the arguments.
        name = _budget_name(study, trial)
        budgets = trial.distributions.get(name)
        if not isinstance(budgets, IntDistribution):
            return
        before = _question_history(study, name, budgets, leave_out=trial.number)
        last = observation(trial, values, name) if state == TrialState.COMPLETE else None
        history = replace(before, trials=before.trials + ((last,) if last else ()))
        if last:
            self.observe(history)
        if not self.should_stop(history):
            return
        try:
            study.stop()
        except RuntimeError:  # not inside `optimize`: the caller asks `finished` and calls `finish_question`
            return
        if not history.pending:  # with n_jobs, the last of the trials ends the question
            self.finish_question(history)

    def _pending_budgets(self, study: Study, number: int, name: str) -> Iterator[int]:
        """Yield the budgets of a study's other trials that are still running.

        They were proposed, and their results are not stored yet.
        """
        # A proposal is known here until Optuna has stored it as a parameter of the running trial, whose history then
        # shows it as pending.
        trials = study.get_trials(deepcopy=False)
        for (study_name, other), budget in self._reserved.items():
            if study_name == study.study_name and other != number and name not in trials[other].params:
                yield budget

    def __getstate__(self) -> JsonObject:
        return {name: value for name, value in self.__dict__.items() if name not in ("_lock", "_reserved")}


def history_of(study: Study) -> QuestionHistory | None:
    """Return what a study knows of its question.

    It is None before the first budget was asked for.
    """
    for trial in reversed(study.get_trials(deepcopy=False)):
        name = _budget_name(study, trial)
        budgets = trial.distributions.get(name)
        if isinstance(budgets, IntDistribution):
            return _question_history(study, name, budgets)
    return None


def observation(trial: FrozenTrial, values: Sequence[float] | None, name: str = PARAMETER) -> Observation | None:
    """Return one complete trial as an observation.

    It is None if the trial never asked for a budget.
    """
    if name not in trial.params or values is None:
        return None
    tokens = float(values[0])
    # Optuna's convention: a trial is feasible if every constraint value is at most 0. The search stores one, 0 for a
    # right answer and 1 for a wrong one.
    right = math.isfinite(tokens) and all(v <= 0 for v in trial.constraints.values())
    return Observation(int(trial.params[name]), tokens, right)


def _budget_name(
    study: Study, trial: FrozenTrial, parameter: str | None = None, distribution: BaseDistribution | None = None
) -> str:
    """Return the name of the parameter that is the budget.

    It is `budget`, or else the study's first integer parameter from 1 on.
    """
    if parameter == PARAMETER:
        return PARAMETER
    trials = [t for t in study.get_trials(deepcopy=False) if t.number != trial.number]
    if any(PARAMETER in t.distributions for t in (*trials, trial)):
        return PARAMETER
    for earlier in (*trials, trial):
        for name, known in earlier.distributions.items():
            if _is_budget_range(known):
                return name
    return parameter if parameter is not None and _is_budget_range(distribution) else PARAMETER


def _is_budget_range(distribution: BaseDistribution | None) -> bool:
    return isinstance(distribution, IntDistribution) and distribution.low >= 1


def _question_history(
    study: Study, name: str, budgets: IntDistribution, leave_out: int | None = None
) -> QuestionHistory:
    observations: list[Observation] = []
    pending: list[int] = []
    for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.RUNNING)):
        if trial.number == leave_out or name not in trial.params:
            continue
        if trial.state == TrialState.RUNNING:
            pending.append(int(trial.params[name]))
        elif (complete := observation(trial, trial.values, name)) is not None:
            observations.append(complete)
    # The largest budget on the grid: `high` itself is none if it is not a whole number of steps above `low`.
    high = budgets.low + (budgets.high - budgets.low) // budgets.step * budgets.step
    return QuestionHistory(high, tuple(observations), tuple(pending), budgets.low, budgets.step)


def _check_range(sampler: BaseSampler, name: str, distribution: BaseDistribution) -> IntDistribution:
    """Return the distribution, if it is a range of budgets."""
    who = type(sampler).__name__
    if not isinstance(distribution, IntDistribution):
        raise UsageError(f"{who} searches one integer, the budget; got {name!r} as {distribution}")
    if distribution.low < 1:
        raise UsageError(f"a budget is at least 1 token; {who} got a range from {distribution.low}")
    return distribution
