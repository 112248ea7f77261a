"""A fitted quantile regression: its numbers, its predictions, and its JSON.

Plain Python, so that a program that was fitted runs without scikit-learn and gives the same budgets in any process. How
the numbers are found: `tale_dspy.optimizers.fit_regression`. Which inputs they are predicted from:
`regression_estimator`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tale_dspy.errors import StateError
from tale_dspy.programs.state import ModuleState
from tale_dspy.protocols import JsonObject

FURTHEST = 4.0
"""Standard deviations from the mean of the fitted questions beyond which a feature counts no further, and a question is
unlike them."""
_HIGHEST_LOG = math.log(1e9)


@dataclass(frozen=True)
class FeatureTerm:
    """One feature of the sum."""

    name: str
    """`field.feature`, such as `question.words`, or `embedding.3`."""
    centre: float
    """Mean of the feature over the fitted questions."""
    scale: float
    """Its standard deviation there."""
    weight: float
    """What one standard deviation adds to the logarithm of the budget."""

    def off(self, features: Mapping[str, float]) -> float:
        """Return how many standard deviations a question is off the mean."""
        return (features[self.name] - self.centre) / self.scale


@dataclass(frozen=True)
class EmbeddingProjection:
    """The few directions of an embedding in which fitted questions differ most."""

    mean: tuple[float, ...]
    """Mean embedding of the fitted questions."""
    directions: tuple[tuple[float, ...], ...]
    """The first gives the feature `embedding.0`, and so on."""

    def apply(self, embedding: Sequence[float]) -> dict[str, float]:
        """Return the features of an embedding of the length of `mean`."""
        # Principal components: the dot product of each direction with the centred embedding.
        off = [e - m for e, m in zip(embedding, self.mean, strict=True)]
        sums = (sum(a * b for a, b in zip(off, d, strict=True)) for d in self.directions)
        return {f"embedding.{n}": value for n, value in enumerate(sums)}


@dataclass(frozen=True)
class Regression:
    """A fitted line for the logarithm of the budget.

    Without terms it is a constant.
    """

    intercept: float
    """Logarithm of the budget of a question that is average in every feature."""
    terms: tuple[FeatureTerm, ...]
    """The features that count; the fit leaves out those of weight 0."""
    quantile: float
    """Share of questions whose best budget should not lie above the line."""
    rows: int
    """Questions it was fitted to."""
    penalty: float | None = None
    """Weight of the L1 penalty it was fitted with; None for a constant."""
    note: str = ""
    """What the user should know of the fit, such as why it is a constant."""
    projection: EmbeddingProjection | None = None
    """Set where the terms include features of an embedding."""

    def predict(self, features: Mapping[str, float]) -> float:
        """Return the budget, in tokens and not yet a whole number.

        Args:
            features: Value of each feature of the terms.
        """
        # ln(budget) = intercept + sum of weight x standardised feature. Beyond `FURTHEST` standard deviations a feature
        # counts as if it lay there: the line is not extrapolated.
        log = self.intercept
        for term in self.terms:
            log += term.weight * max(-FURTHEST, min(term.off(features), FURTHEST))
        # Whole tokens are rounded up to: the last bits, which differ between machines, must not decide.
        return round(math.exp(min(log, _HIGHEST_LOG)), 4)

    def is_known(self, features: Mapping[str, float]) -> bool:
        """Return whether a question is like those fitted in every feature used.

        The line holds only for such questions.
        """
        return all(abs(term.off(features)) <= FURTHEST for term in self.terms)

    def to_json(self) -> JsonObject:
        return asdict(self)

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> "Regression":
        """Build one from `to_json`, which may have come out of a file.

        Raises:
            StateError: If a number is none or not finite, a scale not above 0, or a part missing.
        """
        terms = tuple(term_from_json(t) for t in row["terms"])
        projection_row = row["projection"]
        projection = None if projection_row is None else _read_projection(projection_row)
        penalty = row["penalty"]
        return cls(
            intercept=finite_number("intercept", row["intercept"]),
            terms=terms,
            quantile=finite_number("quantile", row["quantile"]),
            rows=int(finite_number("rows", row["rows"])),
            penalty=None if penalty is None else finite_number("penalty", penalty),
            note=str(row["note"]),
            projection=projection,
        )


class FittedRegression(ModuleState):
    """The regression an estimator predicts with; None until it was fitted.

    Args:
        regression: What it starts with.
        known: Names of the features that the estimator can compute; those of an embedding are known by `embeds`.
        embeds: Whether the estimator has an embedder.
    """

    def __init__(self, regression: Regression | None, known: Sequence[str], embeds: bool) -> None:
        self._known = frozenset(known)
        self._embeds = embeds
        self._check_features(regression)
        self._initial = regression
        self.value = regression

    def _check_features(self, regression: Regression | None) -> None:
        if regression is None:
            return
        if regression.projection is not None and not self._embeds:
            raise StateError(
                "the estimator was fitted with an embedder, which no file holds: give it again, as "
                "RegressionEstimator(signature, embedder=...) or tale_dspy.load(path, embedder=...)"
            )
        directions = regression.projection.directions if regression.projection else ()
        known = self._known | {f"embedding.{n}" for n in range(len(directions))}
        for term in regression.terms:
            if term.name not in known:
                raise StateError(f"the regression has a feature {term.name!r}, which this estimator's inputs do not")

    def dump_state(self, json_mode: bool = True) -> JsonObject:
        return {"regression": None if self.value is None else self.value.to_json()}

    def load_state(self, state: JsonObject) -> None:
        saved = state["regression"]
        regression = None if saved is None else Regression.from_json(saved)
        self._check_features(regression)
        self.value = regression

    def reset(self) -> None:
        self.value = self._initial


def finite_number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e100:
        raise StateError(f"{name} must be a finite number, got {value!r:.80}")
    return float(value)


def term_from_json(row: Mapping[str, object]) -> FeatureTerm:
    numbers = {k: finite_number(k, row[k]) for k in ("centre", "scale", "weight")}
    if numbers["scale"] <= 0:
        raise StateError(f"scale must be above 0, got {numbers['scale']}")
    return FeatureTerm(str(row["name"]), **numbers)


def _read_projection(row: Mapping[str, Any]) -> EmbeddingProjection:
    mean = tuple(finite_number("mean", v) for v in row["mean"])
    directions = tuple(tuple(finite_number("directions", v) for v in d) for d in row["directions"])
    for direction in directions:
        if len(direction) != len(mean):
            raise StateError(f"a direction has {len(direction)} numbers, the mean {len(mean)}: they must be as many")
    return EmbeddingProjection(mean, directions)
