"""Programs with known budgets, for the tests of the integrations."""

from pathlib import Path

import dspy

import tale_dspy
from tale_dspy.programs.estimators.regression import FeatureTerm, Regression

REGRESSION = Regression(
    intercept=4.2,
    terms=(
        FeatureTerm("question.words", centre=3.4, scale=0.45, weight=0.31),
        FeatureTerm("question.numbers", centre=1.3, scale=0.4, weight=0.22),
        FeatureTerm("question.sentences", centre=1.4, scale=0.35, weight=-0.07),
        FeatureTerm("question.different_numbers", centre=1.2, scale=0.4, weight=0.05),
        FeatureTerm("question.options", centre=0.1, scale=0.3, weight=0.04),
        FeatureTerm("question.commas", centre=0.9, scale=0.6, weight=0.03),
        FeatureTerm("question.longest_number", centre=1.1, scale=0.3, weight=0.02),
        FeatureTerm("question.signs", centre=0.3, scale=0.4, weight=0.02),
        FeatureTerm("question.characters", centre=5.2, scale=0.5, weight=0.08),
    ),
    quantile=0.8,
    rows=200,
)


def regression_program(scale: float = 1.3) -> tale_dspy.TaleEP:
    """A program whose budgets come of a question's text alone."""
    estimator = tale_dspy.RegressionEstimator("question -> answer", regression=REGRESSION, floor=8, ceiling=900)
    return tale_dspy.TaleEP("question -> answer", estimator, scale=scale, floor=16, ceiling=700)


def saved(program: dspy.Module, folder: Path) -> Path:
    """Save a program and return its file."""
    path = folder / "best.json"
    program.save(path)
    return path
