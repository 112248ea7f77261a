"""One draw of one question, and the calls it has made."""

import threading
from collections import Counter
from dataclasses import dataclass, field

from tale_dspy.accounting.calls import Call


@dataclass
class QuestionSample:
    """One draw of one question, and the requests it has made so far."""

    id: str
    repeat: int
    calls: list[Call] = field(default_factory=list)
    """The calls answered so far."""
    delays: int = 0
    """Requests that a batch brought no answer to, and that took another round."""
    _requests: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def occurrence(self, key: str) -> int:
        """Count equal requests, from 0.

        So the order of concurrent calls does not matter.
        """
        with self._lock:
            self._requests[key] += 1
            return self._requests[key] - 1
