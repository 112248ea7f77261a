"""DSPy's cache, by address and with the usage of its entries.

Calls of one model at two addresses never share an answer, and a hit still says what it had cost.

Everything that knows DSPy's cache keys is here, and the hash that a run's journal knows a request by.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import dspy
from dspy import LMError, settings

from tale_dspy.answers.thought_tags import split_thought
from tale_dspy.backends.local.model_path import is_local
from tale_dspy.backends.redaction import public_config
from tale_dspy.dspy_bridge import IGNORED_CACHE_KEYS, item_value, plain_data, prepare_call
from tale_dspy.protocols import LanguageModel, RequestSettings, SettingsView

KEPT_USAGE = "tale_usage"
"""Where a response of LiteLLM keeps its usage when DSPy's cache empties the usual place."""
_NAMESPACE = "tale:"
_PREFIX = re.compile(rf"^{_NAMESPACE}\w+:")
_NO_ROLLOUT = re.compile(rf"({_NAMESPACE}\w+:)?(#\d+)?")
"""A `rollout_id` of this package alone, with the number of a run's repeat or without: the caller set none."""


class _UsageTracker:
    """Stand in for DSPy's usage tracker during one call.

    The tracker hears of paid calls and of no cache hit.
    """

    def __init__(self, rollout_id: object) -> None:
        self.rollout_id = rollout_id
        """The caller's, without a namespace."""
        self.paid = False
        self._outer = settings.usage_tracker

    def add_usage(self, lm: str, usage_entry: RequestSettings) -> None:
        self.paid = True
        if self._outer:
            self._outer.add_usage(lm, usage_entry)


@contextmanager
def _usage_tracked(kwargs: Mapping[str, object]) -> Iterator[None]:
    with settings.context(usage_tracker=_UsageTracker(kwargs.get("rollout_id"))):
        yield


def with_cache_hit(entry: RequestSettings) -> RequestSettings:
    """Return a history entry that says whether it is a cache hit.

    Thoughts are in a field apart from the text, and `rollout_id` is the caller's, without the namespace. Call this
    where DSPy records the entry of a `UsageKeepingLM`, that is, from `update_history`.
    """
    entry = {**entry, "outputs": with_thoughts_apart(entry["outputs"])}
    if is_local(entry["model"]):  # DSPy has no price for an engine object
        entry = {**entry, "cost": 0.0}
    tracker = settings.usage_tracker
    if not isinstance(tracker, _UsageTracker):  # a `forward` without a call
        return entry
    kwargs = {name: value for name, value in entry["kwargs"].items() if name != "rollout_id"}
    rollout = {} if tracker.rollout_id is None else {"rollout_id": tracker.rollout_id}
    return {**entry, "kwargs": kwargs | rollout, "cache_hit": not tracker.paid}


class UsageKeepingLM(dspy.LM):  # type: ignore[misc]  # dspy ships no types
    """An LM whose cache hits still say what they had used.

    They differ from paid calls in its history. DSPy keeps the usage of a hit on its own engine, and erases it on the
    LiteLLM path.
    """

    def __call__(self, prompt: object = None, *, messages: object = None, **kwargs: Any) -> Any:
        if not kwargs.get("cache", self.cache):  # no hit is possible
            return with_thoughts_apart(self.send_once(prompt, messages=messages, **kwargs))
        with _usage_tracked(kwargs):
            return with_thoughts_apart(self.send_once(prompt, messages=messages, **self.cache_kwargs(kwargs)))

    async def acall(self, prompt: object = None, *, messages: object = None, **kwargs: Any) -> Any:
        if not kwargs.get("cache", self.cache):
            return with_thoughts_apart(await self.asend_once(prompt, messages=messages, **kwargs))
        with _usage_tracked(kwargs):
            outputs = await self.asend_once(prompt, messages=messages, **self.cache_kwargs(kwargs))
            return with_thoughts_apart(outputs)

    def send_once(self, prompt: object, *, messages: object, **kwargs: Any) -> Any:
        """Answer a call from DSPy's cache or by one request."""
        return super().__call__(prompt, messages=messages, **kwargs)

    async def asend_once(self, prompt: object, *, messages: object, **kwargs: Any) -> Any:
        """Answer a call from DSPy's cache or by one request, in an event loop."""
        return await super().acall(prompt, messages=messages, **kwargs)

    def cache_kwargs(self, kwargs: RequestSettings) -> RequestSettings:
        """Return the arguments of a call as DSPy's cache key should see them."""
        return kwargs

    def update_history(self, entry: RequestSettings) -> None:
        super().update_history(with_cache_hit(entry))

    def _process_completion(self, response: Any, merged_kwargs: RequestSettings) -> Any:
        _keep_usage(response)
        return super()._process_completion(response, merged_kwargs)

    def _process_response(self, response: Any) -> Any:
        _keep_usage(response)
        return super()._process_response(response)

    def _warn_zero_temp_rollout(self, temperature: float | None, rollout_id: Any) -> None:
        if not (isinstance(rollout_id, str) and _NO_ROLLOUT.fullmatch(rollout_id)):
            super()._warn_zero_temp_rollout(temperature, rollout_id)


def with_thoughts_apart(outputs: Any) -> Any:
    """Move thinking in the text of a reply to where native thinking goes.

    Args:
        outputs: What DSPy returns for a call; a typed `Response` comes back as it is.

    Returns:
        The same, with `reasoning_content` for each output that held thinking. A thought without an end leaves no text.
    """
    return [_split_output(output) for output in outputs] if isinstance(outputs, list) else outputs


def _split_output(output: Any) -> Any:
    text = output.get("text") if isinstance(output, dict) else output
    if not isinstance(text, str) or not text:
        return output
    reply = split_thought(text)
    if not reply.thought and reply.visible == text:
        return output
    fields = output if isinstance(output, dict) else {}
    thoughts = [part for part in (fields.get("reasoning_content"), reply.thought) if part]
    reasoning = {"reasoning_content": "\n".join(thoughts)} if thoughts else {}
    return {**fields, "text": reply.visible if reply.complete else "", **reasoning}


def _keep_usage(response: object) -> None:
    """Copy the usage to where DSPy does not erase it.

    It runs before the reply goes into the cache and again on each hit, when `usage` is already empty.
    """
    usage, hidden = item_value(response, "usage"), item_value(response, "_hidden_params")
    if usage and isinstance(hidden, dict):
        hidden[KEPT_USAGE] = plain_data(dict(usage))


def namespaced_rollout(rollout_id: object, namespace: str) -> str:
    """Put a namespace before a `rollout_id`.

    This id is the one part of DSPy's cache key that is never sent.
    """
    prefix = f"{_NAMESPACE}{namespace}:"
    if isinstance(rollout_id, str) and rollout_id.startswith(prefix):
        return rollout_id
    return f"{prefix}{'' if rollout_id is None else rollout_id}"


def caller_rollout(rollout_id: object) -> object:
    """Return the caller's `rollout_id`, without the namespace."""
    return _PREFIX.sub("", rollout_id) if isinstance(rollout_id, str) else rollout_id


def is_cached(
    lm: LanguageModel, prompt: object, messages: object, kwargs: RequestSettings, *, asynchronous: bool
) -> bool:
    """Return whether DSPy's cache holds the reply, so that nothing is sent.

    Args:
        lm: Any `dspy.BaseLM`.
        prompt: What it is called with, as are `messages` and `kwargs`.
        messages: See `prompt`.
        kwargs: See `prompt`.
        asynchronous: Whether by `acall`; the cache keeps both kinds apart.

    Returns:
        False, too, for a call that DSPy would refuse.
    """
    try:
        keyed = lm.cache_kwargs(kwargs) if isinstance(lm, UsageKeepingLM) else kwargs
        call = prepare_call(lm, prompt, messages, keyed, asynchronous=asynchronous)
    except (TypeError, ValueError, LMError):
        return False
    return call.cache and dspy.cache.get(call.key(lm, asynchronous), IGNORED_CACHE_KEYS) is not None


def request_hash(model: str, request: object, config: SettingsView) -> str:
    """Hash what decides a reply: model, messages and settings, without secrets.

    The hash is equal in every process.
    """
    row = [model, request, public_config(config) if config else {}]
    return hashlib.sha256(_CANONICAL.encode(row).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _describe_value(value: object) -> object:
    """Describe what JSON cannot hold.

    A Pydantic model is its schema, anything else its repr without an address.
    """
    from pydantic import BaseModel

    if isinstance(value, type) and issubclass(value, BaseModel):
        return value.model_json_schema()
    if isinstance(value, set | frozenset):
        return sorted(map(repr, value))
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))


_CANONICAL = json.JSONEncoder(sort_keys=True, ensure_ascii=False, default=_describe_value)
