"""What all budget samplers share: the Optuna side of a search over one whole-number parameter, `budget`.

A sampler here decides from a `History` - what this question was asked and what came of it - and from nothing of Optuna.
This module turns a study into a `History`, keeps proposals inside the range asked for, and ends `study.optimize` when
the sampler has seen enough. It asks no model and knows no question.

The conventions of a study that these samplers can search:

- the objective asks `trial.suggest_int("budget", 1, vanilla_tokens)`;
- its value, minimised, is the tokens really used;
- a wrong answer is said before `tell` by `trial.set_constraint("wrong", 1.0)`, a right one by `0.0`.

Whoever drives a study by ask and tell asks `sampler.finished(study)` before each `ask`, and says
`sampler.finish_question(history)` once the question is done, with `history_of(study)`, or with a `History` put
together from a journal; `study.optimize` does both by itself.

This room loads Optuna; `tale_dspy.optimizers.samplers` itself does not, until one of its classes is used.
"""

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tale_dspy.errors import MissingExtraError, UsageError

try:
    from optuna.distributions import BaseDistribution, IntDistribution
    from optuna.samplers import BaseSampler
    from optuna.study import Study, StudyDirection
    from optuna.trial import FrozenTrial, TrialState
except ImportError as e:  # pragma: no cover - tested in a process of its own
    raise MissingExtraError("optuna", "search") from e

PARAMETER = "budget"
"""Name of the parameter that is searched."""


@dataclass(frozen=True)
class Observation:
    """One finished trial: a budget and what came of it."""

    budget: int
    """Tokens asked for."""
    tokens: float
    """Tokens really used."""
    right: bool
    """Whether the answer was right."""


@dataclass(frozen=True)
class History:
    """What is known of one question."""

    vanilla_tokens: int
    """Tokens of the answer without a budget, which was right: the upper end of the range."""
    seen: tuple[Observation, ...] = ()
    """The finished trials, in the order in which they were started; failed ones are left out."""
    pending: tuple[int, ...] = ()
    """Budgets that are being asked now."""
    lowest: int = 1
    """The lower end of the range."""

    @property
    def best(self) -> Observation | None:
        """The right answer with the fewest tokens, the larger budget where two are equal; None if none was right."""
        return min((o for o in self.seen if o.right), key=lambda o: (o.tokens, -o.budget), default=None)

    @property
    def best_tokens(self) -> float:
        """Tokens of the best right answer, that without a budget included."""
        return min([o.tokens for o in self.seen if o.right], default=self.vanilla_tokens)

    @property
    def tried(self) -> set[int]:
        """Budgets that were asked or are being asked."""
        return {*(o.budget for o in self.seen), *self.pending}


class BudgetSampler(BaseSampler):
    """Base class of the samplers that know when a question is done.

    A subclass says which budget comes next (`propose`) and whether another call is worth its price (`should_stop`).
    Inside `study.optimize` the study is stopped when it is not; with ask and tell the caller asks `finished(study)`
    before each `ask`. Asked on all the same, a sampler still proposes a budget within the range.

    One sampler may serve many studies at once, from several threads. What it proposes depends on the history of the
    question and on the calls of `observe` and `finish_question`, in their order, and on nothing else.

    Failed and pruned trials are treated as if they had never been. A trial without the constraint counts as right, as
    Optuna itself has it; a complete trial whose value is not finite counts as wrong.

    Raises:
        UsageError: From `ask` or `suggest_int`, if the study has more than one objective or maximises, the parameter is
            not called `budget`, or its range is not one of whole numbers from 1 on.
    """

    @abstractmethod
    def propose(self, history: History) -> int:
        """Return the next budget to ask for; it is moved into the range if it lies outside."""

    @abstractmethod
    def should_stop(self, history: History) -> bool:
        """Tell whether the search of this question is over."""

    def finish_question(self, history: History) -> None:
        """Learn from a question whose search is over, for the sake of those to come.

        Inside `study.optimize` this is called with the last trial of a study that the sampler ended itself.
        """

    def observe(self, history: History) -> None:
        """Learn from a question that has had another trial, for the sake of others searched at the same time.

        Called for each finished trial of a study.
        """

    def finished(self, study: Study) -> bool:
        """Tell whether the study needs no further trial.

        A study without any trial that got as far as its budget is not finished.
        """
        history = history_of(study)
        return history is not None and self.should_stop(history)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return nothing: the range is known only when the objective asks for its budget."""
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: Mapping[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return nothing: there is one parameter and nothing for it to be relative to."""
        return {}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> int:
        """Return the proposed budget, within the range asked for."""
        if list(study.directions) != [StudyDirection.MINIMIZE]:
            names = [d.name.lower() for d in study.directions]
            raise UsageError(f"{type(self).__name__} minimises one value, the tokens used; the study has {names}")
        checked = _checked(self, param_name, param_distribution)
        return _into(checked, self.propose(_history(study, checked, leave_out=trial.number)))

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """Watch, and stop `study.optimize` if this trial was the last one needed."""
        # The trial is not stored as complete yet: it is taken from the arguments.
        budgets = trial.distributions.get(PARAMETER)
        if not isinstance(budgets, IntDistribution):
            return
        before = _history(study, budgets, leave_out=trial.number)
        last = observation(trial, values) if state == TrialState.COMPLETE else None
        history = replace(before, seen=before.seen + ((last,) if last else ()))
        if last:
            self.observe(history)
        if not self.should_stop(history):
            return
        try:
            study.stop()
        except (
            RuntimeError
        ):  # Optuna's word for "not inside optimize": the caller asks `finished` and tells `finish_question`
            return
        if not history.pending:  # with n_jobs, the last of the trials speaks for all
            self.finish_question(history)


def history_of(study: Study) -> History | None:
    """Read what a study knows of its question; None before its first budget was asked."""
    for trial in reversed(study.get_trials(deepcopy=False)):
        budgets = trial.distributions.get(PARAMETER)
        if isinstance(budgets, IntDistribution):
            return _history(study, budgets)
    return None


def observation(trial: FrozenTrial, values: Sequence[float] | None) -> Observation | None:
    """Read one complete trial; None if it never asked for a budget."""
    if PARAMETER not in trial.params or values is None:
        return None
    tokens = float(values[0])
    right = math.isfinite(tokens) and all(v <= 0 for v in trial.constraints.values())
    return Observation(int(trial.params[PARAMETER]), tokens, right)


def _history(study: Study, budgets: IntDistribution, leave_out: int | None = None) -> History:
    seen: list[Observation] = []
    pending: list[int] = []
    for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.RUNNING)):
        if trial.number == leave_out or PARAMETER not in trial.params:
            continue
        if trial.state == TrialState.RUNNING:
            pending.append(int(trial.params[PARAMETER]))
        elif (found := observation(trial, trial.values)) is not None:
            seen.append(found)
    return History(budgets.high, tuple(seen), tuple(pending), budgets.low)


def _checked(sampler: BaseSampler, name: str, distribution: BaseDistribution) -> IntDistribution:
    """Return the distribution, if it is a range of budgets."""
    who = type(sampler).__name__
    if name != PARAMETER or not isinstance(distribution, IntDistribution):
        raise UsageError(f"{who} searches one whole number named {PARAMETER!r}; got {name!r} as {distribution}")
    if distribution.low < 1:
        raise UsageError(f"a budget is at least 1 token; {who} got a range from {distribution.low}")
    return distribution


def _into(distribution: IntDistribution, wanted: int) -> int:
    """Move a proposal onto the nearest value of the range."""
    low, high, step = distribution.low, distribution.high, distribution.step
    return low + min(max(0, round((wanted - low) / step)), (high - low) // step) * step
