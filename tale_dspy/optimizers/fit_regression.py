"""Fit a `RegressionEstimator` to a search.

It is a quantile regression of the best budget on counts of the question's text.

The quantile is what matters. A budget that is too large costs a few tokens; one below what a question needs costs the
answer, and below the ideal range the tokens, too (token elasticity, paper section 4). So the line is not laid through
the middle of the best budgets but above most of them, and how far above is decided by the trials of the search.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import dspy

from tale_dspy.budget import check_budget
from tale_dspy.errors import MissingExtraError, UsageError
from tale_dspy.optimizers.search.offline_eval import ExpectedOutcome, TrialReplay, check_rows, inputs_of
from tale_dspy.optimizers.search.records import SearchRow
from tale_dspy.programs.base import SignatureLike
from tale_dspy.programs.estimators.regression import EmbeddingProjection, FeatureTerm, Regression
from tale_dspy.programs.estimators.regression_estimator import RegressionEstimator
from tale_dspy.programs.estimators.text_estimator import join_texts, text_counts

MIN_ROWS = 20
"""Questions with a best budget below which nothing but a constant is fitted."""
DEFAULT_QUANTILE = 0.9
"""Taken where too few questions were searched to choose one."""
QUANTILES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98)
SCALES = (1.0, 0.9, 1.1, 1.2)
"""What all budgets of a line are multiplied by, the first where it makes no difference."""
PENALTIES = (0.1, 0.02, 0.003)
"""Weights of the L1 penalty that are tried, the strongest first; a constant is tried before them."""
MAX_LOSS = 0.0075
"""Accuracy that a lower quantile may cost, as a fraction of the questions."""

_WORTH = 0.98  # a weaker penalty must lower the loss by a fiftieth: less is chance
_FOLDS = 5
_CHOOSING = 1000  # questions on which quantile and penalty are chosen; more would cost minutes and change nothing
_DIRECTIONS = 16


@dataclass(frozen=True)
class FitQuestion:
    """A row of the search that a fit can learn from."""

    id: str
    texts: dict[str, str]
    """Its inputs."""
    best: int | None
    """The best budget, in tokens; None where no budget gained anything."""


@dataclass(frozen=True)
class FitChoice:
    """What a line is fitted with."""

    penalty: float | None
    """Weight of the L1 penalty; None for a constant."""
    quantile: float
    scale: float = 1.0
    """What the budgets on the line are multiplied by."""


def fit_regression(
    rows: Sequence[SearchRow],
    signature: SignatureLike,
    *,
    quantile: float | None = None,
    embedder: dspy.Embedder | None = None,
    seed: int = 0,
) -> RegressionEstimator:
    """Fit an estimator that predicts a budget without a call.

    It learns the logarithm of the best budgets. Questions without one are never given a made-up target; those that were
    right without a budget count where the quantile is chosen, by what their trials came to. With fewer than `MIN_ROWS`
    best budgets, or where no feature helps on questions left out, the estimator gives one budget to all, and its
    `fitted.note` says so. The limits of the estimator are the smallest best budget found and twice the largest.

    Args:
        rows: What `BudgetSearch` found.
        signature: The inputs to predict from; those that a row lacks count as empty.
        quantile: Share of the questions whose best budget should not be above the estimate. None chooses it, a penalty
            and a factor by cross-validation: those with the fewest tokens expected (`TrialReplay`) among those at most
            `MAX_LOSS` below the best accuracy expected. With fewer than `MIN_ROWS` best budgets it is
            `DEFAULT_QUANTILE`.
        embedder: Adds features of the inputs' embedding, by their principal components. Where these do not help, the
            estimator does without.
        seed: Decides how questions are dealt to the parts of the cross-validation.

    Returns:
        The estimator, which remembers the questions as seen.

    Raises:
        UsageError: If no row has a best budget, the rows are of several predictors, or the quantile is not between 0
            and 1.
        MissingExtraError: If scikit-learn is not installed.
    """
    if quantile is not None and (not isinstance(quantile, int | float) or not 0 < quantile < 1):
        raise UsageError(f"quantile must be between 0 and 1, got {quantile!r}")
    check_rows(rows)
    empty = RegressionEstimator(signature, embedder=embedder)
    questions = [_fit_question(row, empty) for row in sorted(rows, key=lambda row: row.id)]
    solved = [q for q in questions if q.best is not None]
    best = [float(q.best) for q in solved if q.best is not None]
    if not best:
        raise UsageError(f"no estimator can be fitted: none of the {len(rows)} questions has a best budget")
    if len(best) < MIN_ROWS:
        note = f"one budget for all: {len(best)} questions have a best budget, a regression needs at least {MIN_ROWS}"
        line = _constant_regression(best, quantile or DEFAULT_QUANTILE, note)
    else:
        _check_extra()
        line = _CrossValidation(questions, empty, TrialReplay(rows), seed).line(quantile)
    estimator = RegressionEstimator(
        signature,
        regression=line,
        embedder=embedder,
        # No smaller budget than the smallest that was ever the best; a factor of two above the largest leaves room
        # for questions unlike those searched.
        floor=int(min(best)),
        ceiling=2 * int(max(best)),
        default=math.ceil(_of_quantile(best, line.quantile)),
    )
    estimator.seen.add((row.id for row in rows), "search")
    return estimator


def _fit_question(row: SearchRow, estimator: RegressionEstimator) -> FitQuestion:
    best = None if row.best is None else check_budget(row.best.budget, "the best budget of a row")
    return FitQuestion(row.id, estimator.texts(inputs_of(row)), best)


def _of_quantile(values: Sequence[float], quantile: float) -> float:
    """Return the smallest value that at least this share of values do not exceed."""
    # The k-th smallest with k = ceil(q n): no interpolation, so that it is a budget that was the best of a question.
    return sorted(values)[max(0, math.ceil(quantile * len(values) - 1e-9) - 1)]


def _constant_regression(best: Sequence[float], quantile: float, note: str) -> Regression:
    return Regression(math.log(_of_quantile(best, quantile)), (), quantile, len(best), note=note)


class _CrossValidation:
    """One fit by cross-validation: the features, and what is chosen on them."""

    def __init__(
        self, questions: Sequence[FitQuestion], estimator: RegressionEstimator, hindsight: TrialReplay, seed: int
    ) -> None:
        shuffled = random.Random(seed).sample(questions, len(questions))  # the folds are slices of it
        self.hindsight = hindsight
        self.solved = [q for q in shuffled if q.best is not None]
        self.others = [q for q in shuffled if q.best is None and q.id in hindsight][:_CHOOSING]
        # Fitted on ln(budget): errors of budgets are ratios.
        self.logs = [math.log(q.best) for q in self.solved if q.best is not None]
        all_questions = [*self.solved, *self.others]
        features = [text_counts(q.texts) for q in all_questions]
        self.projection: EmbeddingProjection | None = None
        if estimator.embedder is not None:
            embeddings = estimator.embedder([join_texts(q.texts) or " " for q in all_questions])
            self.projection = _project_embeddings(embeddings[: len(self.solved)])
            for row, embedding in zip(features, embeddings.tolist(), strict=True):
                row |= self.projection.apply(embedding)
        self.names = list(features[0])
        vectors = [list(f.values()) for f in features]
        self.vectors, self.other_vectors = vectors[: len(self.solved)], vectors[len(self.solved) :]

    def line(self, quantile: float | None) -> Regression:
        """Return the fitted line."""
        penalty = self._choose_penalty(quantile or DEFAULT_QUANTILE)
        choice = FitChoice(penalty, quantile) if quantile else self._cheapest_fit(penalty)
        if penalty is None:
            note = "one budget for all: nothing counted in the questions tells their best budgets apart"
            return _constant_regression([math.exp(log) for log in self.logs], choice.quantile, note)
        pipe = _make_pipeline(choice.quantile, choice.penalty).fit(self.vectors, self.logs)
        scaler, model = pipe[0], pipe[1]
        numbers = zip(self.names, scaler.mean_, scaler.scale_, model.coef_, strict=True)
        terms = [FeatureTerm(name, float(c), float(s), float(w)) for name, c, s, w in numbers if abs(w) > 1e-9]
        return Regression(
            # A factor on budgets is a summand of their logarithms: it is moved into the intercept.
            intercept=float(model.intercept_) + math.log(choice.scale),
            terms=tuple(terms),
            quantile=choice.quantile if choice.scale == 1 else self._share_below(choice),
            rows=len(self.logs),
            penalty=choice.penalty,
            projection=self.projection if any(t.name.startswith("embedding.") for t in terms) else None,
        )

    def _share_below(self, choice: FitChoice) -> float:
        """Return the share of best budgets at or below their scaled predictions.

        Each prediction is made by a fit without its question.
        """
        moved = [log + math.log(choice.scale) for log in self._left_out(choice.quantile, choice.penalty)]
        return round(sum(a <= b for a, b in zip(self.logs, moved, strict=False)) / len(moved), 4)

    def _choose_penalty(self, quantile: float) -> float | None:
        """Return the penalty that predicts questions left out best.

        Of about equal ones it is the strongest, and None where a constant is as good.
        """
        from sklearn.metrics import mean_pinball_loss

        logs = self.logs[:_CHOOSING]
        chosen, least = None, math.inf
        for penalty in (None, *PENALTIES):
            loss = mean_pinball_loss(logs, self._left_out(quantile, penalty), alpha=quantile)
            # A weaker penalty must be better by `_WORTH` to be taken: of about equal ones the simplest.
            if loss < least * _WORTH:
                chosen, least = penalty, loss
        return chosen

    def _left_out(self, quantile: float, penalty: float | None) -> list[float]:
        """Predict the logarithm for each question from a fit to the others."""
        from sklearn.model_selection import cross_val_predict

        n = min(_CHOOSING, len(self.logs))
        predicted: Any = cross_val_predict(
            _make_pipeline(quantile, penalty), self.vectors[:n], self.logs[:n], cv=_FOLDS
        )
        return [float(log) for log in predicted]

    def _cheapest_fit(self, penalty: float | None) -> FitChoice:
        """Choose the fit with the fewest expected tokens.

        Its expected accuracy must be about the best there is. Where a line predicts better than a constant, all its
        penalties are compared, and then what the best of them is multiplied by.
        """
        if not any(q.id in self.hindsight for q in [*self.solved[:_CHOOSING], *self.others]):
            return FitChoice(penalty, DEFAULT_QUANTILE)  # rows made by hand, without an answer to compare with
        if penalty is None:
            return self._cheapest_choice([FitChoice(None, q) for q in QUANTILES])
        # Two passes instead of the whole grid of penalty x quantile x scale: the scale hardly depends on the penalty.
        first = self._cheapest_choice([FitChoice(p, q) for p in PENALTIES for q in QUANTILES])
        return self._cheapest_choice([FitChoice(first.penalty, q, scale) for scale in SCALES for q in QUANTILES])

    def _cheapest_choice(self, choices: Sequence[FitChoice]) -> FitChoice:
        outcomes = {choice: self._expected_outcome(choice) for choice in choices}
        # Of the choices within `MAX_LOSS` of the best expected accuracy, the one with the fewest expected tokens.
        bar = max(o.right for o in outcomes.values()) - MAX_LOSS - 1e-12
        return min((c for c, o in outcomes.items() if o.right >= bar), key=lambda c: outcomes[c].tokens)

    def _expected_outcome(self, choice: FitChoice) -> ExpectedOutcome:
        """Return the mean outcome of a choice on questions it was not fitted to."""
        logs = self._all_left_out(choice.quantile, choice.penalty)
        pairs = zip([*self.solved[:_CHOOSING], *self.others], logs, strict=True)
        scale = choice.scale
        outcomes = [self.hindsight.expected(q.id, scale * math.exp(log)) for q, log in pairs if q.id in self.hindsight]
        return ExpectedOutcome(
            sum(o.tokens for o in outcomes) / len(outcomes), sum(o.right for o in outcomes) / len(outcomes)
        )

    @cache  # noqa: B019  the fit lives no longer than its line
    def _all_left_out(self, quantile: float, penalty: float | None) -> list[float]:
        """Predict for all questions, also for those without a best budget.

        No question is predicted by a fit that saw it.
        """
        logs = self._left_out(quantile, penalty)
        if not self.others:
            return logs
        n = min(_CHOOSING, len(self.logs))
        pipe = _make_pipeline(quantile, penalty).fit(self.vectors[:n], self.logs[:n])
        return logs + [float(log) for log in pipe.predict(self.other_vectors)]


def _check_extra() -> None:
    """Say what to install before any of it is needed."""
    try:
        import sklearn  # noqa: F401  # pyright: ignore[reportUnusedImport]
    except ImportError as e:
        raise MissingExtraError("scikit-learn", "search") from e


def _project_embeddings(embeddings: Any) -> EmbeddingProjection:
    """Return the directions in which embeddings differ most.

    The embeddings are the rows of a NumPy array.
    """
    import numpy as np
    from sklearn.decomposition import PCA

    n, length = embeddings.shape
    pca: Any = PCA(min(_DIRECTIONS, n // MIN_ROWS, length), random_state=0)
    with np.errstate(invalid="ignore"):  # embeddings that are all the same have no variance to divide by
        pca.fit(embeddings)
    return EmbeddingProjection(tuple(pca.mean_.tolist()), tuple(tuple(d) for d in pca.components_.tolist()))


def _make_pipeline(quantile: float, penalty: float | None) -> Any:
    """Return the pipeline that is fitted.

    Features are scaled to mean 0 and deviation 1; then comes a line or, without a penalty, a constant.
    """
    from sklearn.dummy import DummyRegressor
    from sklearn.linear_model import QuantileRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    line = (
        DummyRegressor(strategy="quantile", quantile=quantile)
        if penalty is None
        else QuantileRegressor(quantile=quantile, alpha=penalty, solver="highs")
    )
    return make_pipeline(StandardScaler(), line)
