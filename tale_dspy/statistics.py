"""Statistics of runs, comparisons and reports.

They are means, quantiles, intervals and exact tests.

What numpy, scipy and the standard library have is taken from there. An unknown value is None: functions say whether
they leave it out or let it make their result unknown.
"""

import math
from collections.abc import Iterable, Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Interval = tuple[float, float]


class ExactSum:
    """A sum of floats without rounding error.

    Neither order nor grouping changes it. It keeps the partial sums of Shewchuk's algorithm (Discrete & Computational
    Geometry 18, 1997, 305-363), as `math.fsum` does inside: some ten floats however many values are added. Two sums can
    be merged.

    Example:
        >>> total = ExactSum()
        >>> for value in (1e16, 1.0, -1e16):
        ...     total.add(value)
        >>> total.value
        1.0
    """

    __slots__ = ("_partials", "_whole")

    def __init__(self) -> None:
        self._whole = 0
        self._partials: list[float] = []

    def add(self, value: float) -> None:
        """Add one finite number."""
        if isinstance(value, int):
            self._whole += value
            return
        partials, count = self._partials, 0
        x = value
        for y in partials:
            if abs(x) < abs(y):
                x, y = y, x
            high = x + y
            low = y - (high - x)  # what rounding took from high; exact since |x| >= |y|
            if low:
                partials[count] = low
                count += 1
            x = high
        # Partials do not overlap and ascend in magnitude; their exact sum is the exact sum of all values added.
        partials[count:] = [x]

    def merge(self, other: "ExactSum") -> None:
        """Add another sum to this one."""
        self._whole += other._whole
        for partial in list(other._partials):
            self.add(partial)

    @property
    def state(self) -> list[float]:
        """The sum as numbers that JSON keeps exactly; see `from_state`."""
        return [self._whole, *self._partials]

    @classmethod
    def from_state(cls, state: Sequence[float]) -> "ExactSum":
        """Restore a sum from its `state`."""
        total = cls()
        total._whole, total._partials = int(state[0]), [float(partial) for partial in state[1:]]
        return total

    @property
    def value(self) -> float:
        """The sum, rounded once."""
        return math.fsum([*self._partials, self._whole]) if self._partials else float(self._whole)


def normal_quantile(probability: float) -> float:
    """Return the quantile of the standard normal distribution.

    Example:
        >>> round(normal_quantile(0.975), 4)
        1.96
    """
    return NormalDist().inv_cdf(probability)


def students_t_quantile(probability: float, degrees: int) -> float:
    """Return the quantile of Student's t distribution."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, probability))


def mean_known(values: Iterable[float | None]) -> float | None:
    """Return the mean of the known values; None if there is none."""
    known = [v for v in values if v is not None]
    return math.fsum(known) / len(known) if known else None


def mean_complete(values: Iterable[float | None]) -> float | None:
    """Return the mean of the values.

    It is None if there is no value, or one is unknown or not finite.
    """
    listed = list(values)
    return mean_known(listed) if all(v is not None and math.isfinite(v) for v in listed) else None


def quantile(values: "Sequence[float] | NDArray[np.float64]", probability: float) -> float | None:
    """Return the quantile by linear interpolation, numpy's default.

    It is None without values.
    """
    import numpy as np

    return float(np.quantile(np.asarray(values, dtype=np.float64), probability)) if len(values) else None


def wilson_interval(right: float, n: int) -> Interval:
    """Return Wilson's 95% score interval of a share.

    With p = right / n and z the normal quantile it is (p + z²/2n ± z sqrt(p(1-p)/n + z²/4n²)) / (1 + z²/n). Source:
    Journal of the American Statistical Association 22, 1927, 209-212.

    Args:
        right: Successes; need not be whole.
        n: Trials, at least 1.
    """
    z, p = normal_quantile(0.975), right / n
    centre, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def normal_interval(values: Sequence[float]) -> Interval | None:
    """Return the normal 95% interval of a mean, from the spread of the values.

    It is None below two values.
    """
    n = len(values)
    if n < 2:
        return None
    centre = math.fsum(values) / n
    # Standard error of the mean: s / sqrt(n), s^2 with n - 1 in the denominator.
    spread = math.sqrt(math.fsum((v - centre) ** 2 for v in values) / (n - 1) / n)
    half = normal_quantile(0.975) * spread
    return centre - half, centre + half


def accuracy_interval(scores: Sequence[float], repeats: int = 1) -> Interval | None:
    """Return the 95 % interval of the mean of per-question scores.

    Draws are clustered by question.

    Args:
        scores: Share of right draws of each question; none gives None.
        repeats: Draws a question. One gives Wilson's interval; several give the normal interval of the question means,
            whose spread holds both sources of noise, cut at 0 and 1; where all means are the same, which would claim
            certainty, Wilson's interval of as many single draws.
    """
    if not scores:
        return None
    if repeats == 1 or (len(scores) > 1 and min(scores) == max(scores)):
        return wilson_interval(math.fsum(scores), len(scores))
    # Draws of one question are not independent: the question is the unit, its mean the value.
    low, high = normal_interval(scores) or (0.0, 1.0)
    return max(0.0, low), min(1.0, high)


def mcnemar_p(fell: int, rose: int) -> float:
    """Return the exact two-sided p of a count against its counterpart.

    The null hypothesis is fair coin flips (McNemar, sign test).

    Args:
        fell: Pairs that changed one way.
        rose: Pairs that changed the other way.

    Example:
        >>> round(mcnemar_p(1, 9), 4)
        0.0215
    """
    return min(1.0, 2 * binomial_cdf(min(fell, rose), fell + rose, 0.5))


def binomial_cdf(successes: int, n: int, probability: float) -> float:
    """Return the chance of at most `successes` successes in n trials."""
    from scipy.special import betainc

    # P(X <= k) = I_(1 - p)(n - k, k + 1), the regularised incomplete beta function: exact, and no sum over k terms.
    return 1.0 if successes >= n else float(betainc(n - successes, successes + 1, 1 - probability))


def binomial_upper_bound(successes: int, n: int, delta: float) -> float:
    """Return Clopper and Pearson's one-sided upper bound of a share.

    Its confidence is 1 - delta.
    """
    from scipy.special import betaincinv

    # The p at which P(X <= k) = delta; it is the 1 - delta quantile of Beta(k + 1, n - k).
    return 1.0 if successes >= n else float(betaincinv(successes + 1, n - successes, 1 - delta))
