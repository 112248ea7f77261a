"""The draws that two runs share, aligned, and their paired means.

The means have bootstrap intervals.

The question is the unit of everything: draws of one question are averaged first. What the figures are, and what may be
concluded from them, is not decided here (`compare`, `caveats`). All of it works on columns, so that a million questions
take seconds and some hundred megabytes.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from tale_dspy.errors import UsageError
from tale_dspy.runs.columns import RunColumns
from tale_dspy.runs.records import Run

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Indices = NDArray[np.int64]

LARGE = 10_000
"""Questions from which on resamples are drawn by counts, or from their limit."""
MOST_VALUES = 1_000
"""Different pairs of values of which a resample is drawn as their counts."""


@dataclass(frozen=True)
class PairedMeans:
    """One figure of both sides, and their paired difference, over questions.

    Each value is a mean over draws first.
    """

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


@dataclass(frozen=True)
class PairedRuns:
    """The draws that both runs hold.

    Entry i of `before` and `after` is the same draw of the same question. Questions are numbered by their ids, and
    their draws stand together, by their number: in whatever order answers came, of whatever shards, figures are the
    same.
    """

    baseline: Run
    run: Run
    before: RunColumns
    after: RunColumns
    question: "Indices"
    """The number of the question of each draw."""

    @property
    def draws(self) -> int:
        return len(self.question)

    @cached_property
    def n(self) -> int:
        """Shared questions."""
        return int(self.question[-1]) + 1 if len(self.question) else 0

    @property
    def is_single(self) -> bool:
        """Whether every question has one draw."""
        return self.n == self.draws

    def of_questions(self, ids: Collection[str]) -> "PairedRuns":
        """Return the draws of these questions only."""
        import numpy as np

        # Ids are fixed-width bytes in the columns; an empty list needs one entry to have a width.
        wanted = np.array([key.encode() for key in ids] or [b""])
        places = np.flatnonzero(np.isin(self.before.ids, wanted))
        _, numbers = np.unique(self.question[places], return_inverse=True)
        before, after = self.before.take(places), self.after.take(places)
        return PairedRuns(self.baseline, self.run, before, after, numbers)

    def question_means(self, values: "Floats") -> "Floats":
        """Return the mean over the draws of each question.

        It is not finite where a draw's value is unknown.
        """
        import numpy as np

        if self.is_single:
            return values
        counts = np.bincount(self.question, minlength=self.n)
        means: Floats = np.bincount(self.question, weights=values, minlength=self.n) / counts
        return means

    @cached_property
    def gains(self) -> "Floats":
        """Return the gain in right draws of each question.

        It is the share of right draws of the run minus that of the baseline.
        """
        import numpy as np

        change = self.after.is_correct.astype(np.int64) - self.before.is_correct.astype(np.int64)
        if self.is_single:
            return change.astype(np.float64)
        counts = np.bincount(self.question, minlength=self.n)
        right = [self._right_draws(side) / counts for side in (self.before, self.after)]
        gains: Floats = right[1] - right[0]
        return gains

    @cached_property
    def more_right(self) -> "Indices":
        """Right draws of the run minus those of the baseline, for each question."""
        import numpy as np

        return np.rint(self._right_draws(self.after) - self._right_draws(self.before)).astype(np.int64)

    def _right_draws(self, side: RunColumns) -> "Floats":
        import numpy as np

        right: Floats = np.bincount(self.question, weights=side.is_correct, minlength=self.n).astype(np.float64)
        return right


def pair_runs(baseline: Run, run: Run) -> PairedRuns:
    """Align the draws that both runs hold.

    Of a record that occurs twice the last counts.

    Raises:
        UsageError: If they share no question.
    """
    import numpy as np

    keys, last = _distinct_keys(baseline.columns.keys())
    other_keys, other_last = _distinct_keys(run.columns.keys())
    # numpy pads fixed-width bytes with zeros: at one width equal keys compare equal.
    width = max(keys.dtype.itemsize, other_keys.dtype.itemsize)
    _, mine, others = np.intersect1d(
        keys.astype(f"S{width}"), other_keys.astype(f"S{width}"), assume_unique=True, return_indices=True
    )
    if not len(mine):
        raise UsageError(f"{no_question_shared(baseline, run)}; compare runs on the same data")
    ids = baseline.columns.ids[last[mine]]
    _, numbers = np.unique(ids, return_inverse=True)
    # lexsort sorts by its last key first: by question, then by draw.
    order = np.lexsort((baseline.columns.repeat[last[mine]], numbers))
    return PairedRuns(
        baseline,
        run,
        baseline.columns.take(last[mine][order]),
        run.columns.take(other_last[others][order]),
        numbers[order],
    )


def share_questions(one: Run, other: Run) -> bool:
    """Return whether two runs have a question in common."""
    import numpy as np

    return bool(len(np.intersect1d(one.columns.question_ids(), other.columns.question_ids(), assume_unique=True)))


def _distinct_keys(keys: "NDArray[np.bytes_]") -> "tuple[NDArray[np.bytes_], Indices]":
    """Return the keys once each, with the last place of each."""
    import numpy as np

    distinct, first = np.unique(keys, return_index=True)
    if len(distinct) == len(keys):
        return distinct, first
    # `np.unique` gives first places alone: those of the reversed keys are the last ones.
    _, from_behind = np.unique(keys[::-1], return_index=True)
    return distinct, len(keys) - 1 - from_behind


def no_question_shared(baseline: Run, run: Run) -> str:
    """Say that two runs have no question in common, with the data of each."""
    sides = []
    for side in (baseline, run):
        config = side.info.get("config")
        data = config.get("data") if isinstance(config, dict) else None
        name = data.get("name") if isinstance(data, dict) else data
        sides.append(f"{side.name} on {name or 'unnamed data'} ({len(side.columns.question_ids())} questions)")
    return f"the runs share no question: {sides[0]} and {sides[1]}"


Figure = Callable[[RunColumns], "Floats"]


def paired_means(
    pairs: PairedRuns,
    figures: Sequence[Figure],
    *,
    seed: int,
    resamples: int,
    middle: float = 0.95,
) -> list[PairedMeans]:
    """Return means and paired differences of several figures.

    All are taken over the same questions.

    Intervals are percentile bootstrap intervals. The interval of a difference is that of `scipy.stats.bootstrap`
    (percentile, mean of the paired differences) under `numpy.random.default_rng(seed)`. It holds the `middle` share of
    the resamples: with 0.9 its ends are one-sided 95 % bounds. From `LARGE` questions on a resample is drawn by counts:
    how often each pair of values occurs in it is multinomial; with more than `MOST_VALUES` different pairs its two
    means are drawn from their normal limit, whose error (skewness / 6 / sqrt(n) of a standard error) is then below that
    of the number of resamples.

    Args:
        pairs: The shared draws.
        figures: Each gives a column of either side; what is not finite is unknown.
        seed: Of the bootstrap; each figure starts from it anew.
        resamples: How many.
        middle: Share of them in the interval.
    """
    import numpy as np

    samples = []
    for figure in figures:
        means = np.stack([pairs.question_means(figure(side)) for side in (pairs.before, pairs.after)])
        # (2, n): a question is left out where either side is unknown, so that both means are over the same questions.
        samples.append(means[:, np.isfinite(means).all(axis=0)])
    results = []
    for sample, (before, after) in zip(samples, _resampled_means(samples, seed, resamples), strict=True):
        n = sample.shape[1]
        if n == 0:
            results.append(PairedMeans(n=0, unknown=pairs.n))
            continue
        baseline, run = sample.mean(axis=1).tolist()
        result = PairedMeans(
            n=n,
            unknown=pairs.n - n,
            baseline=baseline,
            run=run,
            difference=run - baseline,
            interval=_percentile_interval(after - before, middle),
            saving=1 - run / baseline if baseline > 0 else None,
            saving_interval=_percentile_interval(1 - after / before, middle) if before.min() > 0 else None,
        )
        results.append(result)
    return results


def _resampled_means(samples: "Sequence[Floats]", seed: int, resamples: int) -> "list[Floats]":
    """Draw the two means of each sample (2 x n) again and again.

    Small samples of one size share the resampled questions.
    """
    import numpy as np

    drawn = [_limit_means(s, seed, resamples) if s.shape[1] >= LARGE else np.empty((2, resamples)) for s in samples]
    for n in sorted({s.shape[1] for s in samples if 0 < s.shape[1] < LARGE}):
        rng, rows = np.random.default_rng(seed), max(1, 2_000_000 // n)  # rows bound the memory, not the result
        for start in range(0, resamples, rows):
            at = rng.integers(0, n, (min(rows, resamples - start), n))
            for sample, means in zip(samples, drawn, strict=True):
                if sample.shape[1] == n:
                    means[:, start : start + rows] = [side.take(at).mean(axis=1) for side in sample]
    return drawn


def _limit_means(sample: "Floats", seed: int, resamples: int) -> "Floats":
    """Draw the two means of a large sample.

    They are drawn by the counts of its values, or from their normal limit.
    """
    import numpy as np

    rng, n = np.random.default_rng(seed), sample.shape[1]
    pairs, counts = np.unique(sample[0] + 1j * sample[1], return_counts=True)  # one complex number a pair
    if len(pairs) > MOST_VALUES:
        # Central limit theorem for the pair of means: N(mean, covariance / n); `svd` takes a singular covariance,
        # too.
        means: Floats = rng.multivariate_normal(sample.mean(axis=1), np.cov(sample) / n, resamples, method="svd").T
        return means
    # (resamples, values): how often each pair of values occurs in a bootstrap sample of n is multinomial.
    shares = rng.multinomial(n, counts / n, resamples) / n
    return np.stack([shares @ np.real(pairs), shares @ np.imag(pairs)])


def _percentile_interval(values: "Floats", share: float) -> tuple[float, float]:
    import numpy as np

    low, high = np.quantile(values, [(1 - share) / 2, (1 + share) / 2]).tolist()
    return low, high
