"""Caps that several processes share.

They are leased to each in small blocks, and never passed in total.

A `LeaseBook` holds the caps, in one place. Each process works with a `LeasedLedger`: where the worst case of a call
does not fit into what it has leased, it leases more before the call is sent, and while nothing is left it waits until
others have given back what they did not use. What a process that was lost had leased counts as spent, since nobody
knows which of its calls are billed; nor does anybody wait for it: its successor may be waiting for their place.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from tale_dspy.accounting.ledger import Ledger
from tale_dspy.accounting.reservation import Reservation
from tale_dspy.backends.prices import Price

BLOCK_CALLS = 8
"""Worst cases of a call that are leased at once: the more, the fewer requests, and the more is lost with a process."""
RETRY_S = 0.2
"""Seconds until a refused lease is asked for again while other processes may give some back."""

SILENT_S = 30.0
"""Seconds without a sign after which a process is taken for lost: it gives nothing back any more."""


class Room(NamedTuple):
    """US dollars and output tokens."""

    usd: float = 0.0
    tokens: float = 0

    def plus(self, other: "Room") -> "Room":
        """Return the sum."""
        return Room(self.usd + other.usd, self.tokens + other.tokens)

    def minus(self, other: "Room") -> "Room":
        """Return the difference."""
        return Room(self.usd - other.usd, self.tokens - other.tokens)

    def times(self, factor: int) -> "Room":
        """Return it multiplied by a factor."""
        return Room(self.usd * factor, self.tokens * factor)

    def holds(self, need: "Room") -> bool:
        """Return whether both are enough."""
        return need.usd <= self.usd and need.tokens <= self.tokens

    def upto(self, most: "Room") -> "Room":
        """Return the smaller of each."""
        return Room(min(self.usd, most.usd), min(self.tokens, most.tokens))


NOTHING = Room()


class LeaseAnswer(NamedTuple):
    """What a process may use from now on."""

    room: Room
    """In total, what it has used included."""
    granted: bool
    """Whether the call fits."""
    may_grow: bool = False
    """Whether asking again may bring more, since others have not used all of theirs."""


@dataclass
class _Lease:
    attempt: int
    heard: float
    """When its holder gave a sign last."""
    room: Room = NOTHING
    used: Room = NOTHING
    is_open: bool = True


class LeaseBook:
    """Who has leased how much of the caps. Not thread-safe.

    Args:
        max_usd: Cap on US dollars; None for none.
        max_total_output_tokens: Cap on output tokens; None for none.
        clock: Returns seconds.

    Example:
        >>> book = LeaseBook(max_usd=1.0)
        >>> attempt = book.open(1)
        >>> book.lease(1, attempt, used=Room(), held=Room(), need=Room(0.3), block=Room(0.6)).room.usd
        0.6
    """

    def __init__(
        self,
        max_usd: float | None = None,
        max_total_output_tokens: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self.caps = Room(
            math.inf if max_usd is None else max_usd,
            math.inf if max_total_output_tokens is None else max_total_output_tokens,
        )
        self._leases: dict[int, _Lease] = {}
        self._lost = Room()

    def open(self, holder: int) -> int:
        """Begin an attempt of a holder.

        What an earlier attempt has not given back counts as spent for good.

        Returns:
            The number of the attempt, from 1; others of the same holder are granted nothing any more.
        """
        earlier = self._leases.get(holder)
        if earlier is not None:
            # A process that was killed may have spent all it had leased: the whole lease counts, so that the caps
            # hold in any case.
            self._lost = self._lost.plus(earlier.room)
        self._leases[holder] = _Lease(1 if earlier is None else earlier.attempt + 1, self._clock())
        return self._leases[holder].attempt

    def hear(self, holder: int, attempt: int) -> None:
        """Take a sign of life of a holder, which each `lease` is as well."""
        lease = self._leases[holder]
        if lease.attempt == attempt:
            lease.heard = self._clock()

    def lease(self, holder: int, attempt: int, *, used: Room, held: Room, need: Room, block: Room) -> LeaseAnswer:
        """Lease room for one more call, or take back what the holder does not use.

        Args:
            holder: Who asks.
            attempt: As `open` numbered it.
            used: What it has spent, or may have been billed for.
            held: What it holds back for calls in flight.
            need: The worst case of the call.
            block: What is leased beyond `used` and `held`, as far as the caps allow.
        """
        lease = self._leases[holder]
        # A zombie: the holder was started anew meanwhile, and its old lease counts as lost.
        if lease.attempt != attempt:
            return LeaseAnswer(Room(), granted=False)
        lease.heard = now = self._clock()
        used, held, need, block = map(self._capped, (used, held, need, block))
        lease.used, used_before = used, used.plus(held)
        # What is left for this holder: caps - leases of the others - what it has used or holds itself.
        left = self.caps.minus(self.leased.minus(lease.room)).minus(used_before)
        if left.holds(need):
            # A whole block, or the call's worst case where that is more; the book is asked again only when it is used
            # up.
            lease.room = used_before.plus(left.upto(Room(max(block.usd, need.usd), max(block.tokens, need.tokens))))
            return LeaseAnswer(lease.room, granted=True)
        lease.room = used_before
        # Others that still run may give back what they do not use: then asking again can help.
        # A silent one is lost: its successor may be waiting for the place of those that would wait for it.
        others = [
            other
            for other in self._leases.values()
            if other is not lease and other.is_open and now - other.heard <= SILENT_S
        ]
        return LeaseAnswer(
            used_before, granted=False, may_grow=any(not other.used.holds(other.room) for other in others)
        )

    def close(self, holder: int, attempt: int, used: Room) -> None:
        """End an attempt, and take back what it did not use."""
        lease = self._leases[holder]
        if lease.attempt == attempt:
            lease.room = lease.used = self._capped(used)
            lease.is_open = False

    def reached(self) -> str:
        """Say that nothing more could be leased, and how much of the caps is spent."""
        spent, parts = self.leased, []
        if self.caps.usd < math.inf:
            parts.append(f"${spent.usd:.6f} of max_usd={self.caps.usd:g}")
        if self.caps.tokens < math.inf:
            parts.append(f"{spent.tokens:.0f} of max_total_output_tokens={self.caps.tokens:.0f}")
        lost = f", ${self._lost.usd:.6f} and {self._lost.tokens:.0f} tokens of it with workers that were lost"
        return f"spend cap reached: {' and '.join(parts)} spent{lost if any(self._lost) else ''}"

    def _capped(self, room: Room) -> Room:
        """Leave out what is not capped."""
        return Room(room.usd if self.caps.usd < math.inf else 0.0, room.tokens if self.caps.tokens < math.inf else 0)

    @property
    def leased(self) -> Room:
        """What counts towards the caps: all leases, and what was lost with processes."""
        total = self._lost
        for lease in self._leases.values():
            total = total.plus(lease.room)
        return total


class LeaseHolder(Protocol):
    """How a process reaches the book."""

    def lease(self, used: Room, held: Room, need: Room, block: Room) -> LeaseAnswer:
        """Do as `LeaseBook.lease` does."""
        ...


class LeasedLedger(Ledger):
    """A ledger whose caps grow as they are leased.

    Args:
        holder: Reaches the book.
        caps_usd: Whether US dollars are capped.
        caps_tokens: Whether output tokens are.
        price: Overrides the price of every model.
    """

    wait_s = RETRY_S

    def __init__(self, holder: LeaseHolder, *, caps_usd: bool, caps_tokens: bool, price: Price | None = None) -> None:
        super().__init__(price=price)
        self._holder, self._room = holder, Room()
        self.max_usd = 0.0 if caps_usd else None
        self.max_total_output_tokens = 0 if caps_tokens else None

    def successor(self, price: Price | None = None) -> "LeasedLedger":
        """Return an empty ledger of the same lease.

        It counts what this one has used towards the lease.
        """
        caps = {"caps_usd": self.max_usd is not None, "caps_tokens": self.max_total_output_tokens is not None}
        new = LeasedLedger(self._holder, **caps, price=self.price if price is None else price)
        new._carried = self.used
        return new

    def _lease_more(self, need: Reservation) -> bool:
        if self._closed:
            return False
        usd, tokens = self._used_amounts()
        held = list(self._reserved.values())
        one = Room(need.usd, need.tokens)
        # A block of `BLOCK_CALLS` worst cases: one request to the book for that many calls.
        answer = self._holder.lease(
            Room(usd, tokens), Room(sum(r.usd for r in held), sum(r.tokens for r in held)), one, one.times(BLOCK_CALLS)
        )
        if self.max_usd is not None:
            self.max_usd = answer.room.usd
        if self.max_total_output_tokens is not None:
            self.max_total_output_tokens = int(answer.room.tokens)
        self._may_grow = answer.may_grow
        return answer.granted

    def _warn_near_cap(self) -> None:
        """Say nothing: how much of the caps is used is known where the book is."""
