"""One JSON file and back: DSPy's own state, plus what is needed to build the program without its source.

DSPy's state holds neither class nor types. `describe` adds them; `load` builds the program from a registry of names,
never from an import path.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import dspy
from dspy import make_signature

from tale_dspy.adapter import BUDGET, REASONING, TaleAdapter
from tale_dspy.backends.lm import LM
from tale_dspy.errors import StateError
from tale_dspy.programs.predictor import BROKEN, SETTINGS, as_state_error
from tale_dspy.programs.typenames import type_from_text, type_to_text

FORMAT = 1
MAX_BYTES = 50_000_000
"""Size of the largest file that is read."""


def registry() -> dict[str, Callable[..., Any]]:
    """Return the classes a saved program may name."""
    from tale_dspy.programs.budgeted import BudgetedChainOfThought
    from tale_dspy.programs.chain_of_draft import ChainOfDraft
    from tale_dspy.programs.concise import Concise
    from tale_dspy.programs.cot import VanillaCoT
    from tale_dspy.programs.direct import DirectAnswer
    from tale_dspy.programs.self_budgeted import SelfBudgeted
    from tale_dspy.programs.tale_ep import TaleEP

    classes = (DirectAnswer, VanillaCoT, Concise, ChainOfDraft, BudgetedChainOfThought, TaleEP, SelfBudgeted)
    return {**{c.__name__: c for c in classes}, **estimators()}


def estimators() -> dict[str, type[Any]]:
    """Return those of them that a saved `TaleEP` may name as its estimator."""
    from tale_dspy.programs.estimators.estimator import BudgetEstimator
    from tale_dspy.programs.estimators.few_shot_estimator import FewShotEstimator
    from tale_dspy.programs.estimators.regression_estimator import RegressionEstimator

    return {c.__name__: c for c in (BudgetEstimator, FewShotEstimator, RegressionEstimator)}


def describe(module: Any) -> dict[str, Any]:
    """Return what `load` needs beside DSPy's state: class, signature with types, adapter, settings, estimator."""
    from tale_dspy.programs.estimators.regression_estimator import RegressionEstimator
    from tale_dspy.programs.tale_ep import TaleEP

    if isinstance(module, RegressionEstimator):
        return _described(module, module.signature)
    signature = module.predict.signature
    reasoning = signature.output_fields.get(REASONING)
    return {
        **_described(module, signature),
        "reasoning": None if reasoning is None else type_to_text(reasoning.annotation),
        "adapter": describe_adapter(module.adapter),
        "config": {k: v for k, v in module.predict.config.items() if k in SETTINGS},
        "estimate_from": module.estimate_from if isinstance(module, TaleEP) else None,
        "estimator": _describe_estimator(module.estimator) if isinstance(module, TaleEP) else None,
    }


def _described(module: Any, signature: Any) -> dict[str, Any]:
    sides = {**dict.fromkeys(signature.input_fields, "in"), **dict.fromkeys(signature.output_fields, "out")}
    fields = {k: f for k, f in signature.fields.items() if k not in (REASONING, BUDGET)}
    return {
        "format": FORMAT,
        "class": type(module).__name__,
        "signature": [[k, sides[k], type_to_text(f.annotation)] for k, f in fields.items()],
    }


def _describe_estimator(estimator: Any) -> dict[str, Any]:
    known = isinstance(estimator, tuple(estimators().values()))
    return describe(estimator) if known else {"class": type(estimator).__name__}


def describe_adapter(adapter: Any) -> str | None:
    """Name an adapter: its class, and the form of a `TaleAdapter`."""
    if adapter is None:
        return None
    return (
        f"TaleAdapter:{adapter.form}" if isinstance(adapter, TaleAdapter) and adapter.form else type(adapter).__name__
    )


def load(path: str | Path, *, lm: Any = None, embedder: Any = None) -> Any:
    """Build a program from a file that `program.save("x.json")` wrote, in any process.

    Nothing is unpickled and no class is imported by a name from the file. An address (`api_base`) and a key are never
    taken from a file: give them again with `lm=`, or configure an LM.

    Args:
        path: The JSON file.
        lm: Replaces the language models saved with the program.
        embedder: The `dspy.Embedder` that a `RegressionEstimator` of the program was fitted with, if it was.

    Raises:
        StateError: If the file is none, or of a class or with types that cannot be built from it; such a program is
            constructed in Python and loaded with its own `.load(path)`.
    """
    state = _read(Path(path))
    try:
        program = _build(state["tale_dspy"], embedder)
        program.load_state(state)
        ours: dict[str, Any] = {}
        for _, predictor in program.named_predictors():
            if type(predictor.lm) is dspy.LM:
                key = json.dumps(predictor.lm.dump_state(), sort_keys=True, default=repr)
                predictor.lm = ours.setdefault(key, _ours(predictor.lm))
    except BROKEN as e:
        raise StateError(f"{path}: {as_state_error(e)}") from e
    if lm is not None:
        program.set_lm(lm)
    return program


def _ours(lm: Any) -> LM:
    state = {k: v for k, v in lm.dump_state().items() if k != "_dspy_lm_class"}
    return LM(**{"engine": "auto", **state})


def _read(path: Path) -> dict[str, Any]:
    if path.suffix != ".json":
        raise StateError(f"{path} must be a .json file written by program.save; pickles are never loaded")
    try:
        if path.stat().st_size > MAX_BYTES:
            raise StateError(f"{path} has {path.stat().st_size} bytes; a saved program has at most {MAX_BYTES}")
        state = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StateError(f"{path} does not exist") from None
    except (OSError, ValueError, RecursionError) as e:
        raise e if isinstance(e, StateError) else StateError(f"{path} cannot be read as JSON: {e}") from e
    if not isinstance(state, dict) or not isinstance(state.get("tale_dspy"), dict):
        raise StateError(
            f"{path} was not saved by a tale_dspy module: construct the program and call .load({str(path)!r})"
        )
    return state


def _build(about: Mapping[str, Any], embedder: Any) -> Any:
    """Build the program or estimator that `describe` described."""
    name = about.get("class")
    kind = registry().get(name) if isinstance(name, str) else None
    if about.get("format") != FORMAT or kind is None:
        what = f"format {about.get('format')!r}" if kind else f"class {name!r}"
        raise StateError(f"{what} cannot be built from a file: construct the program and call .load on it")
    fields = dict(_field(*row) for row in about["signature"])
    if len(fields) < len(about["signature"]):
        raise StateError("a field is named twice")
    if name == "RegressionEstimator":
        return kind(make_signature(fields), embedder=embedder)
    options: dict[str, Any] = {"adapter": _adapter(about["adapter"]), **_settings(about["config"])}
    if about["estimate_from"] is not None:
        options["estimate_from"] = about["estimate_from"]
    if about["estimator"] is not None:
        options["estimator"] = _build_estimator(about["estimator"], embedder)
    module = kind(make_signature(fields), **options)
    _set_reasoning(module.predict, about["reasoning"])
    return module


def _build_estimator(about: Mapping[str, Any], embedder: Any) -> Any:
    if about.get("class") not in list(estimators()):  # a list: what a file says need not be hashable
        raise StateError(f"estimator {about.get('class')!r} cannot be built from a file")
    return _build(about, embedder)


def _settings(config: Mapping[str, Any]) -> dict[str, Any]:
    for name in config:
        if name not in SETTINGS:
            raise StateError(f"setting {name!r} is not taken from a file: construct the program and call .load on it")
    return dict(config)


def _field(name: str, side: str, text: str) -> tuple[str, tuple[Any, Any]]:
    if not name.isidentifier() or name.startswith("_") or side not in ("in", "out"):
        raise ValueError(f"{name!r} ({side!r}) is no field")
    return name, (type_from_text(text), dspy.InputField() if side == "in" else dspy.OutputField())


def _set_reasoning(predict: Any, text: str | None) -> None:
    """Give the predictor the type of reasoning it had: other than `str` after `budgeted`, or none at all."""
    if text is None and REASONING in predict.signature.output_fields:
        predict.signature = predict.signature.delete(REASONING)
    elif text not in (None, "str"):
        predict.signature = predict.signature.with_updated_fields(REASONING, type_=type_from_text(text))


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
