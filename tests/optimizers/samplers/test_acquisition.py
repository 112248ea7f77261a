"""The next budget is where the savings are."""

import numpy as np
import pytest

from tale_dspy.optimizers.samplers import Observation, QuestionHistory
from tale_dspy.optimizers.samplers.acquisition import two_step_lookahead
from tale_dspy.optimizers.samplers.elasticity_model import CHANGEPOINTS, REQUIRED_BUDGETS, ElasticityModel

NO_NEED = np.where(np.arange(len(REQUIRED_BUDGETS)) == 0, 1.0, 1e-9)

KNOWN = ElasticityModel(
    slope=(0.0, 1.0),
    slope_spread=0.02,
    rebound=(0.0, 0.0, 0.0, 0.0, -0.9, 0.0),
    rebound_spread=0.05,
    changepoints=np.log(np.linspace(0.24, 0.26, CHANGEPOINTS)),
    required_budgets=NO_NEED / NO_NEED.sum(),
    flip_rates=(0.01, 0.01),
)
"""A model whose edge lies at a quarter of the answer without a budget, as is well known."""


def test_a_known_edge_is_asked_for_at_once() -> None:
    choice = two_step_lookahead(KNOWN, QuestionHistory(400))
    assert choice is not None
    assert 94 <= choice.budget <= 106
    assert choice.saving == pytest.approx(0.75, abs=0.03)


def test_once_it_was_asked_there_is_little_left_to_save() -> None:
    choice = two_step_lookahead(KNOWN, QuestionHistory(400, (Observation(99, 99, True),)))
    assert choice is not None
    assert choice.saving < 0.03


def test_two_calls_save_no_less_than_one() -> None:
    for model in (KNOWN, ElasticityModel()):
        choice = two_step_lookahead(model, QuestionHistory(400, (Observation(150, 150, True),)))
        assert choice is not None
        assert choice.saving_of_two >= choice.saving > 0


def test_after_a_wrong_answer_it_goes_up() -> None:
    choice = two_step_lookahead(ElasticityModel(), QuestionHistory(400, (Observation(60, 55, False),)))
    assert choice is not None
    assert choice.budget > 60


def test_budgets_tried_or_asked_just_now_are_not_asked_again() -> None:
    first = two_step_lookahead(ElasticityModel(), QuestionHistory(400))
    assert first is not None
    second = two_step_lookahead(ElasticityModel(), QuestionHistory(400, pending=(first.budget,)))
    assert second is not None
    assert second.budget != first.budget


@pytest.mark.parametrize("budgets", [(90, 300), (30, 60)])
def test_between_two_budgets_with_the_same_reply_nothing_is_asked(budgets: tuple[int, int]) -> None:
    history = QuestionHistory(400, tuple(Observation(b, 80, True) for b in budgets))
    for model in (KNOWN, ElasticityModel()):
        choice = two_step_lookahead(model, history)
        assert choice is None or not budgets[0] < choice.budget < budgets[1]


def test_below_the_edge_a_reply_grows_back_to_a_length_known_and_shorter_ones_lie_between() -> None:
    choice = two_step_lookahead(
        ElasticityModel(), QuestionHistory(320, (Observation(153, 106, True), Observation(18, 106, True)))
    )
    assert choice is not None
    assert 18 < choice.budget < 153


def test_where_every_budget_was_tried_there_is_none() -> None:
    assert (
        two_step_lookahead(ElasticityModel(), QuestionHistory(2, (Observation(1, 1, True), Observation(2, 2, True))))
        is None
    )


def test_where_an_answer_cost_nothing_there_is_none() -> None:
    assert two_step_lookahead(ElasticityModel(), QuestionHistory(400, (Observation(50, 0, True),))) is None


def test_the_range_of_the_study_is_kept() -> None:
    choice = two_step_lookahead(KNOWN, QuestionHistory(400, lowest=200))
    assert choice is not None
    assert choice.budget >= 200
