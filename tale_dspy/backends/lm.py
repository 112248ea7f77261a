"""`tale_dspy.LM`: a model string -> a dspy.LM whose engine is pinned and whose usage survives the cache."""

import hashlib
import json
import uuid
from collections.abc import Mapping
from typing import Any, Literal

import dspy

from tale_dspy.errors import UsageError

Engine = Literal["litellm", "auto", "lm15"]
ENGINES: tuple[Engine, ...] = ("litellm", "auto", "lm15")


class KeepsUsage(dspy.LM):  # type: ignore[misc]  # dspy ships no types
    """An LM whose usage can still be read from a cache hit on the LiteLLM path, where DSPy erases it."""

    def _process_completion(self, response: Any, merged_kwargs: dict[str, Any]) -> Any:
        from dspy.clients.legacy_outputs import plain, value

        # Runs before the reply goes into the cache and again on each hit, when `usage` is already empty.
        usage, hidden = value(response, "usage", None), value(response, "_hidden_params", None)
        if usage and isinstance(hidden, dict):
            hidden["tale_usage"] = plain(dict(usage))
        return super()._process_completion(response, merged_kwargs)


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

    def __call__(self, prompt: Any = None, *, messages: Any = None, **kwargs: Any) -> Any:
        return super().__call__(prompt, messages=messages, **self._in_namespace(kwargs))

    async def acall(self, prompt: Any = None, *, messages: Any = None, **kwargs: Any) -> Any:
        return await super().acall(prompt, messages=messages, **self._in_namespace(kwargs))

    def _in_namespace(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        """Put the address and the engine into `rollout_id`: the one part of DSPy's cache key that is never sent.

        Not into `self.kwargs`: BestOfN, Refine and SIMBA add numbers to the `rollout_id` there.
        """
        if not kwargs.get("cache", self.cache):
            return kwargs
        own = kwargs.get("rollout_id", self.kwargs.get("rollout_id"))
        return {**kwargs, "rollout_id": f"{_NAMESPACE}{self.namespace}:{'' if own is None else own}"}

    @property
    def namespace(self) -> str:
        """What the cache tells apart: a hash of the address and the engine; an engine object shares with no other."""
        address = self.kwargs.get("api_base") or self.kwargs.get("base_url") or ""
        engine = self.engine if isinstance(self.engine, str) else f"{_PROCESS}{id(self.engine)}"
        return hashlib.sha1(f"{address}|{engine}".encode(), usedforsecurity=False).hexdigest()[:12]

    def _warn_zero_temp_rollout(self, temperature: float | None, rollout_id: Any) -> None:
        if isinstance(rollout_id, str) and rollout_id.startswith(_NAMESPACE) and rollout_id.endswith(":"):
            return  # ours alone: the caller asked for no fresh draw
        super()._warn_zero_temp_rollout(temperature, rollout_id)

    def dump_state(self) -> dict[str, Any]:
        """Name plain `dspy.LM`, which loads anywhere without unsafe flags; `tale_dspy.load` makes it an `LM` again."""
        return {**super().dump_state(), "_dspy_lm_class": "dspy.clients.lm.LM"}


_NAMESPACE = "tale:"
_PROCESS = uuid.uuid4().hex

SECRET_KEYS = frozenset({"api_key", "headers", "extra_headers", "azure_ad_token", "aws_secret_access_key"})
"""Settings of an LM that are never written anywhere."""


def public_config(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a call that may be written and hashed: no keys, headers, addresses or None."""
    hidden = SECRET_KEYS | {"api_base", "base_url", "timeout", "cache", "num_retries"}
    return {
        k: v
        for k, v in settings.items()
        if v is not None and k not in hidden and not any(part in k for part in ("key", "token_provider", "secret"))
    }


def request_hash(model: str, request: Any, config: Mapping[str, Any]) -> str:
    """Hash what decides a reply: model, messages and settings, without secrets."""
    row = {"model": model, "request": request, "config": public_config(config)}
    text = json.dumps(row, sort_keys=True, ensure_ascii=False, default=repr)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
