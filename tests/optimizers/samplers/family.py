"""Made-up questions of one model: their edges and needs differ, their manner does not."""

import math
import random
from collections.abc import Callable

from tale_dspy.optimizers.samplers import BudgetSampler, Observation, QuestionHistory

Answer = Callable[[int], tuple[float, bool]]


class Made:
    """One question: above its edge replies use nine tenths of the budget; below, they grow with the square root."""

    def __init__(self, seed: int) -> None:
        chance = random.Random(seed)
        self.changepoint = chance.randint(25, 110)
        self.vanilla = round(self.changepoint * chance.uniform(2.0, 6.0))
        self.required_budget = round(self.changepoint * chance.uniform(0.3, 0.95))

    def __call__(self, budget: int) -> tuple[float, bool]:
        below = max(0.0, 1 - budget / self.changepoint)
        tokens = (
            0.9 * budget if not below else self.changepoint + 0.6 * (self.vanilla - self.changepoint) * math.sqrt(below)
        )
        return float(round(tokens)), budget >= self.required_budget

    @property
    def least(self) -> float:
        """Tokens of the shortest right answer."""
        return min(tokens for tokens, right in map(self, range(1, self.vanilla)) if right)


def history_after(question: Answer, vanilla: int, *budgets: int) -> QuestionHistory:
    return QuestionHistory(vanilla, tuple(Observation(b, *question(b)) for b in budgets))


def search(sampler: BudgetSampler, question: Made, calls: int = 20) -> QuestionHistory:
    """Search one question without Optuna, and learn from it."""
    history = QuestionHistory(question.vanilla)
    while len(history.trials) < calls and not sampler.should_stop(history):
        budgets = [o.budget for o in history.trials]
        history = history_after(question, question.vanilla, *budgets, sampler.propose(history))
    sampler.finish_question(history)
    return history
