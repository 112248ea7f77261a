"""Copy a program without copying the language models in it."""

import copy
from collections.abc import Callable, Iterator
from pickle import PicklingError
from typing import Any

import dspy


def copy_program(program: dspy.Module, lm_for: Callable[[Any], Any] = lambda lm: lm) -> Any:
    """Deep-copy a program, with each language model in it replaced by what `lm_for` gives.

    DSPy's own deepcopy copies the engine (for a model in this process: its weights) and the whole history of each LM,
    and loses the callbacks. LMs are found as attributes of modules, and in lists and dicts there; one object stays one
    object.

    Args:
        program: The program; not changed.
        lm_for: Gives the LM to put in the place of one; by default the same.
    """
    found = {id(lm): lm for lm in language_models(program)}
    memo = {key: lm_for(lm) for key, lm in found.items()}
    try:
        copied = copy.deepcopy(program, dict(memo))
    except (TypeError, AttributeError, RecursionError, PicklingError, copy.Error):  # DSPy shares what cannot be copied
        copied = program.deepcopy()
        for (_, old), (_, new) in zip(program.named_predictors(), copied.named_predictors(), strict=True):
            new.lm = memo.get(id(old.lm), old.lm)
    for old, new in zip(modules_of(program), modules_of(copied), strict=True):
        new.callbacks = list(old.callbacks)
    return copied


def modules_of(program: dspy.Module) -> Iterator[Any]:
    """Yield every module of a program once, the program itself first."""
    for _, module in program.named_sub_modules(dspy.Module):
        yield module


def language_models(program: dspy.Module) -> Iterator[Any]:
    """Yield every language model held by the program's modules."""
    for module in modules_of(program):
        for value in vars(module).values():
            inner = (
                value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else (value,)
            )
            yield from (v for v in inner if isinstance(v, dspy.BaseLM))
