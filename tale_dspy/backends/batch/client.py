"""What a provider's batch API must do for a run, and which models have one."""

from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from tale_dspy.backends.batch.interception import HTTPReply
from tale_dspy.backends.local.model_path import is_local
from tale_dspy.errors import BackendError, UsageError

OPENAI_FORMAT = frozenset({"openai", "groq", "hosted_vllm"})
"""Providers with OpenAI's batch API; Azure and a LiteLLM proxy are reached as `openai/MODEL` with an address."""
ANTHROPIC_FORMAT = frozenset({"anthropic"})
CLOCK_SKEW_S = 3600.0
"""Seconds by which a provider's clock may be behind ours."""
NO_RESULT_STATUS = 599
"""Status given to a request without a result of its own: it may be sent again."""


@dataclass(frozen=True)
class BatchLimits:
    """How much one batch may hold."""

    requests: int
    bytes: int


@dataclass(frozen=True)
class BatchRequest:
    """One request of a batch."""

    custom_id: str
    body: bytes


@dataclass(frozen=True)
class BatchResult:
    """What a batch brought for one request."""

    custom_id: str
    reply: HTTPReply
    send_again: bool
    """Whether the request failed in passing (expired, cancelled, 429, 5xx) and was not billed."""


@dataclass(frozen=True)
class BatchStatus:
    """How far a batch is."""

    state: Literal["running", "ended", "over_limit", "failed"]
    """`over_limit`: refused whole, since too many tokens are enqueued. `failed`: refused whole for another reason."""
    detail: str = ""
    """What the provider says of a batch that it refused."""


class NotFoundError(BackendError):
    """The provider has nothing at an address (status 404)."""


class OverTokenLimitError(Exception):
    """The provider does not take a batch: too many tokens are enqueued."""


class BatchClient(Protocol):
    """The batch API of one provider, with the key and the address of one LM."""

    limits: BatchLimits

    async def submit(self, name: str, requests: Sequence[BatchRequest]) -> str:
        """Submit a batch exactly once, whatever the connection does meanwhile.

        Args:
            name: What this package knows the batch by.
            requests: Requests of one model, within `limits`.

        Returns:
            The provider's id of the batch.

        Raises:
            OverTokenLimitError: If the provider takes it only in smaller parts.
            BackendError: If the provider refuses it.
        """
        ...

    async def find(self, name: str, custom_ids: Collection[str], planned_at: float, others: Collection[str]) -> str:
        """Find a batch that an earlier process planned and perhaps submitted.

        Args:
            name: What this package knows the batch by.
            custom_ids: Ids of its requests.
            planned_at: Seconds since the epoch, before it was submitted.
            others: The provider's ids of batches that are known to be other ones.

        Returns:
            The provider's id; "" if it was never submitted.
        """
        ...

    async def status(self, batch_id: str) -> BatchStatus:
        """Ask how far a batch is.

        Raises:
            NotFoundError: If the provider does not know it.
        """
        ...

    def results(self, batch_id: str) -> AsyncIterator[BatchResult]:
        """Yield the results of a batch that has ended, in any order.

        Some may be missing or doubled.

        Raises:
            NotFoundError: If the provider does not know it, or has deleted them.
        """
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


def fails_in_passing(status: int) -> bool:
    """Return whether a request with this HTTP status may succeed later."""
    return status in (408, 409, 425, 429) or status >= 500


def check_batch_support(lm: Any) -> None:
    """Refuse a model whose calls no batch API takes.

    Raises:
        UsageError: If the LM runs in this process, brings its own engine, or its provider has no such API.
    """
    model: str = lm.model
    if is_local(model) or not isinstance(lm.engine, str):
        raise UsageError(f"{model} has no batch API: it does not go to a provider")
    provider = model.partition("/")[0] if "/" in model else "openai"
    if provider not in OPENAI_FORMAT | ANTHROPIC_FORMAT:
        hint = "; give openai/DEPLOYMENT with --api-base https://RESOURCE.openai.azure.com/openai/v1"
        raise UsageError(
            f"{provider} has no batch API that is known here, but {', '.join(sorted(OPENAI_FORMAT | ANTHROPIC_FORMAT))}"
            f" have{hint if provider == 'azure' else ''}"
        )
    if lm.engine != "litellm":
        return
    if lm.model_type != "chat":
        raise UsageError(f"{model} with model_type={lm.model_type!r} goes through a batch with engine='auto' alone")
    if _litellm_takes_responses(model):
        raise UsageError(
            f"LiteLLM sends the calls of {model} to /responses itself, past any batch: "
            "take engine='auto' with model_type='responses'"
        )


def _litellm_takes_responses(model: str) -> bool:
    """Return whether LiteLLM turns chat completions into Responses.

    It then calls the Responses API for a model of the chat completions API.
    """
    import litellm

    name = model.removeprefix("openai/")
    costs = litellm.model_cost
    return name.startswith("responses/") or "responses" in (costs.get(n, {}).get("mode") for n in (name, model))
