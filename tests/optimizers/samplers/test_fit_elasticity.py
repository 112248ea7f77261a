"""The manner of a model is found from trials around edges that nobody saw."""

import math
import random

import numpy as np
from family import Made, history_after

from tale_dspy.optimizers.samplers import Observation, QuestionHistory
from tale_dspy.optimizers.samplers.elasticity_model import (
    REQUIRED_BUDGETS,
    ElasticityModel,
    Trials,
    changepoint_posterior,
)
from tale_dspy.optimizers.samplers.fit_elasticity import MIN_SPREAD, PRIOR_MODEL, fit_elasticity


def searched(number: int, first: int = 0) -> list[QuestionHistory]:
    """Questions with a few trials each, here and there."""
    chance = random.Random(first)
    reasoners = [Made(first + i) for i in range(number)]
    return [
        history_after(q, q.vanilla, *(max(1, round(q.vanilla * chance.uniform(0.05, 0.7))) for _ in range(4)))
        for q in reasoners
    ]


def law_of(questions: list[QuestionHistory], times: int = 6) -> ElasticityModel:
    model = PRIOR_MODEL
    for _ in range(times):
        model = fit_elasticity(questions, model)
    return model


def test_no_question_teaches_nothing() -> None:
    assert fit_elasticity([]) == PRIOR_MODEL
    assert fit_elasticity([QuestionHistory(100)]) == PRIOR_MODEL


def test_the_manner_of_a_model_is_found() -> None:
    model = law_of(searched(60))
    assert abs(model.slope[1] - 1) < 0.1
    assert abs(model.slope[0] - math.log(0.9)) < 0.08
    assert model.slope_spread < 0.1
    shares = np.exp(model.changepoints)
    assert 0.15 < np.median(shares) < 0.45  # from a half to a sixth, by how the questions were made


def test_a_question_never_seen_is_then_understood_from_one_trial_below_its_edge() -> None:
    model = law_of(searched(60))
    for reasoner in map(Made, range(500, 520)):
        history = history_after(reasoner, reasoner.vanilla, round(0.6 * reasoner.changepoint))
        weights = changepoint_posterior(model, Trials.of([history]), 1)[0].sum(axis=1)
        expected = reasoner.vanilla * math.exp(float(weights @ model.changepoints))
        assert 0.8 < expected / reasoner.changepoint < 1.25


def test_two_questions_make_it_sure_of_nothing() -> None:
    model = fit_elasticity(searched(2))
    assert model.slope_spread > 3 * MIN_SPREAD
    assert np.exp(model.changepoints[0]) < 0.05
    assert model.required_budgets.min() > 0


def test_answers_turned_by_chance_are_counted_as_such() -> None:
    chance = random.Random(5)

    def budget_request(question: QuestionHistory) -> QuestionHistory:
        answers = [Observation(o.budget, o.tokens, o.right and chance.random() > 0.2) for o in question.trials]
        return QuestionHistory(question.vanilla_tokens, tuple(answers))

    questions = searched(120)
    assert law_of(questions).flip_rates[0] < 0.03
    assert law_of([budget_request(q) for q in questions]).flip_rates[0] > 0.08


def test_needs_above_the_edge_are_found() -> None:
    def strict(question: QuestionHistory) -> QuestionHistory:
        # Right from 1.6 times the edge on: half the replies that follow their budget are wrong.
        changepoint = next(m.changepoint for m in map(Made, range(60)) if m.vanilla == question.vanilla_tokens)
        return QuestionHistory(
            question.vanilla_tokens,
            tuple(Observation(o.budget, o.tokens, o.budget >= 1.6 * changepoint) for o in question.trials),
        )

    alone = [q for q in searched(60) if [m.vanilla for m in map(Made, range(60))].count(q.vanilla_tokens) == 1]
    above = np.exp(REQUIRED_BUDGETS) > 1.15
    assert law_of(alone).required_budgets[above].sum() < 0.15
    assert law_of([strict(q) for q in alone]).required_budgets[above].sum() > 0.6


def test_trials_without_tokens_are_borne() -> None:
    model = fit_elasticity([QuestionHistory(100, (Observation(50, math.inf, False), Observation(60, 0.0, True)))] * 3)
    assert model.slope == PRIOR_MODEL.slope
    assert np.isfinite(model.changepoints).all()


def test_long_answers_may_have_their_edges_elsewhere_than_short_ones() -> None:
    def made(number: int, vanilla: int, share: float) -> list[QuestionHistory]:
        changepoints = [round(share * vanilla) + i % 5 for i in range(number)]
        return [
            QuestionHistory(vanilla + i, (Observation(e, e, True), Observation(e - 8, e + 40, False)))
            for i, e in enumerate(changepoints)
        ]

    model = law_of(made(20, 80, 0.5) + made(20, 400, 0.1))
    places = np.exp(model.changepoints)
    short, between, long = model.changepoint_weights(np.log([85, 180, 410])) @ places
    assert 0.4 < short < 0.6
    assert 0.07 < long < 0.15
    assert long < between < short
    assert np.isclose(model.changepoint_weights(np.log([85.0])).sum(), 1)


def test_of_a_length_never_seen_it_believes_what_holds_for_all() -> None:
    model = law_of(searched(60))
    assert np.allclose(model.changepoint_weights(np.log([100_000.0])), 1 / len(model.changepoints))
