"""Fit an `EffortEstimator` to a search over effort words.

It is an ordinal regression on counts of the question's text.

The response of a question is the least word that was right: `best` of its row, or the word above all of them where only
the answer without a budget was right. A proportional-odds model with an L2 penalty is fitted by maximum likelihood; the
penalty is chosen by cross-validation on the log loss, and one word for all questions is the alternative to beat.
"""

import random
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tale_dspy.errors import MissingExtraError, UsageError
from tale_dspy.optimizers.search.budget_space import check_efforts
from tale_dspy.optimizers.search.offline_eval import check_rows, inputs_of
from tale_dspy.optimizers.search.records import SearchRow
from tale_dspy.programs.base import SignatureLike
from tale_dspy.programs.estimators.effort_estimator import EffortEstimator, OrdinalRegression
from tale_dspy.programs.estimators.regression import FeatureTerm
from tale_dspy.programs.estimators.text_estimator import text_counts

Array = NDArray[np.float64]

MIN_ROWS = 20
"""Questions below which one word is given to all."""
DEFAULT_CONFIDENCE = 0.99
"""Probability that a predicted word must suffice with: 1 % of right answers lost at most, as `budget:best` may lose."""
PENALTIES = (1.0, 0.1, 0.01)
"""Weights of the L2 penalty that are tried, per question, the strongest first."""
NO_FEATURE_HELPS = "one word for all: no feature of the text helps on held-out questions"
_FOLDS = 5
_WORTH = 0.98  # features must lower the log loss by a fiftieth: less is chance


def fit_effort(
    rows: Sequence[SearchRow],
    signature: SignatureLike,
    *,
    confidence: float = DEFAULT_CONFIDENCE,
    seed: int = 0,
) -> EffortEstimator:
    """Fit an estimator that predicts an effort word without a call.

    Args:
        rows: What a search over words found. Questions that were wrong without a budget are left out.
        signature: The inputs to predict from; those that a row lacks count as empty.
        confidence: Probability, from 0 to 1, that a predicted word must suffice with.
        seed: Decides how questions are dealt to the parts of the cross-validation.

    Returns:
        The estimator, which remembers the questions as seen.

    Raises:
        UsageError: If no row has a best word, the rows are of several predictors, or the confidence is no probability.
        MissingExtraError: If scipy is not installed.
    """
    if not 0 < confidence < 1:
        raise UsageError(f"confidence must be between 0 and 1, got {confidence!r}")
    check_rows(rows)
    usable = [row for row in sorted(rows, key=lambda row: row.id) if row.trials and row.vanilla.correct]
    best = {row.best.budget for row in usable if row.best is not None and isinstance(row.best.budget, str)}
    if not best:
        raise UsageError(f"no estimator of words can be fitted: none of the {len(rows)} questions has a best word")
    words_tried = {t.budget for row in usable for t in row.trials if isinstance(t.budget, str)}
    # A word with a phrase is a level of its own only where it was the best of a question.
    words = check_efforts(sorted(best | {word for word in words_tried if "+" not in word}))
    empty = EffortEstimator(signature)
    texts = [empty.texts(inputs_of(row)) for row in usable]
    levels = np.array([_sufficient_level(row, words) for row in usable])
    model = _fit_regression([text_counts(text) for text in texts], levels, words, confidence, seed)
    estimator = EffortEstimator(signature, regression=model, default=words[-1])
    estimator.seen.add((row.id for row in rows), "search")
    return estimator


def _sufficient_level(row: SearchRow, words: Sequence[str]) -> int:
    """Return the position of the least sufficient word, from 0.

    It is `len(words)` where none was found.
    """
    if row.best is None or not isinstance(row.best.budget, str):
        return len(words)
    return words.index(row.best.budget)


def _fit_regression(
    features: list[dict[str, float]], levels: NDArray[np.int64], words: tuple[str, ...], confidence: float, seed: int
) -> OrdinalRegression:
    if len(levels) < MIN_ROWS:
        note = f"one word for all: {len(levels)} questions were searched, a regression needs at least {MIN_ROWS}"
        return _one_word(levels, words, confidence, note)
    names = sorted(features[0])
    values = np.array([[row[name] for name in names] for row in features])
    # A feature that is the same for all questions has no scale to divide by, and says nothing.
    varying = values.std(axis=0) > 1e-9
    names, values = [n for n, keep in zip(names, varying, strict=True) if keep], values[:, varying]
    centre, scale = values.mean(axis=0), values.std(axis=0)
    # Standardised, (questions, features): one penalty then fits all weights alike.
    x = (values - centre) / scale
    order = random.Random(seed).sample(range(len(levels)), len(levels))
    folds = [np.array(order[k::_FOLDS]) for k in range(_FOLDS)]
    # What features must beat: the loss of thresholds alone, on the same folds.
    constant = _held_out_loss(np.zeros((len(levels), 0)), levels, len(words), folds, 0.0)
    losses = {penalty: _held_out_loss(x, levels, len(words), folds, penalty) for penalty in PENALTIES}
    penalty = min(losses, key=lambda p: losses[p])
    if not names or losses[penalty] > _WORTH * constant:
        return _one_word(levels, words, confidence, NO_FEATURE_HELPS)
    thresholds, weights = _maximise_likelihood(x, levels, len(words), penalty)
    terms = tuple(
        FeatureTerm(name, float(c), float(s), float(w))
        for name, c, s, w in zip(names, centre, scale, weights, strict=True)
        if abs(w) > 1e-6
    )
    return OrdinalRegression(words, tuple(map(float, thresholds)), terms, confidence, len(levels))


def _one_word(levels: NDArray[np.int64], words: tuple[str, ...], confidence: float, note: str) -> OrdinalRegression:
    """Return the model without features.

    Its thresholds are the log odds of the share of questions that each word suffices for.
    """
    # P(word i suffices) = share of levels at most i; thresholds are its log odds, kept finite.
    shares = np.array([(levels <= i).mean() for i in range(len(words))]).clip(1e-4, 1 - 1e-4)
    return OrdinalRegression(words, tuple(map(float, np.log(shares / (1 - shares)))), (), confidence, len(levels), note)


def _held_out_loss(
    x: Array, levels: NDArray[np.int64], words: int, folds: Sequence[NDArray[np.int64]], penalty: float
) -> float:
    """Return the mean log loss on held-out folds."""
    losses = []
    for fold in folds:
        rest = np.setdiff1d(np.arange(len(levels)), fold)
        thresholds, weights = _maximise_likelihood(x[rest], levels[rest], words, penalty)
        losses.append(_log_loss(thresholds, weights, x[fold], levels[fold]))
    return float(np.mean(losses))


def _maximise_likelihood(x: Array, levels: NDArray[np.int64], words: int, penalty: float) -> tuple[Array, Array]:
    """Return thresholds and weights of the largest penalised likelihood.

    Thresholds are parametrised as the first one and the logarithms of the steps between them, so that they ascend.
    """
    try:
        from scipy.optimize import minimize
    except ImportError:
        raise MissingExtraError("scipy", "search") from None

    def unpack(parameters: Array) -> tuple[Array, Array]:
        # theta_1 = p_1, theta_i = theta_(i-1) + exp(p_i): ascending whatever the optimiser tries.
        steps = np.concatenate([parameters[:1], np.exp(parameters[1:words])])
        return np.cumsum(steps), parameters[words:]

    def objective(parameters: Array) -> float:
        thresholds, weights = unpack(parameters)
        return _log_loss(thresholds, weights, x, levels) + penalty * float(weights @ weights) / 2

    # Steps of exp(0) = 1 from -1 on, and no weights; the bounds keep exponentials finite.
    start = np.concatenate([[-1.0], np.zeros(words - 1), np.zeros(x.shape[1])])
    result = minimize(objective, start, method="L-BFGS-B", bounds=[(-12, 12)] * len(start))
    return unpack(result.x)


def _log_loss(thresholds: Array, weights: Array, x: Array, levels: NDArray[np.int64]) -> float:
    """Return the mean log loss of the levels.

    -mean ln P(level), where P(level = i) = F(theta_i - w x) - F(theta_(i-1) - w x), F the logistic function.
    """
    score = x @ weights
    # theta_0 = -inf and theta_(n+1) = inf: the last level, no word suffices, takes what is left.
    edges = np.concatenate([[-np.inf], thresholds, [np.inf]])
    # F(theta - w x) = 1 / (1 + exp(w x - theta)), clipped against overflow.
    upper = 1 / (1 + np.exp(np.clip(score - edges[levels + 1], -60, 60)))
    lower = 1 / (1 + np.exp(np.clip(score - edges[levels], -60, 60)))
    return float(-np.log(np.maximum(upper - lower, 1e-9)).mean())
