"""What goes wrong on purpose, and for which prompts."""

import math
from dataclasses import dataclass, replace

from tale_dspy.errors import UsageError
from tale_dspy.testing.messages import Reply, Request, check_share, count_words, draw, first_words

SHARES = ("rate_limited", "server_error", "dropped", "hung", "malformed", "null_content", "cut")
"""The faults that strike a share of the prompts, in the order in which the shares are laid out."""


@dataclass(frozen=True, kw_only=True)
class Faults:
    """What goes wrong, and how often.

    The shares are of prompts, not of requests: a hash of the messages decides, so the same prompts are struck in every
    run whatever their order, and no prompt is struck by two faults.

    Raises:
        UsageError: If a share is not between 0 and 1, the shares sum up to more than 1, or `tries` or `retry_after` is
            out of range.
    """

    rate_limited: float = 0.0
    """429 with a Retry-After header."""
    server_error: float = 0.0
    """500."""
    dropped: float = 0.0
    """The connection is closed where the reply should come."""
    hung: float = 0.0
    """Never answered; the connection stays open."""
    malformed: float = 0.0
    """200 with a body cut in the middle of the JSON."""
    null_content: float = 0.0
    """200 with `content: null` and the usage of the full text."""
    cut: float = 0.0
    """200 with the first half of the words and `finish_reason: length`."""
    tries: int | None = 1
    """How many attempts of a struck prompt fail; None: all."""
    retry_after: float = 0.0
    """Seconds in the Retry-After header."""
    only: str = ""
    """Strikes only prompts that hold this text."""
    seed: int = 0
    """Another seed strikes other prompts."""
    unauthorized: bool = False
    """401 to everything."""
    bad_request: bool = False
    """400 to everything."""
    not_found: bool = False
    """404, model not found, to everything."""
    quota: bool = False
    """429 insufficient_quota to everything."""

    def __post_init__(self) -> None:
        for name in SHARES:
            check_share(name, vars(self)[name])
        total = math.fsum(vars(self)[name] for name in SHARES)
        if total > 1 + 1e-9:
            raise UsageError(f"the shares of faults must sum up to at most 1, not {total:g}")
        if self.tries is not None and self.tries < 1:
            raise UsageError(f"tries must be at least 1 or None, not {self.tries}")
        if not 0 <= self.retry_after < math.inf:
            raise UsageError(f"retry_after must be 0 or more seconds, not {self.retry_after}")

    def always(self) -> str | None:
        """Return the name of the switch that refuses everything, or None."""
        return next((n for n in ("unauthorized", "quota", "not_found", "bad_request") if vars(self)[n]), None)

    def strike(self, request: Request, key: str) -> str | None:
        """Return the name of the fault that strikes this attempt, or None.

        Args:
            request: The attempt; `seen` and `prompt` count.
            key: What identifies the prompt: its share is drawn from a hash of it.
        """
        if (self.tries is not None and request.seen >= self.tries) or self.only not in request.prompt:
            return None
        at = draw(key, f"fault {self.seed}")
        for name in SHARES:
            at -= vars(self)[name]
            if at < 0:
                return name
        return None


def spoil(fault: str | None, reply: Reply) -> Reply:
    """Apply a fault that leaves a valid completion, `null_content` or `cut`.

    Any other returns the reply as it is.
    """
    if fault == "null_content":
        return replace(reply, text=None, tool_calls=(), completion_tokens=reply.tokens)
    if fault == "cut":
        shortened = None if reply.completion_tokens is None else reply.completion_tokens // 2
        half = first_words(reply.text or "", count_words(reply.text) // 2)
        return replace(reply, text=half, finish_reason="length", completion_tokens=shortened)
    return reply
