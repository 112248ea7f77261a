"""What is believed of a question follows from its trials."""

import math

import numpy as np
import pytest
from family import Made, history_after

from tale_dspy.optimizers.samplers import Observation, QuestionHistory
from tale_dspy.optimizers.samplers.elasticity_model import (
    CHANGEPOINTS,
    REQUIRED_BUDGETS,
    ElasticityModel,
    Trials,
    changepoint_posterior,
)


def posterior_weights(
    *trials: tuple[int, float, bool], model: ElasticityModel | None = None, vanilla: int = 200
) -> np.ndarray:
    history = QuestionHistory(vanilla, tuple(Observation(*t) for t in trials))
    return changepoint_posterior(model or ElasticityModel(), Trials.of([history]), 1)[0]


def mean_edge(weights: np.ndarray) -> float:
    """In tokens, of 200."""
    return 200 * math.exp(float(weights.sum(axis=1) @ ElasticityModel().changepoints))


def test_trials_are_laid_out_relative_to_the_answer_without_a_budget() -> None:
    trials = Trials.of(
        [QuestionHistory(100, (Observation(50, 25, True),)), QuestionHistory(10, (Observation(10, math.inf, False),))]
    )
    assert trials.budget == pytest.approx([math.log(0.5), 0])
    assert trials.length == pytest.approx([math.log(0.25), math.nan], nan_ok=True)
    assert trials.right.tolist() == [True, False]
    assert trials.question.tolist() == [0, 1]


def test_without_a_trial_every_edge_is_as_likely_as_the_next() -> None:
    assert posterior_weights() == pytest.approx(
        np.full((CHANGEPOINTS, len(REQUIRED_BUDGETS)), 1 / CHANGEPOINTS / len(REQUIRED_BUDGETS))
    )


def test_a_reply_that_grew_again_shows_an_edge_above_its_budget() -> None:
    followed, grown = posterior_weights((50, 45, True)), posterior_weights((50, 120, True))
    assert mean_edge(followed) < 50 < mean_edge(grown)


def test_a_wrong_answer_shows_a_need_above_its_budget() -> None:
    required_budget = 200 * np.exp(ElasticityModel().changepoints[:, None] + REQUIRED_BUDGETS)
    assert (posterior_weights((50, 45, False)) * (required_budget > 50)).sum() > 0.5
    assert (posterior_weights((50, 45, True)) * (required_budget > 50)).sum() < 0.1


def test_where_answers_are_often_turned_by_chance_one_wrong_answer_shows_less() -> None:
    required_budget = 200 * np.exp(ElasticityModel().changepoints[:, None] + REQUIRED_BUDGETS)
    sure, unsure = (
        posterior_weights((50, 45, False)),
        posterior_weights((50, 45, False), model=ElasticityModel(flip_rates=(0.4, 0.05))),
    )
    assert (unsure * (required_budget > 50)).sum() < (sure * (required_budget > 50)).sum()


@pytest.mark.parametrize("tokens", [math.inf, -5.0, 0.0])
def test_tokens_that_are_none_say_nothing_of_the_edge(tokens: float) -> None:
    assert posterior_weights((50, tokens, True)) == pytest.approx(posterior_weights((50, math.inf, True)))


def test_several_questions_are_believed_in_as_each_alone() -> None:
    questions = [history_after(reasoner := Made(i), reasoner.vanilla, *range(10, 10 + 8 * i, 8)) for i in range(1, 5)]
    together = changepoint_posterior(ElasticityModel(), Trials.of(questions), 4)
    alone = [changepoint_posterior(ElasticityModel(), Trials.of([q]), 1)[0] for q in questions]
    assert together == pytest.approx(np.array(alone))
    assert together.sum(axis=(1, 2)) == pytest.approx(np.ones(4))


def test_below_the_edge_replies_never_fall_short_of_it_nor_pass_the_answer_without_a_budget_by_much() -> None:
    model = ElasticityModel(rebound=(0.0, 9.0, -9.0, 0.0, 3.0, 0.0))
    mean, _ = model.lengths(np.linspace(-6, -1.001, 50), np.array(-1.0))
    assert mean.min() >= -1.0
    assert mean.max() <= 0.05 + 1e-9
