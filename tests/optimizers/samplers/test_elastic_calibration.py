"""Promises are worth what such promises have been worth."""

import pytest

from tale_dspy.optimizers.samplers import Observation, QuestionHistory
from tale_dspy.optimizers.samplers.elastic import SavingsCalibration

KEPT = QuestionHistory(100, (Observation(50, 50, True),))
BROKEN = QuestionHistory(100, (Observation(50, 50, False),))


def after(history: QuestionHistory, expected_saving: float, times: int) -> SavingsCalibration:
    trust = SavingsCalibration()
    for _ in range(times):
        trust.record(history, [expected_saving] * len(history.trials))
    return trust


def test_at_first_promises_are_believed() -> None:
    assert SavingsCalibration().calibrated(0.1) == pytest.approx(0.1)


def test_an_expected_saving_that_comes_true_stays_believed() -> None:
    assert after(KEPT, 0.5, 20).calibrated(0.5) == pytest.approx(0.5)


def test_promises_that_are_not_kept_are_believed_less_and_less() -> None:
    worth = [after(BROKEN, 0.5, times).calibrated(0.5) for times in (0, 1, 5, 50)]
    assert worth == sorted(worth, reverse=True)
    assert worth[-1] < 0.05


def test_small_promises_do_not_suffer_for_large_ones() -> None:
    assert after(BROKEN, 0.5, 20).calibrated(0.05) == pytest.approx(0.05)


def test_what_is_long_ago_is_forgotten() -> None:
    trust = after(BROKEN, 0.1, 10)
    before = trust.calibrated(0.1)
    for _ in range(200):
        trust.record(KEPT, [None])
    assert before < 0.05 < trust.calibrated(0.1)


def test_a_saving_that_comes_with_the_next_call_counts_half() -> None:
    two = QuestionHistory(100, (Observation(20, 90, False), Observation(50, 50, True)))
    trust = SavingsCalibration()
    trust.record(two, [0.25, None])
    assert trust.calibrated(0.25) == pytest.approx(0.25)


def test_answers_that_cost_nothing_are_borne() -> None:
    trust = after(QuestionHistory(100, (Observation(5, 0, True), Observation(3, -7, True))), 0.3, 3)
    assert 0 <= trust.calibrated(0.3) <= 1
