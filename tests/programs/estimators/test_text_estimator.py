"""What both estimators of texts share: which inputs they look at, and what a file may name."""

import math

import dspy
import pytest

import tale_dspy
from tale_dspy.errors import UsageError
from tale_dspy.programs.estimators.text_estimator import TextEstimator, budget_signature, join_texts, text_counts
from tale_dspy.programs.registry import registered_modules


@pytest.mark.parametrize("kind", [tale_dspy.RegressionEstimator, tale_dspy.EffortEstimator])
def test_every_input_is_looked_at_and_no_output(kind: type[TextEstimator]) -> None:
    estimator = kind("context, question -> answer")
    assert estimator.names == ["context", "question"]
    assert estimator.texts({"question": "2+2?", "answer": "4"}) == {"context": "", "question": "2+2?"}
    assert repr(estimator) == f"{kind.__name__}('context, question -> token_budget')"


def test_no_file_may_name_the_base() -> None:
    assert "TextEstimator" not in registered_modules()
    assert {"RegressionEstimator", "EffortEstimator"} <= registered_modules().keys()


def test_blank_texts_are_not_joined() -> None:
    assert join_texts({"context": " \n", "question": "2+2?", "hint": "add"}) == "2+2?\nadd"


def test_counts_are_named_by_field_and_feature() -> None:
    counts = text_counts({"question": "Is it 2 or 3?"})
    assert counts["question.words"] == math.log1p(5) and counts["question.numbers"] == math.log1p(2)


def test_a_signature_without_inputs_is_refused() -> None:
    task = dspy.make_signature({"answer": (str, dspy.OutputField())})
    with pytest.raises(UsageError, match="must have an input to estimate a budget from, it has none"):
        budget_signature(task)
