"""Find which first tokens prompts share, to compute keys and values once."""

import bisect
from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence

from tale_dspy.backends.local.kv_cache import SharedPrefix

MIN_TOKENS = 16
"""Tokens from which on a common beginning is worth an entry."""
MAX_PREFIXES = 8
"""Entries that are held, those used last: forms of prompts that take turns in a run."""
RECENT_PROMPTS = 16
"""Prompts that a new one is compared with, beside those that enter with it."""


class PrefixStore:
    """The most recently used shared beginnings of the prompts of one model.

    The keys and values of a token depend on the tokens before it alone (causal attention), so those of a beginning are
    the same in every prompt that has it.
    """

    def __init__(self) -> None:
        self._prefixes: OrderedDict[tuple[int, ...], SharedPrefix] = OrderedDict()
        self._recent: deque[list[int]] = deque(maxlen=RECENT_PROMPTS)

    def find(self, ids: list[int]) -> SharedPrefix | None:
        """Return the longest entry a prompt begins with, or None.

        The prompt has at least one more token, because a step needs a token to read.
        """
        fitting = (p for p in self._prefixes.values() if len(p.ids) < len(ids) and tuple(ids[: len(p.ids)]) == p.ids)
        longest = max(fitting, key=lambda prefix: len(prefix.ids), default=None)
        if longest is not None:
            self._prefixes.move_to_end(longest.ids)
        return longest

    def add(self, prefix: SharedPrefix) -> None:
        """Hold a beginning, in place of the one that was not used for longest."""
        self._prefixes[prefix.ids] = prefix
        while len(self._prefixes) > MAX_PREFIXES:
            self._prefixes.popitem(last=False)

    def remember(self, prompts: Iterable[list[int]]) -> None:
        """Note prompts that were read, for those to come."""
        self._recent.extend(prompts)

    def shared_length(self, ids: list[int], others: Sequence[list[int]]) -> int:
        """Return how many first tokens of a prompt are worth an entry; 0 for none.

        It is the length with the most tokens saved, `length * number of prompts that share that length`, among the
        lengths the prompt has in common with `others` and with recent prompts.
        """
        # Ascending: `len(lengths) - at` prompts share at least the length at that place.
        lengths = sorted(common_length(ids, other) for other in (*others, *self._recent))
        worth = [(length * (len(lengths) - at), length) for at, length in enumerate(lengths) if length >= MIN_TOKENS]
        length = min(max(worth, default=(0, 0))[1], len(ids) - 1)
        return length if length >= MIN_TOKENS else 0


def common_length(one: list[int], other: list[int]) -> int:
    """Return how many first tokens two prompts have in common."""
    most = min(len(one), len(other))
    # Whether they differ within the first n tokens is false up to the common length, and true beyond.
    return bisect.bisect_left(range(1, most + 1), True, key=lambda n: one[:n] != other[:n])
