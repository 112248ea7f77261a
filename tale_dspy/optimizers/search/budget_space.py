"""What can be asked of one question.

A range of token budgets, or a ladder of effort words.

An Optuna study searches one integer, the *level*. A space says which budget a level is and what is minimised.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Protocol

from tale_dspy.budget import EFFORT_WORDS, BudgetValue
from tale_dspy.errors import UsageError

BudgetKey = int | str
"""A budget as records hold it: tokens, or an effort word such as `low` or `low+50`."""


class BudgetSpace(Protocol):
    """The budgets of one question, in ascending order of what they allow."""

    @property
    def vanilla_tokens(self) -> int:
        """Tokens of the answer without a budget."""
        ...

    @property
    def highest(self) -> int:
        """The highest level; the lowest is 1."""
        ...

    def budget_of(self, level: int) -> BudgetKey:
        """Return the budget of a level."""
        ...

    def level_of(self, budget: BudgetKey) -> int | None:
        """Return the level of a budget; None for one that is not in the space."""
        ...

    def objective(self, tokens: int) -> float:
        """Return what a study minimises, for a reply of so many tokens."""
        ...

    def between(self, level: int) -> int | None:
        """Return a level between this one and no budget at all; None if there is none."""
        ...


@dataclass(frozen=True)
class TokenRange:
    """All budgets from 1 to the tokens of the answer without one.

    The level is the budget (paper, section 4).
    """

    vanilla_tokens: int

    @property
    def highest(self) -> int:
        return self.vanilla_tokens

    def budget_of(self, level: int) -> BudgetKey:
        return level

    def level_of(self, budget: BudgetKey) -> int | None:
        return budget if isinstance(budget, int) and budget <= self.vanilla_tokens else None

    def objective(self, tokens: int) -> float:
        return float(tokens)

    def between(self, level: int) -> int | None:
        """Return the geometric mean of the level and the highest one."""
        middle = round(sqrt(level * self.vanilla_tokens))
        return middle if 0 < level < middle < self.vanilla_tokens else None


@dataclass(frozen=True)
class EffortLadder:
    """Effort words, from the least to the most; the level is the position, from 1.

    A study minimises tokens as a share of those of the answer without a budget, so that questions can be pooled.

    Raises:
        UsageError: If there is no word, or one stands twice.
    """

    words: tuple[str, ...]
    vanilla_tokens: int

    def __post_init__(self) -> None:
        if not self.words or len(set(self.words)) < len(self.words):
            raise UsageError(f"efforts must be different words, at least one, got {', '.join(self.words) or 'none'}")

    @property
    def highest(self) -> int:
        return len(self.words)

    def budget_of(self, level: int) -> BudgetKey:
        return self.words[level - 1]

    def level_of(self, budget: BudgetKey) -> int | None:
        return self.words.index(budget) + 1 if budget in self.words else None

    def objective(self, tokens: int) -> float:
        return tokens / self.vanilla_tokens

    def between(self, level: int) -> int | None:
        """Return the next word."""
        return level + 1 if 0 < level < len(self.words) else None


def check_efforts(efforts: Sequence[str]) -> tuple[str, ...]:
    """Return effort words in their order from the least to the most, with or without a number (`low+50`).

    Raises:
        UsageError: If one is no effort word, or there is none.
    """
    values = [BudgetValue.parse(effort) for effort in efforts]
    for value, effort in zip(values, efforts, strict=True):
        if value.effort is None:
            raise UsageError(f"efforts are words such as low, got {effort!r}")
    ordered = sorted(values, key=lambda v: (EFFORT_WORDS.index(v.effort or "none"), v.tokens is None, v.tokens or 0))
    return tuple(dict.fromkeys(str(value) for value in ordered))
