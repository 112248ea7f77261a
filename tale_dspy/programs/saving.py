"""One JSON file and back: DSPy's own state, plus what is needed to build the program without its source.

DSPy's state holds neither class nor field names nor types, and assigns fields by position. `TalePredict` writes the
names and reads by them; `load` builds the program from a registry of names, never from an import path.
"""

import ast
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, Optional, Union

import dspy
from dspy.adapters.utils import get_annotation_name

from tale_dspy.adapter import BUDGET, REASONING, TaleAdapter
from tale_dspy.errors import StateError

FORMAT = 1
_NAMES = "field_names"
_TYPES: dict[str, Any] = {
    **{t.__name__: t for t in (str, int, float, bool, list, dict, tuple, set, bytes)},
    "Any": Any,
    "Literal": Literal,
    "Optional": Optional,
    "Union": Union,
    "None": type(None),
}


class TalePredict(dspy.Predict):  # type: ignore[misc]  # dspy ships no types
    """A `dspy.Predict` whose saved state carries its field names, and that loads by name or refuses."""

    def dump_state(self, json_mode: bool = True) -> dict[str, Any]:
        return {**super().dump_state(json_mode=json_mode), _NAMES: list(self.signature.fields)}

    def load_state(self, state: dict[str, Any], *, allow_unsafe_lm_state: bool = False) -> "TalePredict":
        """Load a state of this predictor, or one without `token_budget` such as `dspy.ChainOfThought` saves.

        Raises:
            StateError: If the saved fields are not this predictor's.
        """
        state = dict(state)
        names = state.pop(_NAMES, None)
        saved = state["signature"]["fields"]
        fields = self._by_name(names, saved) if names else self._by_prefix(saved)
        state["signature"] = {**state["signature"], "fields": fields}
        super().load_state(state, allow_unsafe_lm_state=allow_unsafe_lm_state)
        return self

    def _by_name(self, names: list[str], saved: list[dict[str, Any]]) -> list[dict[str, Any]]:
        told = dict(zip(names, saved, strict=True))
        own = dict(zip(self.signature.fields, self.signature.dump_state()["fields"], strict=True))
        if [k for k in own if k != BUDGET] != [k for k in told if k != BUDGET] or (
            BUDGET in told and BUDGET not in own
        ):
            raise self._refused(", ".join(names))
        return [told.get(k, own[k]) for k in own]

    def _by_prefix(self, saved: list[dict[str, Any]]) -> list[dict[str, Any]]:
        own = self.signature.dump_state()["fields"]
        names = list(self.signature.fields)
        at = names.index(BUDGET) if BUDGET in names and len(saved) == len(own) - 1 else None
        whole = saved if at is None else [*saved[:at], own[at], *saved[at:]]
        # COPRO rewrites the prefix of the last output, so that one may differ.
        if len(whole) != len(own) or any(
            a["prefix"] != b["prefix"] for a, b in list(zip(whole, own, strict=True))[:-1]
        ):
            raise self._refused(", ".join(str(f["prefix"]) for f in saved))
        return whole

    def _refused(self, saved: str) -> StateError:
        return StateError(
            f"the saved state has the fields {saved}, this program has {', '.join(self.signature.fields)}: not loaded"
        )


def registry() -> dict[str, Callable[..., Any]]:
    """Return the classes a saved program may name."""
    from tale_dspy.programs.budgeted import BudgetedChainOfThought
    from tale_dspy.programs.chain_of_draft import ChainOfDraft
    from tale_dspy.programs.concise import Concise
    from tale_dspy.programs.cot import VanillaCoT
    from tale_dspy.programs.direct import DirectAnswer
    from tale_dspy.programs.estimator import BudgetEstimator
    from tale_dspy.programs.tale_ep import TaleEP

    classes = (DirectAnswer, VanillaCoT, Concise, ChainOfDraft, BudgetedChainOfThought, BudgetEstimator, TaleEP)
    return {c.__name__: c for c in classes}


def describe(module: Any) -> dict[str, Any]:
    """Return what `load` needs beside DSPy's state: class, signature with types, adapter and options."""
    from tale_dspy.programs.tale_ep import TaleEP

    signature = module.predict.signature
    fields = [
        [k, "in" if k in signature.input_fields else "out", get_annotation_name(f.annotation)]
        for k, f in signature.fields.items()
        if k not in (REASONING, BUDGET)
    ]
    options = {k: v for k, v in vars(module).items() if k in (BUDGET, "estimate_from") and v is not None}
    return {
        "format": FORMAT,
        "class": type(module).__name__,
        "signature": fields,
        "adapter": describe_adapter(module.adapter),
        "options": options,
        "estimator": type(module.estimator).__name__ if isinstance(module, TaleEP) else None,
    }


def describe_adapter(adapter: Any) -> str | None:
    """Name an adapter: its class, and the form of a `TaleAdapter`."""
    if adapter is None:
        return None
    return (
        f"TaleAdapter:{adapter.form}" if isinstance(adapter, TaleAdapter) and adapter.form else type(adapter).__name__
    )


def load(path: str | Path, *, lm: Any = None) -> Any:
    """Build a program from a file that `program.save("x.json")` wrote, in any process.

    Nothing is unpickled and no class is imported by a name from the file. An address (`api_base`) is never taken from
    a file: give it again with `lm=`.

    Args:
        path: The JSON file.
        lm: Replaces the language models saved with the program.

    Raises:
        StateError: If the file is none, or of a class or with types that cannot be built from it; such a program is
            constructed in Python and loaded with its own `.load(path)`.
    """
    state = _read(Path(path))
    program = _build(state["tale_dspy"], path)
    try:
        program.load_state(state)
    except (KeyError, TypeError, ValueError, AttributeError) as e:
        if isinstance(e, StateError):
            raise
        raise StateError(f"{path} is not a whole saved program: {type(e).__name__}: {e}") from e
    for _, predictor in program.named_predictors():
        if type(predictor.lm) is dspy.LM:
            predictor.lm = _ours(predictor.lm)
    if lm is not None:
        program.set_lm(lm)
    return program


def _ours(lm: Any) -> Any:
    from tale_dspy.backends.lm import LM

    state = {k: v for k, v in lm.dump_state().items() if k != "_dspy_lm_class"}
    return LM(**{"engine": "auto", **state})


def _read(path: Path) -> dict[str, Any]:
    if path.suffix != ".json":
        raise StateError(f"{path} must be a .json file written by program.save; pickles are never loaded")
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StateError(f"{path} does not exist") from None
    except (OSError, ValueError) as e:
        raise StateError(f"{path} cannot be read as JSON: {e}") from e
    if not isinstance(state, dict) or not isinstance(state.get("tale_dspy"), dict):
        raise StateError(
            f"{path} was not saved by a tale_dspy module: construct the program and call .load({str(path)!r})"
        )
    return state


def _build(about: dict[str, Any], path: str | Path) -> Any:
    classes = registry()
    wanted = [about.get("class"), *([about["estimator"]] if about.get("estimator") else [])]
    unknown = [name for name in wanted if name not in classes]
    if about.get("format") != FORMAT or unknown:
        what = f"class {unknown[0]!r}" if unknown else f"format {about.get('format')!r}"
        raise StateError(f"{path}: {what} cannot be built from a file: construct the program and call .load on it")
    try:
        fields = {name: (type_from_text(text), _field(side)) for name, side, text in about["signature"]}
        options = dict(about.get("options") or {})
        return classes[about["class"]](dspy.Signature(fields), adapter=_adapter(about.get("adapter")), **options)
    except (KeyError, TypeError, ValueError) as e:
        raise StateError(f"{path} cannot be built: {e}") from e


def _field(side: str) -> Any:
    return dspy.InputField() if side == "in" else dspy.OutputField()


def _adapter(name: str | None) -> Any:
    known = {"ChatAdapter": dspy.ChatAdapter, "JSONAdapter": dspy.JSONAdapter, "XMLAdapter": dspy.XMLAdapter}
    if name is None:
        return None
    kind, _, form = name.partition(":")
    if kind == "TaleAdapter":
        return TaleAdapter(form or None)
    if kind not in known:
        raise StateError(f"adapter {kind!r} cannot be built from a file: construct the program and call .load on it")
    return known[kind]()


def type_from_text(text: str) -> Any:
    """Turn `list[str]`, `Literal['a', 'b']` or `int | None` into the type; nothing is evaluated.

    Raises:
        StateError: If it names anything but builtins and typing's Literal, Optional, Union and Any.
    """
    try:
        return _type(ast.parse(text, mode="eval").body)
    except (SyntaxError, KeyError, TypeError, ValueError) as e:
        raise StateError(
            f"type {text!r} cannot be built from a file: construct the program with it and call .load"
        ) from e


def _type(node: ast.expr) -> Any:
    match node:
        case ast.Name(id=name):
            return _TYPES[name]
        case ast.Constant(value=None):
            return type(None)
        case ast.Attribute(attr=name):
            return _TYPES[name]
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _type(left) | _type(right)
        case ast.Subscript(value=base, slice=inner):
            parts = inner.elts if isinstance(inner, ast.Tuple) else [inner]
            origin = _type(base)
            values = [ast.literal_eval(p) for p in parts] if origin is Literal else [_type(p) for p in parts]
            return origin[tuple(values)] if len(values) > 1 else origin[values[0]]
    raise ValueError(ast.dump(node))
