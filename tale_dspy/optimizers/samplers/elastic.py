"""Our own search: believe where a question's edge lies, ask where that saves most, learn from question to question."""

import json
import math
import threading
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from tale_dspy.errors import UsageError
from tale_dspy.optimizers.samplers.acquisition import Acquisition, outlook
from tale_dspy.optimizers.samplers.base import BudgetSampler, History, Observation
from tale_dspy.optimizers.samplers.elasticity_model import ElasticityModel
from tale_dspy.optimizers.samplers.fit_elasticity import fit
from tale_dspy.optimizers.samplers.trust import SavingsCalibration

FORMAT = 1
REMEMBERED = 2000
"""Outlooks that are remembered until their question is learned from."""
LAST = 300
"""Questions that a law is fitted to: the last ones, and as many at most that are still being searched."""
FIRST_FIT = 6
"""Trials before the first law is fitted; half as many again as at the last time are waited for after that."""


class ElasticSampler(BudgetSampler):
    """Search by what this question has shown and what the questions before it have taught.

    It assumes of a model no more than the paper does: replies follow their budget down to some edge and grow again
    below it, and below some need the answer is wrong. Where edge and need may lie is believed from the trials of the
    question; how replies follow and grow, where edges lie relative to the answer without a budget (answers about as
    long say most), and how far chance moves all this is learned from the questions searched before. Each call goes
    where it is expected to save the most together with the one after it, and the search ends when a call is no longer
    worth its price, going by what such calls were worth before.

    One sampler serves all questions of a search; tell it of each finished one (`learn`). From those that are still
    being searched it learns as well (`watch`), so that many at once need not all begin in the dark. What it learned of
    the finished ones is saved as JSON. Deterministic: what is told in the same order leads to the same budgets.

    Args:
        price: What a call must be expected to save, as a share of the tokens of the best right answer so far. Smaller
            finds shorter answers with more calls.
        max_calls: Most trials of a question.

    Raises:
        UsageError: If price is not a share above 0 and below 1, or max_calls not at least 1.

    Example:
        >>> sampler = ElasticSampler()
        >>> sampler.learn(History(200, (Observation(40, 38.0, True), Observation(25, 70.0, False))))
        >>> sampler.propose(History(vanilla_tokens=300)) < 300
        True
    """

    def __init__(self, price: float = 0.025, max_calls: int = 10) -> None:
        if not 0 < price < 1:
            raise UsageError(f"price must be a share above 0 and below 1, got {price}")
        if max_calls < 1:
            raise UsageError(f"max_calls must be at least 1, got {max_calls}")
        self.price, self.max_calls = price, max_calls
        self._lock = threading.RLock()
        self._learned: list[History] = []
        self._open: Counter[History] = Counter()
        self._law, self._trials, self._due = ElasticityModel(), 0, FIRST_FIT
        self._trust = SavingsCalibration()
        self._looked: dict[History, Acquisition | None] = {}
        self._promised: dict[History, float | None] = {}  # outlives the law that it was promised under

    def propose(self, history: History) -> int:
        """Return the budget whose call, with the best one after it, is expected to save most."""
        found = self._look(history)
        if found is not None:
            return found.budget
        return history.best.budget if history.best else history.vanilla_tokens

    def enough(self, history: History) -> bool:
        """Tell whether no call is expected to be worth its price."""
        if not history.seen:
            return False
        if len(history.seen) >= self.max_calls:
            return True
        with self._lock:
            found = self._look(history)
            return found is None or self._trust.expected(found.promise) < self.price

    def watch(self, history: History) -> None:
        """Learn from a question that is still being searched."""
        known = _plain(history)
        with self._lock:
            one_less = [known.seen[:i] + known.seen[i + 1 :] for i in reversed(range(len(known.seen)))]
            watched = self._close([History(known.vanilla_tokens, seen) for seen in one_less])
            self._open[known] += 1
            if len(self._open) > LAST:  # searches that were given up
                del self._open[next(iter(self._open))]
            self._count(len(known.seen) - watched)

    def learn(self, history: History) -> None:
        """Take note of a question whose search is over; one without any trial teaches nothing."""
        if not history.seen:
            return
        known = _plain(history)
        with self._lock:
            stages = [History(known.vanilla_tokens, known.seen[:n]) for n in range(len(known.seen))]
            self._trust.note(known, [self._promise(stage) for stage in stages])
            watched = self._close([known, *reversed(stages)])
            self._learned.append(known)
            for stage in (*stages, known):  # nobody asks again
                self._looked.pop(stage, None)
            self._count(len(known.seen) - watched)

    def save(self, path: str | Path) -> None:
        """Write all that was learned from finished questions to a JSON file."""
        with self._lock:
            questions = [
                {
                    "vanilla_tokens": q.vanilla_tokens,
                    "trials": [[o.budget, o.tokens if math.isfinite(o.tokens) else None, o.right] for o in q.seen],
                }
                for q in self._learned
            ]
        state = {"format": FORMAT, "price": self.price, "max_calls": self.max_calls, "questions": questions}
        Path(path).write_text(json.dumps(state), encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> "ElasticSampler":
        """Return the sampler that was saved: it goes on as if it had never been away.

        Raises:
            UsageError: If the file is none that `save` wrote.
        """
        try:
            state = json.loads(Path(path).read_text(encoding="utf-8"))
            if state["format"] != FORMAT:
                raise UsageError(f"{path} has the format {state['format']}; this version reads {FORMAT}")
            sampler = cls(state["price"], state["max_calls"])
            for question in state["questions"]:
                sampler.learn(History(question["vanilla_tokens"], tuple(map(_observation, question["trials"]))))
        except (OSError, ValueError, KeyError, TypeError, IndexError) as e:
            if isinstance(e, UsageError):
                raise
            raise UsageError(f"{path} holds no saved ElasticSampler: {type(e).__name__}: {e}") from e
        return sampler

    def _look(self, history: History) -> Acquisition | None:
        """Return the outlook on a question, from memory where `enough` has just asked for it."""
        with self._lock:
            if history not in self._looked:
                for kept in (self._looked, self._promised):
                    if len(kept) > REMEMBERED:
                        kept.clear()
                found = self._looked[history] = outlook(self._law, history)
                self._promised[history] = None if found is None else found.promise
            return self._looked[history]

    def _close(self, stages: Sequence[History]) -> int:
        """Watch the first of these stages that is watched no longer; return how many trials it had."""
        for stage in stages:
            if stage in self._open:
                self._open[stage] -= 1
                if not self._open[stage]:
                    del self._open[stage]
                return len(stage.seen)
        return 0

    def _count(self, trials: int) -> None:
        """Count trials, and fit the law anew when enough have come."""
        self._trials += trials
        if self._trials >= self._due:
            self._law = fit([*self._learned[-LAST:], *islice(self._open.elements(), LAST)], self._law)
            self._due = max(self._trials + FIRST_FIT, self._trials * 3 // 2)
            self._looked.clear()

    def _promise(self, history: History) -> float | None:
        """Return what was promised when the question stood so; it is thought over again only where nobody asked."""
        if history in self._promised:
            return self._promised.pop(history)
        found = self._look(history)
        self._promised.pop(history, None)
        return None if found is None else found.promise


def _plain(history: History) -> History:
    """Return what can be learned from a history: nothing of what is being asked now."""
    return History(history.vanilla_tokens, history.seen)


def _observation(row: Sequence[Any]) -> Observation:
    budget, tokens, right = row
    return Observation(int(budget), math.inf if tokens is None else float(tokens), bool(right))
