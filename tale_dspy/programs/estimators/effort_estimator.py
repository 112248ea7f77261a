"""Estimate an effort word from a question's text, without asking any model."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import dspy

from tale_dspy.accounting.receipts import Receipt
from tale_dspy.budget import EFFORT_WORDS, BudgetValue
from tale_dspy.errors import StateError, UsageError
from tale_dspy.programs.base import SignatureLike, TalePrediction, with_receipt
from tale_dspy.programs.estimators.regression import FeatureTerm, finite_number, term_from_json
from tale_dspy.programs.estimators.text_estimator import TextEstimator, budget_signature, join_texts, text_counts
from tale_dspy.programs.estimators.text_features import FEATURES
from tale_dspy.programs.registry import BuildContext, signature_from
from tale_dspy.programs.state import ModuleState, TrainingExamples
from tale_dspy.protocols import JsonObject

FURTHEST = 4.0
"""Standard deviations that a feature may count for; one that is further off counts as if it were so far."""


@dataclass(frozen=True)
class OrdinalRegression:
    """A fitted proportional-odds model of the least sufficient effort word.

    The model is McCullagh's (1980). P(words[i] suffices | x) = 1 / (1 + exp(-(thresholds[i] - sum of weight * (x -
    centre) / scale))). The prediction is the first word that suffices with at least `confidence`.
    """

    words: tuple[str, ...]
    """Effort words, from the least to the most; the last is sent where no word is sure enough."""
    thresholds: tuple[float, ...]
    """One for each word, ascending."""
    terms: tuple[FeatureTerm, ...]
    """Features that count; without any, one word for all questions."""
    confidence: float
    """Smallest probability that a predicted word suffices."""
    rows: int
    """Questions it was fitted to."""
    note: str = ""
    """What the user should know of the fit, such as why it is one word for all."""

    def predict(self, features: Mapping[str, float]) -> str:
        """Return the word for a question.

        Features are a mapping `field.feature` -> value.
        """
        # Proportional odds (McCullagh 1980): P(level <= i) = 1 / (1 + exp(score - threshold_i)), which grows with i.
        # The first word that suffices with at least `confidence` is the least one. 700 keeps exp below overflow.
        score = sum(term.weight * max(-FURTHEST, min(term.off(features), FURTHEST)) for term in self.terms)
        for word, threshold in zip(self.words, self.thresholds, strict=True):
            # Rounded: the last bits, which differ between machines, must not decide.
            if round(1 / (1 + math.exp(min(score - threshold, 700.0))), 6) >= self.confidence:
                return word
        return self.words[-1]

    def to_json(self) -> JsonObject:
        return asdict(self)

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> "OrdinalRegression":
        """Build one from `to_json`, which may have come out of a file.

        Raises:
            StateError: If a word is no effort word, a number none or not finite, or the lengths differ.
        """
        words = tuple(str(word) for word in row["words"])
        try:
            known = all(BudgetValue.parse(word).effort in EFFORT_WORDS for word in words)
        except UsageError:
            known = False
        thresholds = tuple(finite_number("thresholds", value) for value in row["thresholds"])
        if not words or not known or len(words) != len(thresholds):
            raise StateError(f"an effort model needs a threshold for each of its words, got {words} and {thresholds}")
        return cls(
            words=words,
            thresholds=thresholds,
            terms=tuple(term_from_json(term) for term in row["terms"]),
            confidence=finite_number("confidence", row["confidence"]),
            rows=int(finite_number("rows", row["rows"])),
            note=str(row["note"]),
        )


class FittedEffort(ModuleState):
    """The ordinal regression an estimator predicts with, None until fitted."""

    def __init__(self, value: OrdinalRegression | None, names: frozenset[str]) -> None:
        self._names = names
        self._initial = self.value = self._check_words(value)

    def _check_words(self, value: OrdinalRegression | None) -> OrdinalRegression | None:
        for term in value.terms if value is not None else ():
            if term.name not in self._names:
                raise StateError(f"the regression has a feature {term.name!r}, which this estimator's inputs do not")
        return value

    def dump_state(self, json_mode: bool = True) -> JsonObject:
        return {"effort": None if self.value is None else self.value.to_json()}

    def load_state(self, state: JsonObject) -> None:
        row = state["effort"]
        self.value = self._check_words(None if row is None else OrdinalRegression.from_json(row))

    def reset(self) -> None:
        self.value = self._initial


class EffortEstimator(TextEstimator):
    """Predict the least sufficient effort word of a question.

    It uses ordinal regression, so it makes no call and takes no tokens. `tale_dspy.optimizers.fit_effort` makes it from
    a search over words. A question without any text, and every question before the estimator is fitted, gets `default`.

    Args:
        signature: The inputs that are looked at. Outputs are ignored, so that a task's own signature can be given.
        regression: The fitted model.
        default: Effort word where there is nothing to predict from.
        callbacks: As in `dspy.Module`.

    Raises:
        SignatureError: If the signature has a field of a name the module adds or reserves.
        UsageError: If there is no input, or the default is no effort word.
        StateError: If the regression was fitted to other inputs.

    Example:
        >>> EffortEstimator("question -> answer", default="low")(question="1+1?").effort
        'low'
    """

    def __init__(
        self,
        signature: SignatureLike = "question -> answer",
        *,
        regression: OrdinalRegression | None = None,
        default: str = "medium",
        callbacks: list[Any] | None = None,
    ) -> None:
        super().__init__(callbacks=callbacks)
        self.signature = budget_signature(signature)
        if BudgetValue.parse(default).effort is None:
            raise UsageError(f"default must be an effort word, got {default!r}")
        self.default = default
        self.regression = FittedEffort(regression, frozenset(f"{n}.{f}" for n in self.names for f in FEATURES))
        self.seen = TrainingExamples()

    @property
    def fitted(self) -> OrdinalRegression | None:
        """The fitted model; None before it was fitted."""
        return self.regression.value

    def forward(self, **kwargs: object) -> TalePrediction:
        texts = self.texts(kwargs)
        fitted = self.fitted if join_texts(texts) else None
        value = BudgetValue.parse(self.default if fitted is None else fitted.predict(text_counts(texts)))
        receipt = Receipt(
            program=type(self).__name__,
            token_budget=value.tokens,
            effort=value.effort,
            budget_source="fallback" if fitted is None else "estimate",
            fallback_reason=None if fitted is not None else "no estimate" if join_texts(texts) else "no text",
        )
        fields = {"effort": value.effort, "token_budget": value.tokens}
        return with_receipt(dspy.Prediction(**fields), receipt)

    async def aforward(self, **kwargs: object) -> TalePrediction:
        return self.forward(**kwargs)

    def describe(self) -> JsonObject:
        return {**super().describe(), "default": self.default}

    @classmethod
    def from_description(cls, about: Mapping[str, object], context: BuildContext) -> Self:
        return cls(signature_from(about["signature"]), default=str(about.get("default", "medium")))
