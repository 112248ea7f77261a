"""How far accuracy may have fallen between two paired runs.

The bound holds with 95 % certainty; it also says how many questions that takes.

The bound is Tango's score bound for paired shares (Statistics in Medicine 17, 1998, 891-908), the usual one for
paired non-inferiority: unlike a bootstrap it does not shrink to nothing where few or no answers changed.
"""

import math
from collections.abc import Sequence

from tale_dspy.statistics import normal_quantile

Z = normal_quantile(0.95)
"""One-sided 95 % quantile of the normal distribution."""
MOST = 10**9
"""Questions beyond which nobody asks."""


def difference_bounds(gains: Sequence[float]) -> tuple[float, float]:
    """Bound the mean of paired differences from below and from above.

    Each bound holds with one-sided 95 % certainty. Differences of -1, 0 and 1 (one draw a question) have the score
    bounds. Others, means over several draws, have the normal bounds over questions, which are never narrower than the
    score bounds of as many unchanged questions.

    Args:
        gains: For each question, the share of right draws of the new run minus that of the base; at least one.
    """
    n = len(gains)
    if all(gain in (-1.0, 0.0, 1.0) for gain in gains):
        fell, rose = sum(gain < 0 for gain in gains), sum(gain > 0 for gain in gains)
        return score_bound(n, fell, rose), -score_bound(n, rose, fell)
    mean = math.fsum(gains) / n
    spread = math.sqrt(math.fsum((gain - mean) ** 2 for gain in gains) / max(1, n - 1) / n)
    # Where all gains are equal the spread is 0, and a normal bound would claim certainty.
    half = max(Z * spread, -score_bound(n, 0, 0))
    return max(-1.0, mean - half), min(1.0, mean + half)


def score_bound(n: float, fell: float, rose: float) -> float:
    """Return the one-sided 95 % lower score bound of (rose - fell) / n.

    The counts need not be whole.
    """
    low, high = -1.0, (rose - fell) / n
    for _ in range(60):  # the score falls with the assumed difference: halve until no bit is left
        middle = (low + high) / 2
        if _tango_score(n, fell, rose, middle) > Z:
            low = middle
        else:
            high = middle
    return high


def _tango_score(n: float, fell: float, rose: float, assumed: float) -> float:
    """Return the standardised distance of the observed to an assumed difference.

    It is Tango's score, at the likeliest share fallen under the assumed difference.
    """
    # Tango (1998), the restricted maximum likelihood estimate of the share fallen, q: the positive root of 2 n q^2 -
    # b q - fell d (1 - d) = 0 with d = assumed; then score = (observed - n d) / sqrt(n (2 q + d (1 - d))).
    b = fell + rose - (2 * n + fell - rose) * assumed
    root = math.sqrt(max(0.0, b * b + 8 * n * fell * assumed * (1 - assumed)))
    likeliest = (b + root) / (4 * n)
    variance = n * (2 * likeliest + assumed * (1 - assumed))
    distance = rose - fell - n * assumed
    return distance / math.sqrt(variance) if variance > 0 else math.inf


def smallest_n(max_drop: float, changed: float = 0.0, net: float = 0.0) -> int:
    """Return the fewest questions with which a run could pass as not worse.

    The loss to rule out is `max_drop`.

    Args:
        max_drop: The drop in accuracy allowed, above 0 and below 1.
        changed: Share of questions whose outcome changes.
        net: Share that changes for the better minus that for the worse; 0 is two equally good runs.

    Example:
        >>> smallest_n(0.01), smallest_n(0.01, changed=0.03)
        (268, 889)
    """
    # Net gain cannot exceed the share of questions that change at all.
    net = max(-changed, min(changed, net))
    fell, rose = (changed - net) / 2, (changed + net) / 2

    def enough(n: int) -> bool:
        return score_bound(n, fell * n, rose * n) >= -max_drop

    low, high = 0, 1
    # Larger samples have tighter bounds: double until one is enough, then halve the range.
    while not enough(high) and high < MOST:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
