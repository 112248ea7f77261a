"""An estimator of effort words: what it predicts, and through a file and back."""

import math
from pathlib import Path
from typing import Any

import pytest

import tale_dspy
from tale_dspy import EffortEstimator, TaleEP
from tale_dspy.errors import StateError, UsageError
from tale_dspy.programs.estimators.effort_estimator import OrdinalRegression
from tale_dspy.programs.estimators.regression import FeatureTerm

MODEL = OrdinalRegression(
    ("low", "medium", "high"), (-1.0, 1.0, 6.0), (FeatureTerm("question.words", math.log1p(10), 0.5, 3.0),), 0.8, 40
)


def test_more_words_of_text_get_more_effort() -> None:
    estimator = EffortEstimator("question -> answer", regression=MODEL)
    words = [estimator(question="word " * n).effort for n in (2, 9, 16, 200)]
    assert words == ["low", "medium", "high", "high"]


def test_without_text_or_a_fit_the_default_is_given_and_marked() -> None:
    for estimator, question in ((EffortEstimator(default="low"), "1+1?"), (EffortEstimator(regression=MODEL), " ")):
        pred = estimator(question=question)
        assert tale_dspy.receipt(pred).budget_source == "fallback"
    assert pred.effort == "medium"
    budget = TaleEP("question -> answer", EffortEstimator(default="low")).budget_for(question="1+1?")
    assert (budget.effort, budget.source, budget.fallback_reason) == ("low", "fallback", "no estimate")


def test_it_goes_into_a_program_and_through_a_file(tmp_path: Path) -> None:
    program = TaleEP("question -> answer", EffortEstimator(regression=MODEL, default="high"))
    program.save(tmp_path / "p.json")
    loaded = tale_dspy.load(tmp_path / "p.json")
    assert loaded.estimator.fitted == MODEL and loaded.estimator.default == "high"
    assert loaded.budget_for(question="word " * 2).effort == "low"


@pytest.mark.parametrize(
    "changed",
    [{"words": ["fast", "medium", "high"]}, {"thresholds": [1.0]}, {"confidence": None}, {"thresholds": [0, 1, "x"]}],
)
def test_a_state_that_is_none_of_an_effort_model_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(StateError):
        OrdinalRegression.from_json({**MODEL.to_json(), **changed})


def test_other_inputs_and_other_defaults_are_refused() -> None:
    with pytest.raises(StateError, match="which this estimator's inputs do not"):
        EffortEstimator("context -> answer", regression=MODEL)
    with pytest.raises(UsageError):
        EffortEstimator(default="fast")
