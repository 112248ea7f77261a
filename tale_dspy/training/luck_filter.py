"""Whether a short reply was right by more than luck.

The evidence is how often replies as short were right elsewhere.
"""

from collections.abc import Sequence

import numpy as np

from tale_dspy.optimizers.search.records import SearchRow

NEAR = 1.15
"""Replies are neighbours if neither they nor the answers without a budget differ in length by more than this factor."""


class NeighborAccuracy:
    """The trials of a whole search, as evidence on each of its replies.

    A search takes the shortest reply that was right, and so prefers luck: among many questions some are guessed. One
    question alone cannot tell a guess from a short way. Its neighbours can: if most replies as short as this one, to
    questions that take as long without a budget, were wrong, then this one was lucky.

    Args:
        rows: What the search found.
    """

    def __init__(self, rows: Sequence[SearchRow]) -> None:
        lines = [
            (row.vanilla.tokens, trial.tokens, trial.correct)
            for row in rows
            if row.vanilla.tokens and row.vanilla.correct
            for trial in row.trials
            if trial.tokens
        ]
        # One row a trial, (trials, 3): ln(vanilla tokens), ln(tokens), right.
        table = np.array(lines, dtype=float).reshape(-1, 3)
        self._vanilla, self._tokens, self._right = np.log(table[:, 0]), np.log(table[:, 1]), table[:, 2]

    def share_right(self, vanilla_tokens: int | None, tokens: int) -> float:
        """Return the share of right ones among the neighbours of a reply.

        It is 1 where there are none.

        Args:
            vanilla_tokens: Completion tokens of its question without a budget; None if they are not known.
            tokens: Completion tokens of the reply.
        """
        if not vanilla_tokens or tokens < 1:
            return 1.0
        # Neighbours differ by a factor of at most `NEAR` in both lengths: a square in logarithms. The reply is one of
        # its own neighbours where it is a trial of the search.
        within = np.log(NEAR) + 1e-9
        near = (abs(self._vanilla - np.log(vanilla_tokens)) <= within) & (abs(self._tokens - np.log(tokens)) <= within)
        return float(self._right[near].mean()) if near.any() else 1.0
