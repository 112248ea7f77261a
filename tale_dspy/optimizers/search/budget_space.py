"""What can be asked of one question.

It is a range of token budgets, or a ladder of effort words.

An Optuna study searches one integer, the *level*. A space says which budget a level is and what is minimised.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from tale_dspy.budget import EFFORT_WORDS, BudgetValue
from tale_dspy.errors import UsageError

PHRASE_TOKENS = 50
"""Tokens that the phrase beside an effort word names, where nobody says a number: that of the paper's own prompt. The
word sets the thinking; the phrase is about the answer that is written after it, which is short."""

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
        """Return what a study minimises, for a reply of `tokens` tokens."""
        ...

    def between(self, level: int) -> int | None:
        """Return a level between this one and no budget at all, or None."""
        ...

    def is_weaker(self, level: int, failed: int) -> bool:
        """Return whether a level cannot be enough where another was not.

        Each level is as weak as itself.
        """
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
        # Budgets matter by their ratio: sqrt(a b) is as far from a as from b on a logarithmic scale.
        middle = round(math.sqrt(level * self.vanilla_tokens))
        return middle if 0 < level < middle < self.vanilla_tokens else None

    def is_weaker(self, level: int, failed: int) -> bool:
        return level <= failed


@dataclass(frozen=True)
class EffortLadder:
    """Effort words, from the least to the most.

    The level is the position, from 1. A study minimises tokens as a share of those of the answer without a budget, so
    that questions can be pooled.

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
        """Return the next word, with the same number beside it where there is one."""
        if not 0 < level < len(self.words):
            return None
        number = BudgetValue.parse(self.words[level - 1]).tokens
        higher = range(level + 1, len(self.words) + 1)
        return next((n for n in higher if BudgetValue.parse(self.words[n - 1]).tokens == number), level + 1)

    def is_weaker(self, level: int, failed: int) -> bool:
        """Compare by word and by phrase.

        A phrase that fails says nothing of lesser words without one.
        """
        one, other = (BudgetValue.parse(self.words[n - 1]) for n in (level, failed))
        # A partial order: weaker in the word and in the number. A word without a number allows any number of tokens.
        allowed = (math.inf if value.tokens is None else value.tokens for value in (one, other))
        return EFFORT_WORDS.index(one.effort or "none") <= EFFORT_WORDS.index(other.effort or "none") and (
            next(allowed) <= next(allowed)
        )


def check_efforts(efforts: Sequence[str]) -> tuple[str, ...]:
    """Return effort words in their order from the least to the most.

    A word may have a number with it (`low+50`).

    Raises:
        UsageError: If one is no effort word, or there is none.
    """
    values = [BudgetValue.parse(effort) for effort in efforts]
    for value, effort in zip(values, efforts, strict=True):
        if value.effort is None:
            raise UsageError(f"efforts are words such as low, got {effort!r}")
    # By word, then by number; the word alone is the last of its kind, since it allows the most tokens.
    ordered = sorted(values, key=lambda v: (EFFORT_WORDS.index(v.effort or "none"), v.tokens is None, v.tokens or 0))
    return tuple(dict.fromkeys(str(value) for value in ordered))


def with_phrase(words: Sequence[str], tokens: int = PHRASE_TOKENS) -> tuple[str, ...]:
    """Return effort words with and without the phrase, in their order.

    These are the default settings of a model that takes words.
    """
    return check_efforts([*words, *(f"{word}+{tokens}" for word in words)])
