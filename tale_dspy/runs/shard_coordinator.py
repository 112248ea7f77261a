"""What the shards of one command share: caps, rates and progress.

Under Ray it is the one actor.
"""

from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tale_dspy.accounting.cap_leases import LeaseAnswer, LeaseBook, Room
from tale_dspy.backends.rate_leases import RateBook
from tale_dspy.runs.options import Tally

Worker = tuple[str, int]
"""Host and process id."""


class SharedLessons(NamedTuple):
    """What other shards have learned."""

    new: list[Hashable]
    seen: int
    """How many lessons of all shards have been seen now."""


@dataclass(frozen=True)
class SharedLimits:
    """What all shards together may use; None is no limit."""

    max_usd: float | None = None
    max_total_output_tokens: int | None = None
    rpm: float | None = None
    tpm: float | None = None


class Coordinator:
    """Share caps and rates among the shards of a command.

    It also collects their progress. Under Ray it is the one actor.

    Args:
        limits: Of all shards together.
    """

    def __init__(self, limits: SharedLimits) -> None:
        self._book = LeaseBook(limits.max_usd, limits.max_total_output_tokens)
        self._rates = RateBook(limits.rpm, limits.tpm)
        self._tallies: dict[int, Tally] = {}
        self._workers: dict[int, list[Worker]] = {}
        self._is_ending = False
        self._lessons: list[tuple[int, Hashable]] = []
        self._known: dict[int, Counter[Hashable]] = defaultdict(Counter)
        """By shard: how often it has shared each lesson; a new attempt learns them again from its folder."""

    def open(self, shard: int, worker: Worker) -> tuple[int, list[Worker]]:
        """Begin an attempt of a shard.

        It returns the attempt's number and the workers of earlier attempts.
        """
        earlier = list(self._workers.setdefault(shard, []))
        self._workers[shard].append(worker)
        return self._book.open(shard), earlier

    def lease(self, shard: int, attempt: int, used: Room, held: Room, need: Room, block: Room) -> LeaseAnswer:
        """Do as `LeaseBook.lease` does."""
        return self._book.lease(shard, attempt, used=used, held=held, need=need, block=block)

    def hear(self, shard: int, attempt: int) -> None:
        """Do as `LeaseBook.hear` does."""
        self._book.hear(shard, attempt)

    def close(self, shard: int, attempt: int, used: Room) -> None:
        """Do as `LeaseBook.close` does."""
        self._book.close(shard, attempt, used)

    def reserve(self, requests: int, tokens: int) -> float:
        """Do as `RateBook.reserve` does."""
        return self._rates.reserve(requests, tokens)

    def share(self, shard: int, lessons: Sequence[tuple[Hashable, int]], start: int) -> SharedLessons:
        """Take what a shard has learned, and return what others have.

        Args:
            shard: Who shares.
            lessons: What it has learned since it shared last, each with how often this attempt has learned just that.
            start: How many lessons of all shards it has seen.
        """
        known = self._known[shard]
        for lesson, times in lessons:
            if times > known[lesson]:  # else an attempt before it has shared it
                known[lesson] = times
                self._lessons.append((shard, lesson))
        new = [lesson for other, lesson in self._lessons[start:] if other != shard]
        return SharedLessons(new, len(self._lessons))

    def report(self, shard: int, tally: Tally) -> bool:
        """Take the running figures of a shard.

        It returns whether the shard must stop with what is finished.
        """
        self._tallies[shard] = tally
        return self._is_ending

    def end(self) -> None:
        """Have all shards end at their next report."""
        self._is_ending = True

    def tallies(self) -> dict[int, Tally]:
        """Return the running figures of the shards that have begun."""
        return self._tallies

    def leased(self) -> Room:
        """Return what counts towards the caps."""
        return self._book.leased

    def reached(self) -> str:
        """Do as `LeaseBook.reached` does."""
        return self._book.reached()
