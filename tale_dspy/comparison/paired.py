"""Statistics of two runs on the same questions: paired differences, their bootstrap intervals, and exact tests.

The question is the unit of everything: draws of one question are averaged first. What the figures are, and what may be
concluded from them, is not decided here (`compare`, `claims`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tale_dspy.runs.records import Record
from tale_dspy.statistics import mean_complete

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Draws = Sequence[tuple[Record, Record]]
"""One question's draws as pairs of (baseline, run)."""


@dataclass(frozen=True)
class PairedMeans:
    """One figure of both sides over the same questions (means over draws first), and its paired difference."""

    n: int
    """Questions on which the figure is known on both sides."""
    unknown: int
    """Shared questions left out because a draw on either side lacks the figure."""
    baseline: float | None = None
    run: float | None = None
    difference: float | None = None
    """Mean of run minus baseline."""
    interval: tuple[float, float] | None = None
    """Percentile bootstrap of the difference, resampling questions: 95 % unless another middle was asked for."""
    saving: float | None = None
    """1 - run / baseline, of the means; None where the baseline's mean is not above 0."""
    saving_interval: tuple[float, float] | None = None
    """The same of the saving, from the same resamples."""


def paired_means(
    questions: Sequence[Draws],
    figures: Sequence[Callable[[Record], float | None]],
    *,
    seed: int,
    resamples: int,
    middle: float = 0.95,
) -> list[PairedMeans]:
    """Give means, paired differences and percentile bootstrap intervals of several figures of the same questions.

    The interval of a difference is that of `scipy.stats.bootstrap` (percentile, mean of the paired differences) under
    `numpy.random.default_rng(seed)`. It holds the `middle` share of the resamples: with 0.9 its ends are one-sided
    95 % bounds.
    """
    import numpy as np

    samples = []
    for figure in figures:
        means = [tuple(mean_complete(figure(draw[side]) for draw in draws) for side in (0, 1)) for draws in questions]
        samples.append(np.array([m for m in means if None not in m], dtype=np.float64).reshape(-1, 2).T)
    results = []
    for sample, (before, after) in zip(samples, _resampled_means(samples, seed, resamples), strict=True):
        n = sample.shape[1]
        if n == 0:
            results.append(PairedMeans(n=0, unknown=len(questions)))
            continue
        baseline, run = sample.mean(axis=1).tolist()
        result = PairedMeans(
            n=n,
            unknown=len(questions) - n,
            baseline=baseline,
            run=run,
            difference=run - baseline,
            interval=_middle(after - before, middle),
            saving=1 - run / baseline if baseline > 0 else None,
            saving_interval=_middle(1 - after / before, middle) if before.min() > 0 else None,
        )
        results.append(result)
    return results


def _resampled_means(
    samples: "Sequence[NDArray[np.float64]]", seed: int, resamples: int
) -> "list[NDArray[np.float64]]":
    """Draw the two means of each sample (2 x n) again and again; samples of one size share the drawn questions."""
    import numpy as np

    drawn = [np.empty((2, resamples)) for _ in samples]
    for n in sorted({s.shape[1] for s in samples} - {0}):
        rng, rows = np.random.default_rng(seed), max(1, 2_000_000 // n)  # rows bound the memory, not the result
        for start in range(0, resamples, rows):
            at = rng.integers(0, n, (min(rows, resamples - start), n))
            for sample, means in zip(samples, drawn, strict=True):
                if sample.shape[1] == n:
                    means[:, start : start + rows] = [side.take(at).mean(axis=1) for side in sample]
    return drawn


def _middle(values: "NDArray[np.float64]", share: float) -> tuple[float, float]:
    import numpy as np

    low, high = np.quantile(values, [(1 - share) / 2, (1 + share) / 2]).tolist()
    return low, high
