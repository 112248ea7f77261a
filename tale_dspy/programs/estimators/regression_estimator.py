"""Estimate a budget from a question's text, without asking any model."""

from collections.abc import Mapping
from typing import Any, Self

import dspy

from tale_dspy.accounting.receipts import Receipt
from tale_dspy.budget import DEFAULT_BUDGET, DEFAULT_CEILING, DEFAULT_FLOOR, Budget, BudgetLimits
from tale_dspy.errors import UsageError
from tale_dspy.programs.base import SignatureLike, TalePrediction, with_receipt
from tale_dspy.programs.estimators.regression import EmbeddingProjection, FittedRegression, Regression
from tale_dspy.programs.estimators.text_estimator import TextEstimator, budget_signature, join_texts, text_counts
from tale_dspy.programs.estimators.text_features import FEATURES
from tale_dspy.programs.registry import BuildContext, signature_from
from tale_dspy.programs.state import LimitsState, TrainingExamples
from tale_dspy.task_signature import BUDGET


class RegressionEstimator(TextEstimator):
    """Predict a question's budget by quantile regression on its text.

    It is fitted on counts of the text, so it makes no call and takes no tokens.

    `tale_dspy.optimizers.fit_regression` makes it from a search. `token_budget` of its prediction is always a number
    that can be sent, whatever the inputs are. Inputs without any text get `default`, marked `fallback` in the receipt,
    and so does every question before the estimator is fitted; a question quite unlike those it was fitted to gets at
    least `default`, since too small a budget costs the answer; a prediction outside the limits is clamped.

    Args:
        signature: The inputs that are looked at. Outputs are ignored, so that a task's own signature can be given.
        regression: The fitted line.
        embedder: Adds features of the inputs' embedding. It is not saved: to load an estimator that was fitted with
            one, give it again. What a hosted one costs is not on the receipt.
        floor: Smallest budget, in tokens.
        ceiling: Largest budget, in tokens.
        default: Budget where there is nothing to predict from, in tokens.
        callbacks: As in `dspy.Module`.

    Raises:
        SignatureError: If the signature has a field of a name the module adds or reserves.
        UsageError: If there is no input, the limits cannot be used, or the embedder is no `dspy.Embedder`.
        StateError: If the regression was fitted to other inputs or with an embedder.

    Example:
        >>> RegressionEstimator("question -> answer")(question="1+1?").token_budget
        256
    """

    def __init__(
        self,
        signature: SignatureLike = "question -> answer",
        *,
        regression: Regression | None = None,
        embedder: dspy.Embedder | None = None,
        floor: int = DEFAULT_FLOOR,
        ceiling: int = DEFAULT_CEILING,
        default: int = DEFAULT_BUDGET,
        callbacks: list[Any] | None = None,
    ) -> None:
        super().__init__(callbacks=callbacks)
        self.signature = budget_signature(signature)
        if embedder is not None and not isinstance(embedder, dspy.Embedder):
            raise UsageError(f"embedder must be a dspy.Embedder, such as dspy.Embedder(function), got {embedder!r:.80}")
        self._embedder = _SharedOnCopy(embedder)
        known = [f"{name}.{feature}" for name in self.names for feature in FEATURES]
        self.regression = FittedRegression(regression, known, embedder is not None)
        self.limits = LimitsState(BudgetLimits(floor=floor, ceiling=ceiling, default=default))
        self.seen = TrainingExamples()

    @property
    def embedder(self) -> Any:
        """The `dspy.Embedder` whose features are used, or None."""
        return self._embedder.value

    @property
    def fitted(self) -> Regression | None:
        """The fitted line and how it came about; None before it was fitted."""
        return self.regression.value

    def forward(self, **kwargs: object) -> TalePrediction:
        texts = self.texts(kwargs)
        projection = self._needed_projection(texts)
        return self._to_prediction(texts, projection, self.embedder([join_texts(texts)])[0] if projection else None)

    async def aforward(self, **kwargs: object) -> TalePrediction:
        texts = self.texts(kwargs)
        projection = self._needed_projection(texts)
        embedding = (await self.embedder.acall([join_texts(texts)]))[0] if projection else None
        return self._to_prediction(texts, projection, embedding)

    def _needed_projection(self, texts: Mapping[str, str]) -> EmbeddingProjection | None:
        """Return the projection if an embedding is needed to predict."""
        return self.fitted.projection if self.fitted is not None and join_texts(texts) else None

    def _to_prediction(
        self, texts: Mapping[str, str], projection: EmbeddingProjection | None, embedding: Any
    ) -> TalePrediction:
        estimate = None
        if self.fitted is not None and join_texts(texts):
            values = text_counts(texts)
            if projection is not None:
                values |= projection.apply(self._check_length(projection, embedding.tolist()))
            estimate = self.fitted.predict(values)
            if not self.fitted.is_known(values):
                estimate = max(estimate, float(self.limits.value.default))
        budget: Budget = self.limits.value.apply(estimate, reason=None if join_texts(texts) else "no text")
        receipt = Receipt(
            program=type(self).__name__,
            token_budget=budget.tokens,
            budget_source=budget.source,
            fallback_reason=budget.fallback_reason,
            estimate=budget.estimate,
        )
        return with_receipt(dspy.Prediction(**{BUDGET: budget.tokens}), receipt)

    def _check_length(self, projection: EmbeddingProjection, embedding: list[float]) -> list[float]:
        if len(embedding) != len(projection.mean):
            raise UsageError(
                f"the embedder gives {len(embedding)} numbers, the estimator was fitted with {len(projection.mean)}: "
                "give the embedder it was fitted with"
            )
        return embedding

    @classmethod
    def from_description(cls, about: Mapping[str, object], context: BuildContext) -> Self:
        return cls(signature_from(about["signature"]), embedder=context.embedder)


class _SharedOnCopy:
    """Hold what copies of a module share.

    An embedder may be a model of a gigabyte.
    """

    def __init__(self, value: object) -> None:
        self.value = value

    def __deepcopy__(self, memo: dict[int, object]) -> "_SharedOnCopy":
        return self
