"""Rewards for GRPO that charge for length, as plain TRL reward functions.

Each factory returns a function that TRL's `GRPOTrainer(reward_funcs=...)` takes as it is. It reads the columns `gold`
(the right answer) and, where there is one, `budget` (free tokens of the question); completions of one prompt stand
together, as TRL draws them.

Notation, per completion: r = 1 if the answer is right, else 0; n = its tokens; b = the budget; s = share of right
answers among the completions of the same prompt (the pass rate).
"""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any, Protocol

import dspy

from tale_dspy.adapter import TaleAdapter
from tale_dspy.answers import answers_equal

MAX_PENALTY = 0.9
"""Largest penalty of a right reply, so that it is always worth more than a wrong one of no tokens."""


class RewardFunction(Protocol):
    """What TRL calls: one float for each completion."""

    def __call__(
        self,
        prompts: Sequence[object],
        completions: Sequence[object],
        completion_ids: Sequence[Sequence[int]],
        gold: Sequence[object],
        **columns: object,
    ) -> list[float]: ...


def linear_reward(price: float = 0.005, budget: int | None = None) -> RewardFunction:
    """Return r - min(0.9, price * max(0, n - b)).

    The idea is that of L1/LCPO (arXiv 2503.04697).

    Args:
        price: Reward subtracted for each token over the budget.
        budget: Free tokens of questions whose row brings none; None charges nothing for them.
    """

    def linear(prompts: Any, completions: Any, completion_ids: Any, gold: Any, **columns: Any) -> list[float]:
        right = _are_right(completions, gold)
        over = _tokens_over(completion_ids, columns.get("budget"), budget)
        return [r - min(MAX_PENALTY, price * n) for r, n in zip(right, over, strict=True)]

    return linear


def scaled_reward(price: float = 0.005, budget: int | None = None) -> RewardFunction:
    """Return r * (1 - min(0.9, s * price * max(0, n - b))).

    Only right replies have a reward, and the charge is highest where all are right. It is the length penalty of
    prime-rl: gated by correctness and multiplied by the pass rate, so that hard questions keep their long replies.

    Args:
        price: As in `linear_reward`.
        budget: As in `linear_reward`.
    """

    def scaled(prompts: Any, completions: Any, completion_ids: Any, gold: Any, **columns: Any) -> list[float]:
        right = _are_right(completions, gold)
        over = _tokens_over(completion_ids, columns.get("budget"), budget)
        rates = _pass_rates(prompts, gold, right)
        return [r * (1 - min(MAX_PENALTY, s * price * n)) for r, s, n in zip(right, rates, over, strict=True)]

    return scaled


def cosine_reward(max_tokens: int = 1024) -> RewardFunction:
    """Return a cosine of the reply's tokens.

    It goes from 1 (no tokens) to 0.5 (`max_tokens`) for right replies, and from -1 to -0.5 for wrong ones. A wrong
    reply that was short is punished most (arXiv 2502.03373, section 4; TRL's `get_cosine_scaled_reward`).

    Args:
        max_tokens: Tokens at which the cosine ends; longer replies count as that long.
    """

    def cosine(prompts: Any, completions: Any, completion_ids: Any, gold: Any, **columns: Any) -> list[float]:
        rewards = []
        for r, ids in zip(_are_right(completions, gold), completion_ids, strict=True):
            # Half a cosine from `start` at 0 tokens to `end` at `max_tokens`: end + (start - end) (1 + cos(pi n / max))
            # / 2.
            start, end = (1.0, 0.5) if r else (-1.0, -0.5)
            phase = math.pi * min(len(ids), max_tokens) / max_tokens
            rewards.append(end + 0.5 * (start - end) * (1 + math.cos(phase)))
        return rewards

    return cosine


def alp_reward(price: float = 0.005) -> RewardFunction:
    """Return r - min(0.9, price * n * max(s, 1/k)).

    A prompt has k completions. This is ALP (arXiv 2506.05256, eq. 2).

    Every reply pays for its tokens, in proportion to how often its question is solved.

    Args:
        price: Reward subtracted for each token of a question that is always solved.
    """

    def alp(prompts: Any, completions: Any, completion_ids: Any, gold: Any, **columns: Any) -> list[float]:
        right = _are_right(completions, gold)
        # max(s, 1/k): a question that no reply solved is charged as if one of its k replies had.
        rates, sizes = _pass_rates(prompts, gold, right), _group_sizes(prompts, gold)
        penalties = (price * len(ids) * max(s, 1 / k) for ids, s, k in zip(completion_ids, rates, sizes, strict=True))
        return [r - min(MAX_PENALTY, penalty) for r, penalty in zip(right, penalties, strict=True)]

    return alp


def make_reward(name: str, price: float, budget: int | None, max_tokens: int) -> RewardFunction:
    """Return the reward of a name in `REWARDS`."""
    return REWARDS[name](price, budget, max_tokens)


REWARDS: dict[str, Callable[[float, int | None, int], RewardFunction]] = {
    "linear": lambda price, budget, max_tokens: linear_reward(price, budget),
    "scaled": lambda price, budget, max_tokens: scaled_reward(price, budget),
    "cosine": lambda price, budget, max_tokens: cosine_reward(max_tokens),
    "alp": lambda price, budget, max_tokens: alp_reward(price),
}
"""Name -> factory from a price, a default budget and the largest number of new tokens."""


def _tokens_over(completion_ids: Sequence[Any], budgets: Sequence[int | None] | None, default: int | None) -> list[int]:
    """Return the tokens of each completion over its budget."""
    limits = [default if b is None else b for b in budgets or [None] * len(completion_ids)]
    return [0 if b is None else max(0, len(ids) - b) for ids, b in zip(completion_ids, limits, strict=True)]


def _prompt_groups(prompts: Sequence[object], gold: Sequence[object]) -> Iterator[list[int]]:
    """Yield the indices of the completions of each prompt, which stand together."""
    keys = [repr((prompt, answer)) for prompt, answer in zip(prompts, gold, strict=True)]
    for _, group in groupby(range(len(keys)), keys.__getitem__):
        yield list(group)


def _pass_rates(prompts: Sequence[object], gold: Sequence[object], right: Sequence[float]) -> list[float]:
    groups = list(_prompt_groups(prompts, gold))
    return [sum(right[i] for i in group) / len(group) for group in groups for _ in group]


def _group_sizes(prompts: Sequence[object], gold: Sequence[object]) -> list[int]:
    return [len(group) for group in _prompt_groups(prompts, gold) for _ in group]


def _are_right(completions: Sequence[Any], gold: Sequence[Any]) -> list[float]:
    texts = (c if isinstance(c, str) else c[-1]["content"] for c in completions)
    return [float(_is_right(text, answer)) for text, answer in zip(texts, gold, strict=True)]


def _is_right(text: str, gold: object) -> bool:
    """Read an answer as TaleAdapter does.

    It reads the forms of ChatAdapter as well.
    """
    value = TaleAdapter().parse(_ANSWER, text).get("answer")
    return value is not None and answers_equal(value, gold)


_make: Any = dspy.Signature
_ANSWER = _make("question -> reasoning, answer")
