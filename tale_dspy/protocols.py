"""Protocols of the DSPy objects this package uses, and types of JSON data.

The objects are a language model, a program, a predictor and an adapter.

DSPy ships no types, so a type checker sees `dspy.LM` and `dspy.Module` as `Any` or as their source: these protocols say
which members are used. Any object that has them serves; nothing here imports DSPy.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol, Self, TypeAlias, runtime_checkable

__all__ = [
    "AsyncProgram",
    "CallArguments",
    "ChatMessages",
    "JsonObject",
    "LanguageModel",
    "Predictor",
    "Program",
    "PromptAdapter",
    "RequestSettings",
    "SettingsView",
]

JsonObject: TypeAlias = dict[str, Any]
"""A JSON object that was read, or is about to be written: its readers check what they take out of it."""

CallArguments: TypeAlias = dict[str, Any]
"""Keywords of one call of a module or a model: values of its input fields, and settings such as `config`."""

ChatMessages: TypeAlias = list[dict[str, Any]]
"""Chat messages as OpenAI's API spells them: `role` and `content`, and whatever else a provider allows."""

RequestSettings: TypeAlias = dict[str, Any]
"""Settings of a request by their names: `temperature`, `max_tokens`, `reasoning_effort` and others."""

SettingsView: TypeAlias = Mapping[str, Any]
"""Settings that are read and not changed."""


@runtime_checkable
class LanguageModel(Protocol):
    """A `dspy.BaseLM`.

    It has a model string, the settings of its requests, and two ways to call it.
    """

    model: str
    """Provider and name, as LiteLLM spells them: `openai/gpt-5-mini`."""

    kwargs: RequestSettings
    """Settings sent with every request: `temperature`, `max_tokens`, `api_base` and the like."""

    history: list[Any]
    """DSPy's record of the calls, newest last."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Send a prompt or messages.

        It returns the texts of the reply, or DSPy's response object.
        """
        ...

    async def acall(self, *args: Any, **kwargs: Any) -> Any:
        """Do as `__call__` does, without blocking the event loop."""
        ...

    def copy(self, **kwargs: Any) -> Self:
        """Return a model with other settings.

        Neither history nor later changes are shared.
        """
        ...

    def dump_state(self) -> JsonObject:
        """Return what `load_state` needs to build the model again, API keys left out."""
        ...


@runtime_checkable
class Program(Protocol):
    """A `dspy.Module`: what runs, searches and optimizers ask, copy, and save."""

    callbacks: list[Any]
    """DSPy callbacks of this module alone."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Answer one question; return a `dspy.Prediction`."""
        ...

    async def acall(self, *args: Any, **kwargs: Any) -> Any:
        """Do as `__call__` does, without blocking the event loop."""
        ...

    def named_predictors(self) -> Iterable[tuple[str, Any]]:
        """Return the predictors inside with the paths that lead to them."""
        ...

    def named_parameters(self) -> Iterable[tuple[str, Any]]:
        """Return the parameters inside, with the paths that lead to them.

        Parameters are predictors and retrievers.
        """
        ...

    def named_sub_modules(self, type_: Any = None, skip_compiled: bool = False) -> Iterable[tuple[str, Any]]:
        """Return this module and those inside, each once, with their paths."""
        ...

    def predictors(self) -> list[Any]:
        """Return the predictors inside."""
        ...

    def deepcopy(self) -> Any:
        """Return a copy that shares no predictor with the original."""
        ...

    def dump_state(self, json_mode: bool = True) -> JsonObject:
        """Return the learned state: demos, instructions, budgets."""
        ...

    def load_state(self, state: Any) -> Any:
        """Take over what `dump_state` gave."""
        ...

    def set_lm(self, lm: Any) -> None:
        """Give every predictor inside this language model."""
        ...


@runtime_checkable
class AsyncProgram(Protocol):
    """A program that can wait without a thread."""

    def aforward(self, **kwargs: object) -> object:
        """Answer a question, in an event loop."""
        ...


@runtime_checkable
class Predictor(Program, Protocol):
    """A `dspy.Predict`: one prompt, with its signature, demos and language model."""

    signature: Any
    """A class derived from `dspy.Signature`: the fields that are asked and answered."""

    demos: list[Any]
    """Worked examples that the prompt shows."""

    lm: Any
    """The language model of this predictor alone, or None for the one of `dspy.settings`."""

    config: RequestSettings
    """Settings of each of its calls, on top of the language model's."""


@runtime_checkable
class PromptAdapter(Protocol):
    """A `dspy.Adapter`.

    It turns a signature into messages, and a reply into values of its fields.
    """

    def __call__(self, lm: Any, lm_kwargs: RequestSettings, signature: Any, demos: Any, inputs: Any) -> Any:
        """Ask the model and return the output fields, one dictionary a completion."""
        ...

    def format(self, signature: Any, demos: list[dict[str, Any]], inputs: dict[str, Any]) -> ChatMessages:
        """Return the messages that ask for the signature's outputs."""
        ...

    def parse(self, signature: Any, completion: str) -> Mapping[str, Any]:
        """Return the values of the output fields in a reply."""
        ...
