"""The paper's search, against its algorithm worked out by hand."""

import pytest

from tale_dspy.optimizers.samplers import HalvingSampler, Observation, QuestionHistory
from tale_dspy.testing.samplers import BudgetSamplerSuite, always_wrong, constant, elastic, linear, searched


class TestHalvingSampler(BudgetSamplerSuite):
    def sampler(self) -> HalvingSampler:
        return HalvingSampler()


@pytest.mark.parametrize(
    ("question", "asked"),
    [
        (elastic, [80, 40, 20]),  # 20 is wrong
        (linear, [80, 40, 20, 10, 5, 2, 1]),
        (constant, [80]),  # right, but not strictly shorter
        (always_wrong, [80]),
    ],
)
def test_it_halves_until_the_answer_is_wrong_or_no_longer_shorter(question, asked) -> None:  # type: ignore[no-untyped-def]
    assert searched(HalvingSampler(), question) == asked


def test_a_shorter_reply_than_the_kept_one_is_needed_and_not_than_vanilla() -> None:
    history = QuestionHistory(100, (Observation(50, 40, True), Observation(25, 60, True)))
    assert HalvingSampler().should_stop(history)
    assert HalvingSampler().propose(history) == 50


def test_the_range_of_the_study_ends_the_halving() -> None:
    history = QuestionHistory(100, (Observation(50, 40, True), Observation(30, 35, True)), lowest=30)
    assert HalvingSampler().should_stop(history)
