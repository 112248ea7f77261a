"""Which of several samples of one request a call of an LM stands for.

DSPy keeps `rollout_id` for its cache and never sends it, and makes `n` equal requests for `n` choices. So an LM of ours
puts both into the context of the call, and the local engine finds them there.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tale_dspy.backends.local.prompt_tokenizer import GenerationJob


@dataclass
class SampleRequest:
    """The samples that one call of an LM stands for."""

    rollout: str = ""
    """The caller's own `rollout_id`, and the number of a run's repeat; equal ones are equal samples."""
    choices: int = 1
    """How many replies to equal requests will be wanted."""
    timeout: float | None = None
    """Seconds each reply may take, from when its row is started; None for no limit."""
    pending: "list[GenerationJob]" = field(default_factory=list)
    """Further choices that are being written already."""
    requested: int = 0
    """Choices that were requested so far."""

    def retry_last(self) -> None:
        """Forget the last choice, which failed.

        When DSPy tries again, it must be the same sample.
        """
        self.cancel()
        self.requested -= 1

    def cancel(self) -> None:
        """Cancel what is being written."""
        for job in self.pending:
            job.future.cancel()
        self.pending = []


_current: ContextVar[SampleRequest | None] = ContextVar("tale_dspy_sample_request", default=None)


@contextmanager
def use_sample_request(request: SampleRequest) -> Iterator[None]:
    """Let the engine know about a call.

    Replies it started that nobody took are cancelled at the end.
    """
    token = _current.set(request)
    try:
        yield
    finally:
        _current.reset(token)
        request.cancel()


def current_sample_request() -> SampleRequest:
    """Return the sample request of this context's call.

    Without one, it is a single sample.
    """
    return _current.get() or SampleRequest()
