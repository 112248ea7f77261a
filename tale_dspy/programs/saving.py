"""Save a program as one JSON file, and load it.

The file holds DSPy's own state, and what is needed to build the program without its source.

DSPy's state holds neither class nor types. `TaleModule.describe` adds them; `load` builds the program from the classes
this process has defined, never from an import path.
"""

import json
from pathlib import Path
from typing import Any

import dspy

from tale_dspy.backends.lm import LM
from tale_dspy.errors import StateError
from tale_dspy.programs.catalog import import_programs
from tale_dspy.programs.predictor import BROKEN, as_state_error
from tale_dspy.programs.registry import BuildContext, build_module
from tale_dspy.protocols import JsonObject, LanguageModel

MAX_BYTES = 50_000_000
"""Size of the largest file that is read."""


def load(path: str | Path, *, lm: LanguageModel | None = None, embedder: dspy.Embedder | None = None) -> Any:
    """Build a program from a file that `program.save("x.json")` wrote.

    This works in any process. Nothing is unpickled and no class is imported by a name from the file. An address
    (`api_base`) and a key are never taken from a file: give them again with `lm=`, or configure an LM.

    Args:
        path: The JSON file.
        lm: Replaces the language models saved with the program.
        embedder: The `dspy.Embedder` that a `RegressionEstimator` of the program was fitted with, if it was.

    Raises:
        StateError: If the file is none, or of a class or with types that cannot be built from it; such a program is
            constructed in Python and loaded with its own `.load(path)`.
    """
    state = _read_state(Path(path))
    try:
        import_programs()
        program = build_module(state["tale_dspy"], BuildContext(embedder))
        program.load_state(state)
        shared: dict[str, LM] = {}
        for _, predictor in program.named_predictors():
            if type(predictor.lm) is dspy.LM:
                key = json.dumps(predictor.lm.dump_state(), sort_keys=True, default=repr)
                predictor.lm = shared.setdefault(key, _tale_lm(predictor.lm))
    except BROKEN as e:
        raise StateError(f"{path}: {as_state_error(e)}") from e
    if lm is not None:
        program.set_lm(lm)
    return program


def _tale_lm(lm: LanguageModel) -> LM:
    state = {k: v for k, v in lm.dump_state().items() if k != "_dspy_lm_class"}
    return LM(**{"engine": "auto", **state})


def _read_state(path: Path) -> JsonObject:
    if path.suffix != ".json":
        raise StateError(f"{path} must be a .json file written by program.save; pickles are never loaded")
    try:
        if path.stat().st_size > MAX_BYTES:
            raise StateError(f"{path} has {path.stat().st_size} bytes; a saved program has at most {MAX_BYTES}")
        state = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StateError(f"{path} does not exist") from None
    except OSError as e:
        raise StateError(f"{path} cannot be read: {e.strerror or e}") from e
    except (ValueError, RecursionError) as e:
        raise e if isinstance(e, StateError) else StateError(f"{path} cannot be read as JSON: {e}") from e
    if not isinstance(state, dict) or not isinstance(state.get("tale_dspy"), dict):
        raise StateError(
            f"{path} was not saved by a tale_dspy module: construct the program and call .load({str(path)!r})"
        )
    return state
