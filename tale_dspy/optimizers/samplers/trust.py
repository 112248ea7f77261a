"""What the savings that `ElasticSampler` expects have turned out to be worth.

Its picture of a model is coarse. Where a model answers in a few fixed lengths, say, the small savings that the picture
promises around the best budget never come. So what was promised and what came of it is kept account of, apart for
small and large promises, and later promises are discounted accordingly.
"""

from collections.abc import Sequence

from tale_dspy.optimizers.samplers.base import History

GRADES = (0.06, 0.12, 0.25)
"""Promises are kept account of below, between and above these, as shares of the best right answer's tokens."""
FADING = 0.97
"""What an account is worth one question later, so that the sampler can change its mind."""
BEFORE = 0.15
"""Promises thought to have been kept before the first question: few, so that calls in vain are soon given up."""


class SavingsCalibration:
    """Accounts of promised and kept savings. Not thread-safe."""

    def __init__(self) -> None:
        self._promised = [0.0] * (len(GRADES) + 1)
        self._kept = [0.0] * (len(GRADES) + 1)

    def expected(self, promise: float) -> float:
        """Return what a promise is worth, going by earlier ones of its size."""
        grade = _grade(promise)
        return promise * (self._kept[grade] + BEFORE) / (self._promised[grade] + BEFORE)

    def note(self, history: History, promises: Sequence[float | None]) -> None:
        """Enter what came of a question.

        Args:
            history: The question; its search is over.
            promises: What was promised before each of its trials; None where nothing was.
        """
        self._promised = [FADING * p for p in self._promised]
        self._kept = [FADING * k for k in self._kept]
        best = [History(history.vanilla_tokens, history.seen[:n]).best_tokens for n in range(len(history.seen) + 1)]
        for number, promise in enumerate(promises):
            if promise is None or best[number] <= 0:
                continue
            one = 1 - best[number + 1] / best[number]
            two = 1 - best[min(number + 2, len(promises))] / best[number]
            grade = _grade(promise)
            self._promised[grade] += promise
            # A promise is that of a call, or half of that of two: what is kept is counted in the same way.
            self._kept[grade] += min(1.0, max(one, two / 2))


def _grade(promise: float) -> int:
    return sum(promise >= least for least in GRADES)
