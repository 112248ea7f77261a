"""The predictor inside a module.

Its saved state carries field names; it is loaded by them or refused.

DSPy assigns the fields of a saved state by position and takes every setting of a language model but its address. Here
a state of other fields is a `StateError`, and a file can set prompts, demos and sampling, but neither an address nor a
key.
"""

import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import dspy
from dspy import AdapterParseError, LMError, settings

from tale_dspy.accounting.calls import record_calls, role
from tale_dspy.adapter_names import adapter_named, describe_adapter
from tale_dspy.backends.control_registry import parameter_names
from tale_dspy.backends.redaction import public_config
from tale_dspy.dspy_bridge import adapter_message_call
from tale_dspy.errors import StateError
from tale_dspy.programs.copying import copy_program, modules_of
from tale_dspy.programs.recovery import (
    ESCALATIONS,
    REFUSED,
    AnswerRecovery,
    ClosingRequest,
    Policy,
    check_on_truncation,
)
from tale_dspy.programs.registry import RegisteredModule
from tale_dspy.programs.state import ModuleState
from tale_dspy.programs.steps import PendingCall, Steps, arun_steps, run_steps
from tale_dspy.protocols import CallArguments, JsonObject
from tale_dspy.task_signature import BUDGET

logger = logging.getLogger(__name__)

_SAMPLING = ("temperature", "top_p", "top_k", "min_p", "n", "seed", "stop", "logit_bias", "logprobs", "top_logprobs")
_PENALTIES = ("presence_penalty", "frequency_penalty", "repetition_penalty")
_LENGTH = ("max_tokens", "max_completion_tokens", "verbosity", "timeout")
_FIXED_SETTINGS = frozenset((*_SAMPLING, *_PENALTIES, *_LENGTH, "extra_body", "rollout_id"))

BROKEN = (KeyError, TypeError, ValueError, AttributeError, NameError, RuntimeError, LMError)
"""What a file with parts missing or of the wrong shape makes Python, pydantic or DSPy raise."""

TOKENS_LEFT = "tokens_left"
"""The input field in which a step of a `BudgetedReAct` reads what is left of its budget."""
ADDED_INPUTS = (BUDGET, TOKENS_LEFT)
"""Inputs a predictor gains by being budgeted: they may be missing in a saved state."""

_NAMES = "field_names"
_LISTS = ("traces", "train", "demos")
_LM = {"model", "model_type", "cache", "num_retries", "engine", "use_developer_role", "_dspy_lm_class"}
_LM |= {"device", "dtype", "max_batch"}  # of a local model


class TalePredict(dspy.Predict):  # type: ignore[misc]  # dspy ships no types
    """A `dspy.Predict` whose saved state carries its field names.

    A state is loaded by these names or refused.

    Attributes:
        on_truncation: What is done about a reply that is empty or was cut: `force_answer`, `retry_larger` or None
        (`TaleModule`).
    """

    signature: Any
    on_truncation: Policy | None = None
    default_adapter: Any = None
    """Renders calls where no adapter is configured; None is `TaleAdapter`."""

    def forward(self, **kwargs: object) -> dspy.Prediction:
        return super().forward(**kwargs) if self.on_truncation is None else run_steps(self._recovering_steps(kwargs))

    async def aforward(self, **kwargs: object) -> dspy.Prediction:
        if self.on_truncation is None:
            return await super().aforward(**kwargs)
        return await arun_steps(self._recovering_steps(kwargs))

    def _recovering_steps(self, kwargs: CallArguments) -> Steps[dspy.Prediction]:
        """Yield the first attempt and its recovery.

        A truncated reply is recovered as `on_truncation` says.
        """
        with record_calls() as calls:
            recovery = AnswerRecovery(self, kwargs, calls)
            recovery.note_answer((yield self._mend_parse_errors(kwargs)))
            with _recovery_scope():
                if self.on_truncation == "force_answer" and recovery.cut():
                    request = recovery.closing_request()
                    with suppress(*REFUSED), adapter_message_call(request.lm, request.messages):
                        recovery.note_closed_answer(request.read((yield _closing_call(request))))
                while self.on_truncation == "retry_larger" and recovery.attempts < ESCALATIONS and recovery.cut():
                    with suppress(*REFUSED):
                        recovery.note_answer((yield self._mend_parse_errors(recovery.enlarged_call())))
        return recovery.result()

    def _mend_parse_errors(self, kwargs: CallArguments) -> PendingCall:
        """Return a call that gives parse errors instead of raising them.

        DSPy's own adapters raise them for a reply without markers.
        """

        def call() -> dspy.Prediction | AdapterParseError:
            try:
                return super(TalePredict, self).forward(**kwargs)
            except AdapterParseError as e:
                return e

        async def acall() -> dspy.Prediction | AdapterParseError:
            try:
                return await super(TalePredict, self).aforward(**kwargs)
            except AdapterParseError as e:
                return e

        return PendingCall(call, acall)

    def dump_state(self, json_mode: bool = True) -> JsonObject:
        state = super().dump_state(json_mode=json_mode)
        if state["lm"]:  # DSPy leaves out `api_key` alone: no headers, addresses or other secrets either
            shared = {k: state["lm"][k] for k in ("cache", "num_retries") if k in state["lm"]}
            state["lm"] = {**shared, **public_config(state["lm"])}
        settings: dict[str, str | None] = {} if self.on_truncation is None else {"on_truncation": self.on_truncation}
        if self.default_adapter is not None:
            settings["default_adapter"] = describe_adapter(self.default_adapter)
        # What budgeting added comes last: a plain dspy.ChainOfThought, which loads by position, is not shifted by it.
        fields = dict(zip(self.signature.fields, state["signature"]["fields"], strict=True))
        names = sorted(fields, key=lambda name: name in ADDED_INPUTS)
        signature = {**state["signature"], "fields": [fields[name] for name in names]}
        return {**state, "signature": signature, _NAMES: names, **settings}

    def load_state(self, state: JsonObject, *, allow_unsafe_lm_state: bool = False) -> "TalePredict":
        """Load a state that carries field names.

        Any other goes through `named` first.

        Raises:
            StateError: If the saved fields are not this predictor's, or the state is broken.
        """
        if _NAMES not in state:
            raise StateError(
                "a predictor that another program saved holds no field names: load it into that program, and convert "
                "the program with tale_dspy.budgeted"
            )
        try:
            lists = {k: _as_list(k, state[k]) for k in _LISTS}
            signature = {"instructions": _as_text(state["signature"]["instructions"]), "fields": self._by_name(state)}
            lm = state["lm"] if allow_unsafe_lm_state else _allowed_lm_settings(state["lm"])
            on_truncation = check_on_truncation(state.get("on_truncation", self.on_truncation))
            known = {
                **lists,
                "signature": signature,
                "fields": state.get("fields", {}),
                "lm": lm,
                "on_truncation": on_truncation,
            }
            default_adapter = adapter_named(state["default_adapter"]) if "default_adapter" in state else None
            super().load_state(known, allow_unsafe_lm_state=allow_unsafe_lm_state)
            self.default_adapter = default_adapter or self.default_adapter
        except BROKEN as e:
            raise as_state_error(e) from e
        return self

    def named(self, state: Mapping[str, Any]) -> JsonObject:
        """Add field names to a state without, such as a `dspy.ChainOfThought`'s.

        `token_budget` may be missing in it.

        Raises:
            StateError: If its fields are not recognised as this predictor's.
        """
        saved = state["signature"]["fields"]
        names = [k for k in self.signature.fields if k not in ADDED_INPUTS or len(saved) == len(self.signature.fields)]
        own_fields = self._own_fields()
        if len(saved) != len(names) or not all(
            _is_same_field(k, own_fields[k], f) for k, f in zip(names, saved, strict=True)
        ):
            raise self._fields_differ(", ".join(str(f["prefix"]) for f in saved))
        return {**state, _NAMES: names}

    def _by_name(self, state: Mapping[str, Any]) -> list[dict[str, str]]:
        names, saved = state[_NAMES], state["signature"]["fields"]
        fields = {
            k: {part: _as_text(f[part]) for part in ("prefix", "description")}
            for k, f in zip(names, saved, strict=True)
        }
        own_fields = self._own_fields()
        unlike = [k for k in own_fields if k not in ADDED_INPUTS] != [k for k in fields if k not in ADDED_INPUTS]
        if unlike or fields.keys() - own_fields.keys():
            raise self._fields_differ(", ".join(map(str, names)))
        return [fields.get(k, own_fields[k]) for k in own_fields]

    def _own_fields(self) -> dict[str, dict[str, str]]:
        return dict(zip(self.signature.fields, self.signature.dump_state()["fields"], strict=True))

    def _fields_differ(self, saved: str) -> StateError:
        return StateError(
            f"the saved state has the fields {saved}, this program has {', '.join(self.signature.fields)}: not loaded"
        )


def _closing_call(request: ClosingRequest) -> PendingCall:
    arguments = {"messages": request.messages, **request.config}
    return PendingCall(lambda: request.lm(**arguments), lambda: request.lm.acall(**arguments))


@contextmanager
def _recovery_scope() -> Iterator[None]:
    """Book calls as recoveries.

    They do not enter DSPy's trace, and none of them is streamed.
    """
    with role("recovery"), settings.context(trace=None, send_stream=None):
        yield


def load_parameters(program: dspy.Module, state: Mapping[str, object], *, allow_unsafe_lm_state: bool = False) -> None:
    """Load a state by name.

    It is one of this program, or of the same program before its ChainOfThoughts were budgeted. What such a state cannot
    tell (the estimators, limits, what was seen) stays as it is. The program is not touched if anything does not fit.

    Raises:
        StateError: If a predictor is missing in the state, its fields are others, or the state is broken.
    """
    about = state.get("tale_dspy")
    whole = isinstance(about, dict) and about.get("class") == type(program).__name__
    for target in (copy_program(program), program):
        gained = set() if whole else _added_parameters(target)
        for name, parameter in target.named_parameters():
            try:
                saved = _saved_state(name, parameter, state)
                if saved is None and id(parameter) not in gained and _is_required(parameter):
                    raise StateError(f"not in the saved state, which is none of this {type(program).__name__}")
                if isinstance(parameter, dspy.Module) and saved is not None:
                    parameter.load_state(saved, allow_unsafe_lm_state=allow_unsafe_lm_state)
                elif saved is not None:
                    parameter.load_state(saved)
            except BROKEN as e:
                raise StateError(f"{name}: {as_state_error(e)}") from e


def _is_required(parameter: object) -> bool:
    return not isinstance(parameter, ModuleState) or parameter.required


def as_state_error(error: Exception) -> StateError:
    """Return an error that a file caused as a StateError."""
    return error if isinstance(error, StateError) else StateError(f"broken state: {type(error).__name__}: {error}")


def _saved_state(name: str, parameter: Any, state: Mapping[str, Any]) -> Any:
    if not isinstance(parameter, TalePredict):
        return state.get(name)
    # Where a Predict was budgeted its state stands under the module's name, or is the whole.
    whole = state if "signature" in state else None
    saved = state.get(name, state.get(name.removesuffix(".predict")) if "." in name else whole)
    return saved if saved is None or _NAMES in saved else parameter.named(saved)


def _added_parameters(program: dspy.Module) -> set[int]:
    """Return the ids of the parameters that a program gains by being budgeted."""
    states = {id(p) for _, p in program.named_parameters() if isinstance(p, ModuleState)}
    ours = [module for module in modules_of(program) if isinstance(module, RegisteredModule)]
    added = [vars(module)[name] for module in ours for name in module.added_modules]
    return states | {id(p) for module in added for _, p in module.named_parameters()}


def saved_settings() -> frozenset[str]:
    """Return the names of a call's settings that are saved, and read from a file."""
    return _FIXED_SETTINGS.union(parameter_names().settings)


def savable_settings(config: Mapping[str, object]) -> JsonObject:
    """Return the settings of a call that a file may hold.

    A warning names the ones that are left out.
    """
    known = saved_settings()
    lost = sorted(name for name in config if name not in known)
    if lost:
        logger.warning("settings that are not saved, give them again after loading: %s", ", ".join(lost))
    return {name: value for name, value in config.items() if name in known}


def checked_settings(config: Mapping[str, object]) -> JsonObject:
    """Return the settings of a call that a file holds.

    Raises:
        StateError: If one is none that is taken from a file.
    """
    known = saved_settings()
    for name in config:
        if name not in known:
            raise StateError(f"setting {name!r} is not taken from a file: construct the program and call .load on it")
    return dict(config)


def _is_same_field(name: str, fields: Mapping[str, str], saved: Mapping[str, str]) -> bool:
    """Return whether a saved field without a name is this one.

    It is recognised by the name in its description, else by its wording. Its prefix alone does not decide, because
    COPRO rewrites that of the last output.
    """
    placeholder = re.fullmatch(r"\$\{(\w+)\}", saved["description"])
    if placeholder:
        return placeholder[1] == name
    return saved["prefix"] == fields["prefix"] or saved["description"] == fields["description"]


def _as_text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} should be a text")
    return value


def _as_list(name: str, value: object) -> list[Any]:
    if not isinstance(value, list) or (name == "demos" and not all(isinstance(demo, dict) for demo in value)):
        raise TypeError(f"{name} should be a list of objects")
    return value


def _allowed_lm_settings(lm: Mapping[str, Any] | None) -> JsonObject | None:
    """Drop addresses, headers, fallbacks and credentials from an LM's settings.

    A file must not decide them.
    """
    if lm is None:
        return None
    known = _LM | saved_settings()
    dropped = sorted(k for k, value in lm.items() if k not in known and value not in (None, {}))
    if dropped:
        logger.warning("settings of a language model that are not taken from a file: %s", ", ".join(dropped))
    return {k: v for k, v in lm.items() if k in known}
