"""`tale_dspy.LM`: make a `dspy.LM` of a model string.

Its engine is pinned, and its usage survives the cache.
"""

import asyncio
import hashlib
import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

import dspy
from dspy import LMUnexpectedError

from tale_dspy.backends import attempts, litellm_call
from tale_dspy.backends.attempts import LMRequest, dspy_retries, is_sending, primary_lm
from tale_dspy.backends.caching import UsageKeepingLM, caller_rollout, namespaced_rollout
from tale_dspy.backends.endpoint import EndpointOptions
from tale_dspy.backends.limiter import Limiter
from tale_dspy.backends.local.model_path import is_local
from tale_dspy.backends.local.sample_request import SampleRequest, use_sample_request
from tale_dspy.backends.native_transport import GuardedEngineStore
from tale_dspy.backends.prices import price_of
from tale_dspy.backends.reasoning_params import SERVERS
from tale_dspy.backends.redaction import without_secrets
from tale_dspy.dspy_bridge import (
    Request,
    is_openai_reasoning_model,
    remember_price_entries,
    remember_routes,
    with_lm_callbacks,
)
from tale_dspy.errors import TaleError, UsageError
from tale_dspy.protocols import RequestSettings, SettingsView

if TYPE_CHECKING:
    from tale_dspy.backends.litellm_clients import LiteLLMClients
    from tale_dspy.backends.local.engine import LocalEngine

Engine = Literal["litellm", "auto", "lm15"]
ENGINES: tuple[Engine, ...] = ("litellm", "auto", "lm15")


class LM(EndpointOptions, UsageKeepingLM):
    """A `dspy.LM` over LiteLLM whose cache tells endpoints apart.

    `dspy.LM` chooses an engine anew for each call; here it is the one named, so that a budget or a thinking reasoning
    control means the same thing each time. DSPy's cache does not look at the address, so that two servers with one
    model name would share answers; here the address and the engine are part of the key.

    A model string `local:PATH`, `local:PATH+ADAPTER` or `embedded` is a Hugging Face model in this process: a folder,
    the name of a model of the hub, or the model that ships with this package, and the folder of a LoRA adapter. It is
    loaded at the first call and shared by all LMs of the process; concurrent calls are written together. It obeys
    `temperature` (None or 0: the likeliest tokens), `top_p`, `top_k`, `stop`, `max_tokens`, `seed` (0 if none is given)
    and `n`, and refuses every other setting. A draw depends on the seed, the prompt, the `rollout_id` and the number of
    the choice, never on who asks at the same time. It costs nothing. `lm.finetune` and
    `dspy.BootstrapFinetune` train it on this machine (see `TrlProvider`).

    Args:
        model: A LiteLLM model string, such as `openai/gpt-4o-mini`, `anthropic/claude-sonnet-4-5`, `ollama_chat/qwen3`,
            or a local one.
        engine: `litellm`, `auto` (DSPy's own stack where it can, else LiteLLM), `lm15` (DSPy's own stack only), or an
            engine object. A local model brings its own, whichever is named.
        server: What answers at `api_base`, where the model string does not tell: `vllm`, `sglang` or `llama.cpp`. It
            says how a budget is sent natively (`tale_dspy.backends.reasoning_params`).
        rpm: Requests a minute that are sent at most, by all copies together; None for no limit.
        tpm: Tokens a minute at most, prompt and `max_tokens` counted before a call is sent; None for no limit.
        fallbacks: Models, or LMs of this class, that are asked in turn when this one fails after its retries: on 429,
            5xx, time-outs, dropped connections and a spent quota. A receipt names the one that answered.
        **kwargs: Everything `dspy.LM` takes: `api_base`, `api_key`, `temperature`, `max_tokens`, `cache`, `timeout` ...
            A local model takes `device`, `dtype`, `max_batch` (see `LocalEngine`) and `timeout`, but no address.

    Raises:
        UsageError: If the model string is empty, the engine or server is unknown, LiteLLM lacks what it needs for
            the Responses API, or a local model cannot be used.
        DataError: If a file of a local model is broken.
        MissingExtraError: If a local model needs a package that is not installed.

    Example:
        >>> lm = LM("openai/gpt-4o-mini", temperature=0.1)
        >>> lm.engine
        'litellm'
    """

    _local: "LocalEngine | None" = None
    local_timeout: float | None = None
    """Seconds a reply of a local model may take from when its row is started; for all others it is among `kwargs`."""
    limiter: Limiter
    _clients: "LiteLLMClients | None" = None

    def __init__(
        self,
        model: str,
        *,
        engine: Any = "litellm",
        server: str | None = None,
        rpm: float | None = None,
        tpm: float | None = None,
        fallbacks: Sequence[Any] = (),
        **kwargs: Any,
    ) -> None:
        if not isinstance(model, str) or not model.strip():
            raise UsageError(f"model must be a LiteLLM model string such as openai/gpt-4o-mini, got {model!r}")
        model = model.strip()
        if isinstance(engine, str) and engine not in ENGINES:
            raise UsageError(f"engine must be one of {', '.join(ENGINES)} or an engine object, got {engine!r}")
        if is_local(model) and isinstance(engine, str):
            engine, kwargs = self._open_local(model, kwargs)
        if server not in (None, *SERVERS):
            raise UsageError(f"server must be one of {', '.join(SERVERS)}, got {server!r}")
        if engine == "litellm" and kwargs.get("model_type") == "responses" and find_spec("mcp") is None:
            raise UsageError(
                "LiteLLM speaks the Responses API only with the package mcp: pip install mcp, or take engine='auto'"
            )
        self.limiter = Limiter(rpm, tpm)  # pyright: ignore[reportIncompatibleVariableOverride]
        super().__init__(model, engine=engine, **_one_limit(model, kwargs))
        self.server = server
        self.fallbacks = tuple(_checked_fallback(other, engine) for other in fallbacks)
        remember_price_entries()
        remember_routes()
        self._engine_store = GuardedEngineStore()
        self._engine_id = uuid.uuid4().hex

    def _open_local(self, model: str, kwargs: RequestSettings) -> "tuple[LocalEngine, RequestSettings]":
        """Return the engine of a local model, and the arguments left over.

        Its asynchronous half is among the arguments.
        """
        from tale_dspy.backends.local.engine import AsyncLocalEngine, LocalEngine

        kwargs = dict(kwargs)
        for name in _SERVER_SETTINGS:
            if kwargs.pop(name, None) is not None:
                raise UsageError(f"{model} runs in this process: it takes no {name}")
        self.local_timeout = _checked_timeout(kwargs.pop("timeout", None))
        options = {name: kwargs.pop(name) for name in _OPTIONS if name in kwargs}
        self._local = LocalEngine(model, **options)
        return self._local, {**kwargs, "async_engine": AsyncLocalEngine(self._local)}

    def infer_provider(self) -> Any:
        """Return what trains this model: for a local one, this process."""
        if not is_local(self.model):
            return super().infer_provider()
        # The one door upwards: training builds on the backends, and DSPy asks an LM for its trainer.
        return import_module("tale_dspy.training.provider").TrlProvider()

    @property
    def identity(self) -> str | None:
        """The hash of the files of a local model at first use, None for other models."""
        return None if self._local is None else self._local.identity

    @property
    def seen(self) -> dict[str, str]:
        """Ids of the questions a local model was trained on, with their role."""
        return {} if self._local is None else self._local.seen

    @property
    def prompt_form(self) -> str | None:
        """The prompt form a local model was trained on; None for every other model."""
        return None if self._local is None else self._local.prompt_form

    def copy(self, **kwargs: Any) -> Any:
        """Return a copy with other settings.

        A copy with another model has that model's engine.
        """
        model: str = kwargs.get("model") or self.model
        stays = "engine" not in kwargs
        chosen = {k: kwargs.pop(k) for k in (*_OPTIONS, "timeout") if k in kwargs and stays and is_local(model)}
        timeout = _checked_timeout(chosen.pop("timeout", self.local_timeout))
        other: LM | None = None
        if stays and (is_local(model) or self._local is not None) and (model != self.model or chosen):
            options: RequestSettings = {**self._local.chosen, **chosen} if self._local and is_local(model) else chosen
            other = LM(model, **options)
            kwargs |= {"engine": other.engine, "async_engine": other._async_engine_spec}
        copied = super().copy(**kwargs)
        if other is not None:
            copied._local, copied.provider = other._local, other.provider
        elif copied.engine is not self._local:
            copied._local = None
        copied.local_timeout = None if copied._local is None else timeout
        if model != self.model:  # its limits are its own
            copied.limiter = Limiter(self.limiter.rpm, self.limiter.tpm)
        if copied.engine is not self.engine:
            copied._engine_id = uuid.uuid4().hex
        return copied

    @property
    def num_retries(self) -> int:
        """How often DSPy retries: never while `tale_dspy.backends.attempts` does."""
        return self._num_retries if dspy_retries(self) else 0

    @num_retries.setter
    def num_retries(self, value: int) -> None:
        self._num_retries = value

    def update_history(self, entry: RequestSettings) -> None:
        """Record an entry with the LM that was called.

        This LM may be a fallback that answers for another one.
        """
        entry = self._priced_stream(entry)
        primary = primary_lm()
        if primary is None or primary is self:
            super().update_history(entry)
        else:
            primary.update_history(entry)

    def _priced_stream(self, entry: RequestSettings) -> RequestSettings:
        """Price a reply that was streamed.

        LiteLLM prices only whole replies.
        """
        usage, price = entry.get("usage") or {}, price_of(self)
        tokens_in, tokens_out = usage.get("prompt_tokens"), usage.get("completion_tokens")
        if (
            entry.get("cost")
            or dspy.settings.send_stream is None
            or price is None
            or tokens_in is None
            or tokens_out is None
        ):
            return entry
        return {**entry, "cost": tokens_in * price.input + tokens_out * price.output}

    def __call__(self, prompt: object = None, *, messages: object = None, **kwargs: Any) -> Any:
        if self._local is None and not is_sending(self):
            return attempts.call(self, super().__call__, LMRequest(prompt, messages, kwargs))
        with self._sample_request(kwargs):
            return super().__call__(prompt, messages=messages, **kwargs)

    async def acall(self, prompt: object = None, *, messages: object = None, **kwargs: Any) -> Any:
        if self._local is None and not is_sending(self):
            return await attempts.acall(self, super().acall, LMRequest(prompt, messages, kwargs))
        if self._local is not None and not self._local.loaded and kwargs.get("cache", self.cache):
            await asyncio.to_thread(lambda: self.identity)  # reads all weights once: not in the event loop
        with self._sample_request(kwargs):
            return await super().acall(prompt, messages=messages, **kwargs)

    def send_once(self, prompt: object = None, *, messages: object = None, **kwargs: Any) -> Any:
        if not self._may_use_litellm(prompt, kwargs):
            return super().send_once(prompt, messages=messages, **kwargs)
        return self._send(prompt, messages=messages, **kwargs)

    async def asend_once(self, prompt: object = None, *, messages: object = None, **kwargs: Any) -> Any:
        if not self._may_use_litellm(prompt, kwargs):
            return await super().asend_once(prompt, messages=messages, **kwargs)
        return await self._asend(prompt, messages=messages, **kwargs)

    @with_lm_callbacks  # as on `dspy.BaseLM.__call__`, in whose place these stand
    def _send(self, prompt: Any = None, *, messages: Any = None, **kwargs: Any) -> Any:
        client = partial(self._litellm_client, kwargs)
        return litellm_call.send(self, client, prompt, messages, kwargs)

    @with_lm_callbacks
    async def _asend(self, prompt: Any = None, *, messages: Any = None, **kwargs: Any) -> Any:
        client = partial(self._litellm_client, kwargs)
        return await litellm_call.asend(self, client, prompt, messages, kwargs)

    def _may_use_litellm(self, prompt: object, kwargs: SettingsView) -> bool:
        explicit = isinstance(prompt, Request) or "request" in kwargs
        return isinstance(self.engine, str) and self.model_type == "chat" and not explicit

    def _litellm_client(self, kwargs: SettingsView, *, asynchronous: bool) -> Any:
        """Return the client LiteLLM sends a call with.

        It is None for providers whose client LiteLLM makes itself.
        """
        from tale_dspy.backends.litellm_clients import LiteLLMClients

        if self._clients is None:
            self._clients = LiteLLMClients()
        return self._clients.client(self.model, {**self.kwargs, **kwargs}, asynchronous=asynchronous)

    @contextmanager
    def _sample_request(self, kwargs: SettingsView) -> Iterator[None]:
        """Name the sample to a local engine.

        Errors of this package pass through DSPy as themselves, though DSPy wraps errors.
        """
        if self._local is None:
            yield
            return
        settings = {**self.kwargs, **kwargs}
        rollout, n = caller_rollout(settings.get("rollout_id")), settings.get("n") or 1
        sample = SampleRequest(
            "" if rollout is None else str(rollout), n if isinstance(n, int) else 1, self.local_timeout
        )
        with use_sample_request(sample):
            try:
                yield
            except LMUnexpectedError as e:
                if isinstance(e.__cause__, TaleError):
                    raise e.__cause__ from None
                raise

    def _get_initial_kwargs(self, *, temperature: Any, max_tokens: Any, **kwargs: Any) -> RequestSettings:
        if self._local is None:
            initial: RequestSettings = super()._get_initial_kwargs(
                temperature=temperature, max_tokens=max_tokens, **kwargs
            )
            return initial
        # DSPy takes a folder named gpt-5 for a model of OpenAI's.
        settings = {"temperature": temperature, "max_tokens": max_tokens, **kwargs}
        return {k: v for k, v in settings.items() if k != "rollout_id" or v is not None}

    def cache_kwargs(self, kwargs: RequestSettings) -> RequestSettings:
        """Put the address and the engine into `rollout_id`.

        This id is the one part of DSPy's cache key that is never sent. `self.kwargs` stays unchanged: BestOfN, Refine
        and SIMBA add numbers to the `rollout_id` there.
        """
        if not kwargs.get("cache", self.cache):
            return kwargs
        rollout = kwargs.get("rollout_id", self.kwargs.get("rollout_id"))
        return {**kwargs, "rollout_id": namespaced_rollout(rollout, self._cache_namespace(kwargs))}

    def _cache_namespace(self, kwargs: SettingsView) -> str:
        """Hash the address and the engine.

        An engine object shares its cache with copies of this LM alone. A local model shares it with all of the same
        files, in any process.
        """
        if self._local is not None:
            return self._local.identity[:12]
        prefix = self._provider_name.upper()
        address = [{**self.kwargs, **kwargs}.get(name) for name in ("api_base", "base_url")]
        address += [os.getenv(f"{prefix}_{name}") for name in ("API_BASE", "BASE_URL")] if not any(address) else []
        engine = self.engine if isinstance(self.engine, str) else self._engine_id
        return hashlib.sha1(repr((address, engine)).encode(), usedforsecurity=False).hexdigest()[:12]

    def __setstate__(self, state: RequestSettings) -> None:
        super().__setstate__(state)
        self._engine_store = GuardedEngineStore()

    def dump_state(self) -> RequestSettings:
        """Name plain `dspy.LM`, which loads anywhere without unsafe flags.

        `tale_dspy.load` makes it an `LM` again.
        """
        state: RequestSettings = {**without_secrets(super().dump_state()), "_dspy_lm_class": "dspy.clients.lm.LM"}
        if self._local is None:
            return state
        state.pop("async_engine", None)
        timeout = {} if self.local_timeout is None else {"timeout": self.local_timeout}
        # The name of an engine and not the engine: that would need unsafe flags, and the model string says it all.
        return {**state, "engine": "litellm", **self._local.chosen, **timeout}


def _one_limit(model: str, kwargs: RequestSettings) -> RequestSettings:
    """Return settings with the one name of the token limit that DSPy reads.

    DSPy makes the name for OpenAI's reasoning models from it.
    """
    limit, other = kwargs.get("max_completion_tokens"), kwargs.get("max_tokens")
    if limit is None:
        return kwargs
    if other not in (None, limit):
        raise UsageError(f"max_tokens {other} and max_completion_tokens {limit} are one limit: give max_tokens alone")
    if not is_openai_reasoning_model(model):
        return kwargs
    return {**{k: v for k, v in kwargs.items() if k != "max_completion_tokens"}, "max_tokens": limit}


def _checked_timeout(timeout: Any) -> float | None:
    if timeout is not None and not (isinstance(timeout, int | float) and timeout > 0):
        raise UsageError(f"timeout must be a number of seconds above 0, got {timeout!r}")
    return timeout


def _checked_fallback(other: Any, engine: Any) -> Any:
    if isinstance(other, str):
        return LM(other, engine=engine if isinstance(engine, str) else "litellm")
    if not isinstance(other, LM):
        raise UsageError(f"a fallback must be a model string or a tale_dspy.LM, got {other!r}")
    return other


_SERVER_SETTINGS = ("api_base", "base_url", "api_key", "headers", "extra_headers", "api_version", "custom_llm_provider")
_OPTIONS = ("device", "dtype", "max_batch")
