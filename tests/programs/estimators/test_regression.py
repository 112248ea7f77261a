"""A fitted line: what it predicts, and that only whole ones come out of a file."""

import json
import math
from typing import Any

import pytest

from tale_dspy.errors import StateError
from tale_dspy.programs.estimators.regression import (
    FURTHEST,
    EmbeddingProjection,
    FeatureTerm,
    FittedRegression,
    Regression,
)

WORDS = FeatureTerm("question.words", centre=2.0, scale=0.5, weight=0.3)
LINE = Regression(math.log(50), (WORDS,), quantile=0.9, rows=400, penalty=0.02)
EMBEDDED = Regression(
    4.0,
    (FeatureTerm("embedding.1", 0.0, 1.0, 0.5),),
    0.8,
    100,
    0.003,
    "note",
    EmbeddingProjection((1.0, 2.0), ((1.0, 0.0), (0.0, 1.0))),
)


def predicted(line: Regression, **features: float) -> float:
    return line.predict({f"question.{name}": value for name, value in features.items()})


def test_an_average_question_gets_the_intercept() -> None:
    assert predicted(LINE, words=2.0) == 50.0


def test_one_deviation_more_multiplies_the_budget_by_the_weight() -> None:
    assert predicted(LINE, words=2.5) == pytest.approx(50 * math.exp(0.3), abs=1e-4)


@pytest.mark.parametrize(("words", "edge"), [(1e9, FURTHEST), (-1e9, -FURTHEST)])
def test_no_feature_pulls_without_end(words: float, edge: float) -> None:
    assert predicted(LINE, words=words) == predicted(LINE, words=2 + 0.5 * edge)


@pytest.mark.parametrize(("words", "known"), [(2.0, True), (3.9, True), (4.1, False), (-1.0, False)])
def test_a_question_unlike_those_fitted_is_reported(words: float, known: bool) -> None:
    assert LINE.is_known({"question.words": words}) is known


def test_a_constant_needs_no_feature() -> None:
    constant = Regression(math.log(58), (), 0.9, 3)
    assert (constant.predict({}), constant.is_known({})) == (58.0, True)


@pytest.mark.parametrize("intercept", [1e90, -1e90])
def test_a_line_from_a_hostile_file_predicts_a_number_all_the_same(intercept: float) -> None:
    assert 0 <= Regression(intercept, (), 0.9, 3).predict({}) < 2e9


def test_a_projection_gives_the_distance_from_the_mean_in_each_direction() -> None:
    projection = EmbeddingProjection((1.0, 1.0), ((1.0, 0.0), (0.5, 0.5)))
    assert projection.apply([3.0, 1.0]) == {"embedding.0": 2.0, "embedding.1": 1.0}


@pytest.mark.parametrize("line", [LINE, EMBEDDED, Regression(3.0, (), 0.9, 3, note="few")])
def test_a_line_is_the_same_after_json(line: Regression) -> None:
    assert Regression.from_json(json.loads(json.dumps(line.to_json()))) == line


def fitted(line: Regression | None = None, embeds: bool = False) -> FittedRegression:
    return FittedRegression(line, ["question.words"], embeds)


def test_a_state_without_a_line_loads_too() -> None:
    state = fitted(LINE)
    state.load_state(fitted().dump_state())
    assert state.value is None
    state.reset()
    assert state.value == LINE


TERM = {"name": "question.words", "centre": 0, "scale": 1, "weight": 1}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"intercept": None}, "intercept must be a finite number, got None"),
        ({"intercept": float("nan")}, "intercept must be a finite number, got nan"),
        ({"intercept": 10**400}, "intercept must be a finite number"),
        ({"quantile": True}, "quantile must be a finite number, got True"),
        ({"penalty": "x" * 1000}, "penalty must be a finite number"),
        ({"terms": [{**TERM, "scale": 0}]}, "scale must be above 0, got 0"),
        ({"terms": [{**TERM, "weight": []}]}, "weight must be a finite number"),
        ({"terms": [{**TERM, "name": "context.words"}]}, "has a feature 'context.words'"),
        ({"terms": [{**TERM, "name": "embedding.0"}]}, "has a feature 'embedding.0'"),
        ({"projection": {"mean": [1], "directions": [[1, 2]]}}, "has 2 numbers, the mean 1"),
        ({"projection": {"mean": [1], "directions": [[1]]}}, r"give it again, as .*embedder="),
    ],
)
def test_a_broken_state_is_refused_and_changes_nothing(change: dict[str, Any], said: str) -> None:
    state = fitted(LINE)
    with pytest.raises(StateError, match=said) as error:
        state.load_state({"regression": {**LINE.to_json(), **change}})
    assert len(str(error.value)) < 250
    assert state.value == LINE


def test_features_of_an_embedding_are_known_where_there_is_an_embedder() -> None:
    assert fitted(EMBEDDED, embeds=True).value == EMBEDDED
    with pytest.raises(StateError, match=r"embedding\.1"):
        fitted(Regression(4.0, EMBEDDED.terms, 0.8, 100), embeds=True)
