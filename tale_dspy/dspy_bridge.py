"""Everything this package imports that `import dspy` does not export.

No other module imports a submodule of DSPy (`tests/test_layout.py`), so a new DSPy is met in one file. Names that DSPy
marks as private, or that say little outside their module, have a plain name here.

Importing it imports DSPy (0.8 s): modules that must stay light import it where they need it.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from importlib import import_module
from sys import modules
from typing import Any, TypeVar, cast
from urllib.request import getproxies
from weakref import WeakKeyDictionary

from dspy import LM
from dspy.adapters.utils import annotation_allows_none, format_field_value, parse_value, translate_field_type
from dspy.clients._deprecation import adapter_message_call, warn_openai_messages
from dspy.clients._http import retry_after_seconds
from dspy.clients.base_lm import GLOBAL_HISTORY
from dspy.clients.call_context import adapter_fallback_scope
from dspy.clients.call_result import usage_dict
from dspy.clients.capabilities import resolve as resolve_engine
from dspy.clients.engines.lm15_engine import LM15Engine
from dspy.clients.execution import IGNORED_CACHE_KEYS
from dspy.clients.execution import _price_legacy as price_litellm_result
from dspy.clients.execution import aexecute as aexecute_call
from dspy.clients.execution import execute as execute_call
from dspy.clients.execution import finalize as finalize_call
from dspy.clients.execution import prepare as prepare_call
from dspy.clients.legacy_outputs import plain as plain_data
from dspy.clients.legacy_outputs import value as item_value
from dspy.clients.lm import _is_openai_reasoning_model as is_openai_reasoning_model
from dspy.clients.model_metadata import model_info
from dspy.clients.model_metadata import rate as token_rate
from dspy.clients.utils_finetune import TrainDataFormat, TrainingStatus, get_finetune_directory
from dspy.lm15 import (
    Config,
    ContextLengthError,
    InvalidRequestError,
    LM15Error,
    Message,
    ProviderError,
    Request,
    Response,
    RouterConfig,
    TextPart,
    UnsupportedFeatureError,
    Usage,
    response_to_events,
)
from dspy.lm15 import TimeoutError as EngineTimeoutError
from dspy.predict.parameter import Parameter
from dspy.teleprompt import Teleprompter
from dspy.utils.callback import BaseCallback
from dspy.utils.callback import with_callbacks as _with_callbacks
from dspy.utils.callback_context import ACTIVE_CALL_ID

from tale_dspy.protocols import CallArguments

__all__ = [
    "ACTIVE_CALL_ID",
    "GLOBAL_HISTORY",
    "IGNORED_CACHE_KEYS",
    "AsyncTransportResponse",
    "BaseCallback",
    "Config",
    "ContextLengthError",
    "EngineTimeoutError",
    "InvalidRequestError",
    "LM15Error",
    "Message",
    "Parameter",
    "ProviderError",
    "Request",
    "Response",
    "Teleprompter",
    "TextPart",
    "TrainDataFormat",
    "TrainingStatus",
    "TransportError",
    "TransportReadError",
    "TransportReadTimeout",
    "TransportResponse",
    "UnsupportedFeatureError",
    "Usage",
    "adapter_fallback_scope",
    "adapter_message_call",
    "aexecute_call",
    "annotation_allows_none",
    "capabilities_planned",
    "engine_read_timeout",
    "execute_call",
    "finalize_call",
    "format_field_value",
    "get_finetune_directory",
    "is_openai_reasoning_model",
    "item_value",
    "model_info",
    "parse_value",
    "plain_data",
    "prepare_call",
    "price_litellm_result",
    "remember_price_entries",
    "remember_routes",
    "replace_transport",
    "resolve_engine",
    "response_to_events",
    "retry_after_seconds",
    "token_rate",
    "translate_field_type",
    "usage_dict",
    "warn_openai_messages",
    "with_lm_callbacks",
]

# By name: this one package of DSPy's brings types, and type checkers would take it for the whole of DSPy.
_transports: Any = import_module("dspy._vendor.lm15.transports")
AsyncTransportResponse: Any = _transports.AsyncTransportResponse
TransportResponse: Any = _transports.TransportResponse
TransportError: Any = _transports.TransportError
TransportReadError: Any = _transports.ReadError
TransportReadTimeout: Any = _transports.ReadTimeout

_costs: Any = import_module("dspy.clients.costs")
_capabilities: Any = import_module("dspy.clients.capabilities")
_backend_selection: Any = import_module("dspy.clients.backend_selection")

_Method = TypeVar("_Method", bound=Callable[..., Any])


def with_lm_callbacks(method: _Method) -> _Method:
    """Call the user's callbacks around a method, as around `BaseLM.__call__`."""
    wrapped: Any = _with_callbacks(method)
    return cast("_Method", wrapped)


def engine_read_timeout(engine: Any) -> float | None:
    """Return the seconds one of DSPy's engines waits for a read.

    It is None where the LM did not set them.
    """
    timeouts = engine.config.timeouts
    seconds: float | None = None if timeouts is None else timeouts.read
    return seconds


def remember_price_entries() -> None:
    """Let DSPy look up the price entry of a model once in a process.

    After each call DSPy searches its whole table for a model that has no entry, such as one on a server of one's own:
    a third of the CPU time of the call. The table never changes once it is read, so what is found stays right.
    """
    if _costs.model_info is model_info:
        _costs.model_info = _remembered_model_info


def _remembered_model_info(provider: str, model: str, *, namespaces: Sequence[str] | None = None) -> dict[str, Any]:
    return _model_info_once(provider, model, None if namespaces is None else tuple(namespaces))


@lru_cache(maxsize=1024)
def _model_info_once(provider: str, model: str, namespaces: tuple[str, ...] | None) -> dict[str, Any]:
    info: dict[str, Any] = model_info(provider, model, namespaces=namespaces)
    # DSPy looks through all names of an entry for the lengths at which a price changes.
    return {name: value for name, value in info.items() if "cost" in name} or info


def remember_routes() -> None:
    """Let DSPy find the provider of a model once in a process.

    At each call DSPy builds two engines only to ask them which provider a model string means: a tenth of the CPU time
    of the call. Nothing else decides it, unless the LM declares providers of its own; DSPy then finds it anew.
    """
    if _capabilities.resolve is resolve_engine:
        _capabilities.resolve = _route_of_lm
        _backend_selection.LM15Engine = _RouteFinder


class _RouteFinder:
    """Stand in for the engine that DSPy builds to find a route."""

    def __init__(self, config: Any, *, model_type: str) -> None:
        self._config = config
        self._model_type = model_type

    def resolve(self, model: str) -> Any:
        if self._config.providers or type(model) is not str:  # a kind of text may say its provider
            return LM15Engine(self._config, model_type=self._model_type).resolve(model)
        return _find_route(model, self._model_type)


def _route_of_lm(lm: Any) -> Any:
    if getattr(lm, "_providers", ()) or type(lm.model) is not str:
        return resolve_engine(lm)
    return _find_route(lm.model, lm.model_type)


@lru_cache(maxsize=1024)
def _find_route(model: str, model_type: str) -> Any:
    return LM15Engine(RouterConfig(env={}), model_type=model_type).resolve(model)


@contextmanager
def capabilities_planned(lm: Any, options: CallArguments) -> Iterator[None]:
    """Let DSPy ask LiteLLM once per LM what the LM's model can do.

    In an event loop DSPy asks before each call, in a thread for the purpose: an eighth of the CPU time of a call. The
    result counts until the LM's model or provider changes, or a model is registered with LiteLLM.

    Args:
        lm: The LM that an adapter is about to call.
        options: The settings that the adapter was given, the same object that it hands to DSPy.
    """
    with _capabilities.planning_scope(lm, options):
        circumstances = _capability_circumstances(lm, options)
        if circumstances is None:
            yield
            return
        scope = _capabilities._planning.get()
        at, remembered = _litellm_capabilities.get(lm, (None, None))
        if at == circumstances:
            scope.value = remembered
        yield
        if scope.value is not None:
            _litellm_capabilities[lm] = circumstances, scope.value


_litellm_capabilities: WeakKeyDictionary[Any, tuple[tuple[object, ...], Any]] = WeakKeyDictionary()


def _capability_circumstances(lm: Any, options: CallArguments) -> tuple[object, ...] | None:
    """Return what decides what LiteLLM says of an LM's model.

    It is None where that is not known, and DSPy asks at each call.
    """
    if not isinstance(lm, LM) or lm.engine != "litellm" or getattr(lm, "_providers", ()):
        return None
    # Nothing is imported here. The import takes seconds, which DSPy spends outside the event loop; and where another
    # thread is in the middle of it, an import of a part would run that part over a package of which half is missing.
    prices = getattr(modules.get("litellm"), "model_cost", None)
    generation = getattr(modules.get("litellm.utils"), "get_model_cost_mutation_generation", None)
    if prices is None or generation is None:
        return None
    provider = options.get("custom_llm_provider", lm.kwargs.get("custom_llm_provider"))
    return lm.model, lm.model_type, provider, generation(), len(prices)


def replace_transport(engine: Any, wrap: Callable[[Any], Any]) -> None:
    """Wrap the transport that the providers of a DSPy engine share.

    It must be done before the engine's first request. Where no proxy is configured then, the transport does not look
    again: it would read the whole environment at each request, a tenth of the CPU time of a call.
    """
    transport: Any = engine.router._shared_transport()
    if not getproxies():
        transport._trust_env = False
    engine.router._transport = wrap(transport)
