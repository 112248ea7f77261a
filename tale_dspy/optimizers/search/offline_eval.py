"""What a budget would give on a searched question, judged by its trials.

Lets estimators be compared without another call. It guesses between the trials; what is published is measured on fresh
draws.
"""

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tale_dspy.errors import UsageError
from tale_dspy.optimizers.search.records import SearchRow, Trial
from tale_dspy.protocols import CallArguments

_STEP = 0.05
_STEPS = 120  # down to a 400th of the answer without a budget
_ROUNDS = 12
_SMOOTHING = 1.0  # questions' worth of the first guess
_CAUTION = 0.1  # a step: where nothing was tried, the least budget is thought to lie not far below
_NEAR = 0.05  # logarithm of a ratio: trials of other questions this far off are taken for the same
_OWN = 0.07  # likewise: beyond this, a question's own trials say less of a budget than those of others
_DOUBT = 2.0  # trials of others that count as much as a line between one's own


@dataclass(frozen=True)
class ExpectedOutcome:
    """What is expected of one budget on one question."""

    tokens: float
    """Completion tokens used."""
    right: float
    """Share of right answers, from 0 to 1."""


def inputs_of(row: SearchRow) -> CallArguments:
    """Return the inputs of a row; most have a question and nothing else."""
    return {"question": row.question} if row.inputs is None else dict(row.inputs)


def check_rows(rows: Sequence[SearchRow]) -> None:
    """Refuse rows of several predictors.

    Their budgets have nothing to do with each other.

    Raises:
        UsageError: If they are of more than one predictor.
    """
    names = sorted({row.predictor for row in rows})
    if len(names) > 1:
        raise UsageError(f"the rows must be of one predictor, got those of {', '.join(names)}: choose by row.predictor")


def by_budget(trials: Iterable[Trial]) -> dict[int, ExpectedOutcome]:
    """Return the mean outcome of each token budget tried, ascending.

    Trials of unknown tokens are left out.
    """
    draws: dict[int, list[Trial]] = {}
    for trial in trials:
        if trial.tokens is not None and isinstance(trial.budget, int):
            draws.setdefault(trial.budget, []).append(trial)
    return {
        budget: ExpectedOutcome(sum(t.tokens or 0 for t in same) / len(same), sum(t.correct for t in same) / len(same))
        for budget, same in sorted(draws.items())
    }


class TrialReplay:
    """What any budget would have come to on each question of a search.

    Tokens are those of the budgets tried on the question. Between these they are what other questions came to at the
    same budget, both as multiples of the least tokens found: so it is learned from all questions together where replies
    follow their budget, where they keep to one length, and where they jump to a longer one. Where others were not asked
    either, tokens are interpolated.

    Whether the answer would have been right is believed: each question needs some least budget, below which its answers
    are wrong (90.91 % of the paper's questions are monotonic, section 4), but a reply may be wrong or right by chance.
    How often, and how the least budgets are spread relative to the answers without a budget, is learned from all
    questions together by expectation and maximisation. So one unlucky draw does not make a budget useless, nor a lucky
    one make it good.

    Args:
        rows: The search. Questions that were wrong without a budget, or whose tokens are unknown, were not searched
            and are left out.

    `id in hindsight` tells whether budgets can be judged on a question.

    Attributes:
        slips: Estimated share of answers that chance turned.
    """

    def __init__(self, rows: Iterable[SearchRow]) -> None:
        searched = [row for row in rows if row.vanilla.correct and row.vanilla.tokens]
        self._place = {row.id: n for n, row in enumerate(searched)}
        self._longest = {row.id: row.vanilla.tokens or 0 for row in searched}
        self._tokens = {row.id: _token_curve(row) for row in searched}
        self._least = {row.id: row.best.tokens if row.best and row.best.tokens > 0 else 0.0 for row in searched}
        self._pool = _pool([(self._tokens[key], least) for key, least in self._least.items() if least])
        self._needed, self.slips = _sufficiency_beliefs([_draw_depths(row) for row in searched])

    def __contains__(self, key: str) -> bool:
        return key in self._place

    def expected(self, key: str, budget: float) -> ExpectedOutcome:
        """Return the expected outcome of a budget.

        It is relative to an answer without a budget, which was right.

        Args:
            key: Id of the question.
            budget: In tokens, above 0.
        """
        longest = self._longest[key]
        # Steps down from the answer without a budget: ln(longest / budget) / _STEP. The belief was learned for whole
        # steps; rounding up judges a budget between two of them as the smaller one.
        steps = math.ceil(-math.log(min(budget / longest, 1.0)) / _STEP - 1e-9)
        right = self._needed[self._place[key]][steps] if steps < _STEPS else 0.0
        return ExpectedOutcome(self._tokens_at(key, min(budget, longest)), float(right))

    def _tokens_at(self, key: str, budget: float) -> float:
        curve, least = self._tokens[key], self._least[key]
        tokens = _interpolate_tokens(curve, budget)
        # Distance to the nearest budget that was really asked, as a ratio in logarithms; at 0 its own tokens hold.
        off = min(abs(math.log(budget / tried)) for tried in curve)
        if not least or off < 1e-9:
            return tokens
        weight, share = _of_others(self._pool, math.log(budget / least))
        # Others are trusted the more, the more of them were near (`weight`, with `_DOUBT` pseudo-trials against) and
        # the further the question's own trials are away: 1 - exp(-off / _OWN).
        trust = weight / (weight + _DOUBT) * -math.expm1(-off / _OWN)
        return tokens + trust * (share * least - tokens)


def _token_curve(row: SearchRow) -> dict[int, float]:
    """Return the mean tokens of each budget tried.

    The answer without a budget counts as one at its own length.
    """
    longest = row.vanilla.tokens or 1
    # A reply follows a budget of its own length no further: nothing larger is worth more.
    tried = {b: o.tokens for b, o in by_budget(row.trials).items() if 0 < b < longest}
    return {**tried, longest: float(longest)}


def _interpolate_tokens(curve: Mapping[int, float], budget: float) -> float:
    """Read a curve off, linear in the logarithm of the budget.

    Above its end it is flat; below its beginning replies grow towards those without a budget (token elasticity).
    """
    budgets = list(curve)
    at = bisect_right(budgets, budget)
    if at == len(budgets):
        return curve[budgets[-1]]
    high = budgets[at]
    if at == 0:
        return curve[budgets[-1]] + budget / high * (curve[high] - curve[budgets[-1]])
    low = budgets[at - 1]
    return curve[low] + math.log(budget / low) / math.log(high / low) * (curve[high] - curve[low])


def _pool(curves: Sequence[tuple[Mapping[int, float], float]]) -> tuple[Any, Any]:
    """Return the logarithms of each budget tried and of its tokens.

    Both are relative to the least tokens of the question.
    """
    import numpy as np

    pairs = [(math.log(b / least), tokens / least) for curve, least in curves for b, tokens in curve.items()]
    budgets, shares = np.array(sorted(pairs)).reshape(-1, 2).T
    return budgets, shares


def _of_others(pool: tuple[Any, Any], at: float) -> tuple[float, float]:
    """Return how many trials there were near a budget, and their mean tokens.

    Both are relative, as in `_pool`.
    """
    import numpy as np

    budgets, shares = pool
    # Gaussian kernel of width `_NEAR`: beyond four widths its weight is below 0.0004. Budgets are sorted, so that
    # what is near is a slice.
    near = slice(*np.searchsorted(budgets, [at - 4 * _NEAR, at + 4 * _NEAR]))
    weights = np.exp(-0.5 * ((budgets[near] - at) / _NEAR) ** 2)
    total = float(weights.sum())
    return total, float(weights @ shares[near]) / total if total else 0.0


def _draw_depths(row: SearchRow) -> list[tuple[float, bool]]:
    """Return each draw's budget and whether it was right.

    The budget is given in `_STEP`s below the answer without one.
    """
    draws = [(t.budget, t.correct) for t in row.trials if isinstance(t.budget, int)]
    if row.best is not None and isinstance(row.best.budget, int):
        draws += [(row.best.budget, n < row.best.confirmed.right) for n in range(row.best.confirmed.n)]
    longest = row.vanilla.tokens or 1
    return [(math.log(longest / budget) / _STEP, right) for budget, right in draws if 0 < budget < longest]


def _sufficiency_beliefs(draws: Sequence[Sequence[tuple[float, bool]]]) -> tuple[Any, float]:
    """Return the belief that each budget is enough, and the rate of slips.

    The beliefs have a row for each question and a column for each budget `n` steps down.
    """
    import numpy as np

    # Rows are questions, columns least budgets, 0 steps down first; the last: none is needed at all.
    down = np.arange(_STEPS)
    against = np.zeros((len(draws), _STEPS))
    for row, question in zip(against, draws, strict=True):
        for depth, right in question:
            # A least budget `down` steps down makes draws at depth <= down right and deeper ones wrong: count the
            # draws that contradict it.
            row += (depth <= down + 1e-9) != right
    count = np.array([float(len(question)) for question in draws])[:, None]
    # Before anything was seen, a question is taken to need a budget not far below its answer without one.
    guess = np.exp(-_CAUTION * down)
    guess /= guess.sum()
    prior, slips = guess, 0.05
    belief = np.tile(guess, (len(draws), 1))
    for _ in range(_ROUNDS if len(draws) else 0):
        # E step: ln P(least budget | draws) = ln prior + contradictions ln(slips) + agreements ln(1 - slips) +
        # constant.
        log = np.log(prior) + against * math.log(slips) + (count - against) * math.log(1 - slips)
        belief = np.exp(log - log.max(axis=1, keepdims=True))
        belief /= belief.sum(axis=1, keepdims=True)
        # M step: expected questions at each least budget, with `_SMOOTHING` pseudo-questions spread like the first
        # guess.
        prior = (belief.sum(axis=0) + _SMOOTHING * guess) / (len(draws) + _SMOOTHING)
        slips = (float((belief * against).sum()) + 0.1) / (float(count.sum()) + 10)
    # A budget n steps down is enough where the least one lies as far down or further.
    return belief[:, ::-1].cumsum(axis=1)[:, ::-1], slips
