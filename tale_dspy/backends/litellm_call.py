"""One call of DSPy's that LiteLLM, where it sends it, sends with an HTTP client of this package.

Neither DSPy's cache key nor its history sees the client: it is put into the settings where DSPy copies them for
LiteLLM, also where engine `auto` hands a call over that its own stack cannot send.
"""

import asyncio
import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import dspy

from tale_dspy.dspy_bridge import aexecute_call, execute_call, finalize_call, prepare_call, warn_openai_messages

if TYPE_CHECKING:
    from dspy import LM

ClientMaker = Callable[[], object]
"""Returns the client to send with, or None where LiteLLM makes its own."""


class _SettingsForLiteLLM(dict[str, Any]):
    """The settings of a call, whose deep copy holds the client."""

    def __init__(self, settings: dict[str, Any], client: ClientMaker) -> None:
        super().__init__(settings)
        self._client = client

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[str, Any]:
        settings = copy.deepcopy(dict(self), memo)
        client = None if "client" in settings else self._client()
        if dspy.settings.send_stream is not None:  # a stream says what it used only where it is asked to
            settings.setdefault("stream_options", {"include_usage": True})
            if not _in_event_loop():  # DSPy then streams in another thread's loop, where a client of threads is none
                client = None
        return settings if client is None else {**settings, "client": client}


def send(lm: "LM", client: ClientMaker, prompt: Any, messages: Any, kwargs: dict[str, Any]) -> Any:
    """Do what `dspy.BaseLM.__call__` does, with a client."""
    call = prepare_call(lm, prompt, messages, kwargs)
    call.legacy = _SettingsForLiteLLM(call.legacy, client)
    warn_openai_messages(lm, messages)
    return finalize_call(lm, call, execute_call(lm, call))


async def asend(lm: "LM", client: ClientMaker, prompt: Any, messages: Any, kwargs: dict[str, Any]) -> Any:
    """Do what `dspy.BaseLM.acall` does, with a client."""
    # DSPy prepares in a worker thread, since an explicit request may name media files; messages hold none.
    call = prepare_call(lm, prompt, messages, kwargs, asynchronous=True)
    call.legacy = _SettingsForLiteLLM(call.legacy, client)
    warn_openai_messages(lm, messages)
    return finalize_call(lm, call, await aexecute_call(lm, call))


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
