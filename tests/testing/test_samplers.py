"""The suite lets good samplers pass (tests/optimizers/samplers) and catches those that break a promise."""

import itertools

import pytest

from tale_dspy.optimizers.samplers import BudgetSampler, GridSampler, QuestionHistory
from tale_dspy.testing.samplers import BudgetSamplerSuite


class Endless(BudgetSampler):
    def propose(self, history: QuestionHistory) -> int:
        return history.vanilla_tokens

    def should_stop(self, history: QuestionHistory) -> bool:
        return False


class Moody(GridSampler):
    """Proposes another budget each time, whatever it was told: what chance does, but every time."""

    moods = itertools.count()

    def propose(self, history: QuestionHistory) -> int:
        return 1 + next(self.moods) % history.vanilla_tokens


class Touchy(GridSampler):
    def finish_question(self, history: QuestionHistory) -> None:
        self.mean = sum(o.tokens for o in history.trials) / len(history.trials)


class Fractional(GridSampler):
    def sample_independent(self, study, trial, param_name, param_distribution):  # type: ignore[no-untyped-def]
        return param_distribution.high - 0.5


def suite(sampler: type[BudgetSampler]) -> BudgetSamplerSuite:
    class Suite(BudgetSamplerSuite):
        def sampler(self) -> BudgetSampler:
            return sampler()

    return Suite()


def test_a_search_without_end_is_caught() -> None:
    with pytest.raises(AssertionError):
        suite(Endless).test_every_search_ends()


def test_chance_is_caught() -> None:
    with pytest.raises(AssertionError):
        suite(Moody).test_asking_twice_changes_nothing()
    with pytest.raises(AssertionError):
        suite(Moody).test_the_same_questions_in_the_same_order_are_searched_the_same_way()


def test_a_sampler_that_cannot_learn_from_nothing_is_caught() -> None:
    with pytest.raises(ZeroDivisionError):
        suite(Touchy).test_it_learns_from_anything()


def test_a_budget_that_is_no_whole_number_is_caught() -> None:
    with pytest.raises(AssertionError):
        suite(Fractional).test_budgets_are_whole_numbers_within_the_range()


def test_the_suite_asks_for_a_sampler() -> None:
    with pytest.raises(NotImplementedError):
        BudgetSamplerSuite().test_every_search_ends()
