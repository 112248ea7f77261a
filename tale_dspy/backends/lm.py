"""`tale_dspy.LM`: a model string -> a dspy.LM whose engine is pinned and whose usage survives the cache."""

import hashlib
import json
import os
import re
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import dspy
from dspy.dsp.utils.settings import settings
from dspy.utils.exceptions import LMError

from tale_dspy.errors import UsageError

Engine = Literal["litellm", "auto", "lm15"]
ENGINES: tuple[Engine, ...] = ("litellm", "auto", "lm15")


class _Watch:
    """Stands in for DSPy's usage tracker during one call: that is told what was paid, and nothing of a cache hit."""

    def __init__(self, rollout_id: Any) -> None:
        self.rollout_id = rollout_id
        """The caller's own, before the namespace was put in."""
        self.paid = False
        self._outer = settings.usage_tracker

    def add_usage(self, lm: str, usage_entry: dict[str, Any]) -> None:
        self.paid = True
        if self._outer:
            self._outer.add_usage(lm, usage_entry)


@contextmanager
def _watched(kwargs: Mapping[str, Any]) -> Iterator[None]:
    with settings.context(usage_tracker=_Watch(kwargs.get("rollout_id"))):
        yield


def watched_entry(entry: dict[str, Any]) -> dict[str, Any]:
    """Return a history entry as the caller of a `KeepsUsage` should see it: with `cache_hit`, and his own rollout_id.

    To be called where DSPy records the entry, that is, from `update_history`.
    """
    watch = settings.usage_tracker
    if not isinstance(watch, _Watch):  # a `forward` without a call
        return entry
    kwargs = {k: v for k, v in entry["kwargs"].items() if k != "rollout_id"}
    own = {} if watch.rollout_id is None else {"rollout_id": watch.rollout_id}
    return {**entry, "kwargs": kwargs | own, "cache_hit": not watch.paid}


class KeepsUsage(dspy.LM):  # type: ignore[misc]  # dspy ships no types
    """An LM whose cache hits can be told from calls that were paid, and still say what they had used.

    DSPy keeps the usage of a hit on its own engine, and erases it on the LiteLLM path.
    """

    def __call__(self, prompt: Any = None, *, messages: Any = None, **kwargs: Any) -> Any:
        if not kwargs.get("cache", self.cache):  # there is no hit to tell apart
            return super().__call__(prompt, messages=messages, **kwargs)
        with _watched(kwargs):
            return super().__call__(prompt, messages=messages, **self.keyed(kwargs))

    async def acall(self, prompt: Any = None, *, messages: Any = None, **kwargs: Any) -> Any:
        if not kwargs.get("cache", self.cache):
            return await super().acall(prompt, messages=messages, **kwargs)
        with _watched(kwargs):
            return await super().acall(prompt, messages=messages, **self.keyed(kwargs))

    def keyed(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments of a call as DSPy's cache shall see them."""
        return kwargs

    def update_history(self, entry: dict[str, Any]) -> None:
        super().update_history(watched_entry(entry))

    def _process_completion(self, response: Any, merged_kwargs: dict[str, Any]) -> Any:
        _keep_usage(response)
        return super()._process_completion(response, merged_kwargs)

    def _process_response(self, response: Any) -> Any:
        _keep_usage(response)
        return super()._process_response(response)

    def _warn_zero_temp_rollout(self, temperature: float | None, rollout_id: Any) -> None:
        if not (isinstance(rollout_id, str) and _NOT_ASKED_FOR.fullmatch(rollout_id)):
            super()._warn_zero_temp_rollout(temperature, rollout_id)


def _keep_usage(response: Any) -> None:
    """Copy the usage to where DSPy does not erase it.

    Runs before the reply goes into the cache and again on each hit, when `usage` is already empty.
    """
    from dspy.clients.legacy_outputs import plain, value

    usage, hidden = value(response, "usage"), value(response, "_hidden_params")
    if usage and isinstance(hidden, dict):
        hidden["tale_usage"] = plain(dict(usage))


class LM(KeepsUsage):
    """A `dspy.LM` with LiteLLM as its engine, and a cache that tells endpoints apart.

    `dspy.LM` chooses an engine anew for each call; here it is the one named, so that a budget or a thinking dial means
    the same thing each time. DSPy's cache does not look at the address, so that two servers with one model name would
    share answers; here the address and the engine are part of the key.

    Args:
        model: A LiteLLM model string, such as `openai/gpt-4o-mini`, `anthropic/claude-sonnet-4-5`, `ollama_chat/qwen3`.
        engine: `litellm`, `auto` (DSPy's own stack where it can, else LiteLLM), `lm15` (DSPy's own stack only), or an
            engine object.
        **kwargs: Everything `dspy.LM` takes: `api_base`, `api_key`, `temperature`, `max_tokens`, `cache`, `timeout` ...

    Raises:
        UsageError: If the model string is empty or a local one, or the engine is unknown.

    Example:
        >>> lm = LM("openai/gpt-4o-mini", temperature=0.1)
        >>> lm.engine
        'litellm'
    """

    def __init__(self, model: str, *, engine: Any = "litellm", **kwargs: Any) -> None:
        if not isinstance(model, str) or not model.strip():
            raise UsageError(f"model must be a LiteLLM model string such as openai/gpt-4o-mini, got {model!r}")
        if model == "embedded" or model.startswith("local:"):
            raise UsageError(f"{model}: this release runs no models itself; serve it and pass api_base=")
        if isinstance(engine, str) and engine not in ENGINES:
            raise UsageError(f"engine must be one of {', '.join(ENGINES)} or an engine object, got {engine!r}")
        super().__init__(model, engine=engine, **kwargs)
        self._engine_mark = uuid.uuid4().hex

    def copy(self, **kwargs: Any) -> Any:
        copied = super().copy(**kwargs)
        if copied.engine is not self.engine:
            copied._engine_mark = uuid.uuid4().hex
        return copied

    def keyed(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        """Put the address and the engine into `rollout_id`: the one part of DSPy's cache key that is never sent.

        Not into `self.kwargs`: BestOfN, Refine and SIMBA add numbers to the `rollout_id` there.
        """
        if not kwargs.get("cache", self.cache):
            return kwargs
        mark = f"{_NAMESPACE}{self._namespace(kwargs)}:"
        own = kwargs.get("rollout_id", self.kwargs.get("rollout_id"))
        if isinstance(own, str) and own.startswith(mark):
            return kwargs
        return {**kwargs, "rollout_id": f"{mark}{'' if own is None else own}"}

    def _namespace(self, kwargs: Mapping[str, Any]) -> str:
        """Hash the address and the engine; an engine object shares its cache with copies of this LM alone."""
        prefix = self._provider_name.upper()
        address = [{**self.kwargs, **kwargs}.get(name) for name in ("api_base", "base_url")]
        address += [os.getenv(f"{prefix}_{name}") for name in ("API_BASE", "BASE_URL")] if not any(address) else []
        engine = self.engine if isinstance(self.engine, str) else self._engine_mark
        return hashlib.sha1(repr((address, engine)).encode(), usedforsecurity=False).hexdigest()[:12]

    def dump_state(self) -> dict[str, Any]:
        """Name plain `dspy.LM`, which loads anywhere without unsafe flags; `tale_dspy.load` makes it an `LM` again."""
        return {**without_secrets(super().dump_state()), "_dspy_lm_class": "dspy.clients.lm.LM"}


_NAMESPACE = "tale:"
_NOT_ASKED_FOR = re.compile(rf"({_NAMESPACE}\w+:)?(#\d+)?")
"""A `rollout_id` of ours alone, with the number of a run's repeat or without: the caller asked for no fresh draw."""


def is_cached(lm: Any, prompt: Any, messages: Any, kwargs: dict[str, Any], *, asynchronous: bool) -> bool:
    """Say whether DSPy's cache holds the reply to a call, so that nothing would be sent.

    The one place that knows DSPy's cache keys; those of synchronous and asynchronous calls differ.

    Args:
        lm: Any `dspy.BaseLM`.
        prompt: What it is called with, as are `messages` and `kwargs`.
        messages: See `prompt`.
        kwargs: See `prompt`.
        asynchronous: Whether by `acall`.

    Returns:
        False, too, for a call that DSPy would refuse.
    """
    from dspy.clients.execution import IGNORED_CACHE_KEYS, prepare

    try:
        keyed = lm.keyed(kwargs) if isinstance(lm, KeepsUsage) else kwargs
        call = prepare(lm, prompt, messages, keyed, asynchronous=asynchronous)
    except (TypeError, ValueError, LMError):
        return False
    return call.cache and dspy.cache.get(call.key(lm, asynchronous), IGNORED_CACHE_KEYS) is not None


_SECRET = re.compile(r"(secret|password|authorization|bearer|(keys?|token)(_?id|_provider)?$)", re.IGNORECASE)
_SECRET_WHOLE = re.compile(r"(headers|credentials?|cookies?)$", re.IGNORECASE)
_NO_SECRETS = {"prompt_cache_key"}


def is_secret(name: str, value: object) -> bool:
    """Say whether a setting may hold a key, a token or a header, by its name.

    Numbers are no secrets (`eos_token_id`). A mapping is looked into instead, since the schema of a tool may describe
    a field of any name; only headers and credentials are secret as a whole.
    """
    if name in _NO_SECRETS or isinstance(value, int | float):
        return False
    return bool(_SECRET_WHOLE.search(name) or (_SECRET.search(name) and not isinstance(value, Mapping)))


def without_secrets(settings: Any) -> Any:
    """Return settings without what `is_secret`, at any depth."""
    if isinstance(settings, Mapping):
        return {k: without_secrets(v) for k, v in settings.items() if not is_secret(str(k), v)}
    return [without_secrets(v) for v in settings] if isinstance(settings, list | tuple) else settings


def public_config(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a call that may be written and hashed: no keys, headers, addresses or None."""
    hidden = {"api_base", "base_url", "timeout", "cache", "num_retries"}
    public: dict[str, Any] = without_secrets(settings)
    return {k: v for k, v in public.items() if v is not None and k not in hidden}


def request_hash(model: str, request: Any, config: Mapping[str, Any]) -> str:
    """Hash what decides a reply: model, messages and settings, without secrets. Stable from process to process."""
    row = [model, request, public_config(config) if config else {}]
    return hashlib.sha256(_CANONICAL.encode(row).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _describe(value: Any) -> Any:
    """Describe what JSON cannot hold: a Pydantic model by its schema, anything else by its repr without an address."""
    from pydantic import BaseModel

    if isinstance(value, type) and issubclass(value, BaseModel):
        return value.model_json_schema()
    if isinstance(value, set | frozenset):
        return sorted(map(repr, value))
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))


_CANONICAL = json.JSONEncoder(sort_keys=True, ensure_ascii=False, default=_describe)
