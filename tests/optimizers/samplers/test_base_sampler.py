"""The Optuna side that all samplers share, shown with a sampler that does nothing of interest."""

import math

import optuna
import pytest

from tale_dspy.errors import UsageError
from tale_dspy.optimizers.samplers import BudgetSampler, Observation, QuestionHistory, history_of
from tale_dspy.testing.samplers import BudgetSamplerSuite, new_study, tell


class Counting(BudgetSampler):
    """Asks 1, 2, 3, ... and has enough after three."""

    def __init__(self) -> None:
        self.learned: list[QuestionHistory] = []
        self.watched: list[QuestionHistory] = []

    def propose(self, history: QuestionHistory) -> int:
        return 1 + len(history.tried)

    def should_stop(self, history: QuestionHistory) -> bool:
        return len(history.trials) + len(history.pending) >= min(3, history.vanilla_tokens)

    def observe(self, history: QuestionHistory) -> None:
        self.watched.append(history)

    def finish_question(self, history: QuestionHistory) -> None:
        self.learned.append(history)


class TestCountingSampler(BudgetSamplerSuite):
    def sampler(self) -> Counting:
        return Counting()


def test_a_history_holds_what_the_study_holds() -> None:
    study = new_study(Counting())
    assert history_of(study) is None
    for answer in [(30.0, True), (math.inf, True), (20.0, False)]:
        trial = study.ask()
        trial.suggest_int("budget", 1, 90)
        tell(study, trial, answer)
    trial = study.ask()
    trial.suggest_int("budget", 1, 90)
    study.tell(trial, state=optuna.trial.TrialState.FAIL)
    study.ask().suggest_int("budget", 1, 90)
    observations = (Observation(1, 30, True), Observation(2, math.inf, False), Observation(3, 20, False))
    assert history_of(study) == QuestionHistory(90, observations, (4,), 1)


def test_the_best_is_right_and_short_and_of_two_equal_ones_the_larger_budget() -> None:
    observations = (
        Observation(9, 5, True),
        Observation(12, 5, True),
        Observation(8, 4, False),
        Observation(30, 6, True),
    )
    assert QuestionHistory(90, observations).best == Observation(12, 5, True)
    assert QuestionHistory(90, observations[2:3]).best is None
    assert QuestionHistory(90, observations[2:3]).best_tokens == 90


def test_optimize_learns_from_the_question_once_it_is_done() -> None:
    sampler = Counting()
    study = new_study(sampler)
    study.optimize(lambda trial: float(trial.suggest_int("budget", 1, 90)), n_trials=9)
    assert [[o.budget for o in history.trials] for history in sampler.learned] == [[1, 2, 3]]


def test_with_ask_and_tell_it_learns_what_the_caller_tells() -> None:
    sampler = Counting()
    study = new_study(sampler)
    for _ in range(4):
        trial = study.ask()
        tell(study, trial, (trial.suggest_int("budget", 1, 90), True))
    assert sampler.finished(study)
    assert sampler.learned == []


def test_it_observes_every_trial_of_a_study() -> None:
    sampler = Counting()
    study = new_study(sampler)
    for _ in range(2):
        trial = study.ask()
        tell(study, trial, (trial.suggest_int("budget", 1, 90), True))
    failed = study.ask()
    failed.suggest_int("budget", 1, 90)
    study.tell(failed, state=optuna.trial.TrialState.FAIL)
    assert [[o.budget for o in history.trials] for history in sampler.watched] == [[1], [1, 2]]


def test_proposals_are_moved_onto_the_range() -> None:
    study = new_study(Counting())
    budgets = []
    for _ in range(3):
        trial = study.ask()
        budgets.append(trial.suggest_int("budget", 2, 12, step=5))
        tell(study, trial, (1, True))
    assert budgets == [2, 2, 2]


def test_a_study_of_two_objectives_is_refused() -> None:
    study = optuna.create_study(directions=["minimize", "minimize"], sampler=Counting())
    with pytest.raises(UsageError, match="minimises one value"):
        study.ask().suggest_int("budget", 1, 9)
