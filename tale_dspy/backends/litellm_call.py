"""Send one of DSPy's LiteLLM calls with an HTTP client of this package.

Neither DSPy's cache key nor its history sees the client: it is put into the settings where DSPy copies them for
LiteLLM, also where engine `auto` hands a call over that its own stack cannot send.
"""

import copy
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

import anyio.from_thread
import dspy

from tale_dspy.backends.call_turns import call_turn, end_turn
from tale_dspy.dspy_bridge import aexecute_call, execute_call, finalize_call, prepare_call, warn_openai_messages
from tale_dspy.protocols import RequestSettings

if TYPE_CHECKING:
    from dspy import LM


class ClientMaker(Protocol):
    """Returns the client to send with, or None where LiteLLM makes its own."""

    def __call__(self, *, asynchronous: bool) -> object:
        """Return one for the running event loop, or one for threads."""


class _SettingsForLiteLLM(RequestSettings):
    """The settings of a call, whose deep copy holds the client."""

    def __init__(self, settings: dict[str, Any], client: ClientMaker, *, asynchronous: bool) -> None:
        super().__init__(settings)
        self._make_client = client
        self._asynchronous = asynchronous

    def __deepcopy__(self, memo: dict[int, Any]) -> RequestSettings:
        settings = copy.deepcopy(dict(self), memo)
        streams = dspy.settings.send_stream is not None
        if streams:  # a stream says what it used only where it is asked to
            settings.setdefault("stream_options", {"include_usage": True})
        if "client" in settings:
            end_turn()  # a client of the user's does not
            return settings
        if streams and not self._asynchronous:  # DSPy streams in the loop that this worker thread belongs to
            client = anyio.from_thread.run(self._client_in_loop)
        else:
            client = self._make_client(asynchronous=self._asynchronous)
        if client is None:
            end_turn()  # nor does one of LiteLLM's
            return settings
        return {**settings, "client": client}

    async def _client_in_loop(self) -> object:
        return self._make_client(asynchronous=True)


def send(lm: "LM", client: ClientMaker, prompt: object, messages: object, kwargs: RequestSettings) -> Any:
    """Do what `dspy.BaseLM.__call__` does, with a client."""
    call = prepare_call(lm, prompt, messages, kwargs)
    call.legacy = _SettingsForLiteLLM(call.legacy, client, asynchronous=False)
    warn_openai_messages(lm, messages)
    with _whole_choices(call.legacy), _unread_log_spared(lm, call.legacy):
        result = execute_call(lm, call)
    return finalize_call(lm, call, result)


async def asend(lm: "LM", client: ClientMaker, prompt: object, messages: object, kwargs: RequestSettings) -> Any:
    """Do what `dspy.BaseLM.acall` does, with a client."""
    async with call_turn():
        # DSPy prepares in a worker thread, since an explicit request may name media files; messages hold none.
        call = prepare_call(lm, prompt, messages, kwargs, asynchronous=True)
        call.legacy = _SettingsForLiteLLM(call.legacy, client, asynchronous=True)
        warn_openai_messages(lm, messages)
        with _whole_choices(call.legacy), _unread_log_spared(lm, call.legacy):
            result = await aexecute_call(lm, call)
        return finalize_call(lm, call, result)


def _whole_choices(settings: RequestSettings) -> AbstractContextManager[object]:
    """Ask for several choices without a stream.

    LiteLLM makes one text of all choices of a stream.
    """
    return nullcontext() if (settings.get("n") or 1) == 1 else dspy.context(send_stream=None)


_CALLBACKS = frozenset({"callbacks", "input_callback", "success_callback", "failure_callback", "logger_fn"})
"""Settings of a call that ask LiteLLM to report it."""


@contextmanager
def _unread_log_spared(lm: "LM", settings: RequestSettings) -> Iterator[None]:
    """Spare LiteLLM the log entry of a call that nobody would read.

    LiteLLM gathers one for each call before it looks whether there is a callback to get it: a tenth of the CPU time of
    the call. It gathers none for a call that it makes itself within another; this call passes for one, where neither
    the process nor the call has a callback or a budget of LiteLLM's.
    """
    if lm.engine != "litellm" or _CALLBACKS & settings.keys() or (within := _call_within_another()) is None:
        yield
        return
    token = within.set(True)
    try:
        yield
    finally:
        within.reset(token)


def _call_within_another() -> ContextVar[bool] | None:
    """Return how LiteLLM knows its calls within others, or None.

    It is None where something reads its log.
    """
    import litellm

    readers = (
        litellm.callbacks,
        litellm.input_callback,
        litellm.success_callback,
        litellm.failure_callback,
        litellm.service_callback,
        litellm._async_input_callback,
        litellm._async_success_callback,
        litellm._async_failure_callback,
    )
    try:
        from litellm._internal_context import is_internal_call
    except ImportError:  # an earlier release
        return None
    # Gemini's routes make a cache on import, listed as a callback; without `litellm.cache` it reads nothing.
    unread = [] if litellm.cache is not None else ["cache"]
    is_read = any(callback not in unread for callbacks in readers for callback in callbacks)
    return None if is_read or litellm.max_budget else is_internal_call
