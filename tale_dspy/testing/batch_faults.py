"""Intended faults of batches, and the counts of a server of batches."""

from collections import Counter
from dataclasses import dataclass, field

from tale_dspy.testing.messages import check_share, draw


@dataclass(frozen=True, kw_only=True)
class BatchFaults:
    """What goes wrong with batches, and how often.

    The shares are of requests: a hash of the body decides, so that the same requests are struck in every run, whatever
    their order or ids. With `each_attempt` they are of attempts: a struck request may be struck again.

    Raises:
        UsageError: If a share is not between 0 and 1.
    """

    expired: float = 0.0
    """Not answered in time: an error without a response, not billed."""
    failed: float = 0.0
    """A response of 500, not billed."""
    refused: float = 0.0
    """A response of 400, at each attempt, not billed."""
    missing: float = 0.0
    """In no file of results at all, not billed."""
    doubled: float = 0.0
    """Two lines of results of one request."""
    shuffled: bool = False
    """Results come in another order than the requests."""
    tries: int = 1
    """How many attempts of a struck request expire, fail or are missing."""
    each_attempt: bool = False
    """Whether every attempt is struck, or not, on its own; `tries` is then without effect."""
    delay: float = 0.0
    """Seconds from the submission of a batch to its end."""
    token_limit: int | None = None
    """Words of requests that may be enqueued at once; a batch that passes it is refused whole."""
    unclear: int = 0
    """How many submissions are taken, and answered by a closed connection."""
    seed: int = 0
    """Another seed strikes other requests."""

    def __post_init__(self) -> None:
        for name in ("expired", "failed", "refused", "missing", "doubled"):
            check_share(name, vars(self)[name])

    def strike(self, body_key: str, seen: int) -> str | None:
        """Return which fault strikes a request, or None.

        Args:
            body_key: What identifies its body.
            seen: How often this body had come before.
        """
        attempt = f" {seen}" if self.each_attempt else ""
        at = draw(body_key, f"batch fault {self.seed}{attempt}")
        for name in ("refused", "expired", "failed", "missing"):
            at -= vars(self)[name]
            if at < 0:
                return name if name == "refused" or self.each_attempt or seen < self.tries else None
        return None

    def doubles(self, body_key: str) -> bool:
        """Return whether the result of a request comes twice."""
        return draw(body_key, f"batch double {self.seed}") < self.doubled


@dataclass
class BatchStats:
    """What a server of batches counted since its start."""

    batches: int = 0
    """Batches taken, those refused for their tokens left out."""
    over_limit: int = 0
    """Batches refused for their tokens."""
    requests: int = 0
    """Requests in batches taken."""
    prompt_tokens: int = 0
    """Of the requests that were billed."""
    completion_tokens: int = 0
    """Of the requests that were billed."""
    custom_ids: Counter[str] = field(default_factory=Counter)
    """How often each id came, over all batches."""
    paid: Counter[str] = field(default_factory=Counter)
    """How often a request of each body was billed, by a hash of the body."""
    by_fault: Counter[str] = field(default_factory=Counter)
    """How often each fault struck."""

    @property
    def paid_calls(self) -> int:
        """Requests that were billed."""
        return self.paid.total()
