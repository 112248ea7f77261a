"""Turns: of all threads of a run, one thinks while the others wait for language models.

Python runs one thread at a time anyway. Where many have something to do, each of its small waits - a write to a socket,
a large operation of numpy - hands the lock of the interpreter to another thread, perhaps on another core, and has to
get it back. What turns save of that is little: searches of 1,000 questions at 64 at once took 1.17 to 1.24 times the
floor, where they took 1.24 to 1.26 (three pairs with nothing beside them), and beside other work 1.28 for 1.33 (medians
of 12 pairs; the mean difference, 0.05 with a 95 % interval of 0.00 to 0.10, is no more than a hint).
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

PATIENCE = 1.0
"""Seconds that a thread waits for its turn. Whoever waits longer waits for no thinking, but for a tool or a metric of
the user's that waits for something itself: then all go on at once, and there are no turns from there on."""


class Turns:
    """Whose turn it is. A thread that has none is never held up when it gives one away."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._whose: int | None = None
        self._over = False

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Have a turn inside the block, as soon as it is free."""
        self._take()
        try:
            yield
        finally:
            self._give()

    @contextmanager
    def given_away(self) -> Iterator[None]:
        """Leave the turn to others inside the block, if this thread has one, and take it up again after it."""
        if not self._give():
            yield
            return
        try:
            yield
        finally:
            self._take()

    def _take(self) -> None:
        if self._over:
            return
        if self._lock.acquire(timeout=PATIENCE):
            self._whose = threading.get_ident()
        else:
            self._over = True

    def _give(self) -> bool:
        if self._whose != threading.get_ident():
            return False
        self._whose = None
        self._lock.release()
        return True
