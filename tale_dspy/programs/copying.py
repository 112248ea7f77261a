"""Copy a program without copying the language models in it."""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import dspy


def copy_program(program: dspy.Module, lm_for: Callable[[Any], Any] = lambda lm: lm) -> Any:
    """Deep-copy a program, with each language model in it replaced by what `lm_for` gives.

    DSPy's own deepcopy copies the engine (for a model in this process: its weights) and the whole history of each LM.
    LMs are found as attributes of modules, and in lists and dicts there; one object stays one object.

    Args:
        program: The program; not changed.
        lm_for: Gives the LM to put in the place of one; by default the same.
    """
    found = {id(lm): lm for lm in language_models(program)}
    memo = {key: lm_for(lm) for key, lm in found.items()}
    try:
        return copy.deepcopy(program, dict(memo))
    except (TypeError, AttributeError, RecursionError):  # something in it cannot be copied: DSPy shares that part
        copied = program.deepcopy()
        for (_, old), (_, new) in zip(program.named_predictors(), copied.named_predictors(), strict=True):
            new.lm = memo.get(id(old.lm), old.lm)
        return copied


def language_models(program: dspy.Module) -> Iterator[Any]:
    """Yield every language model held by the program's modules."""
    for _, module in program.named_sub_modules(dspy.Module):
        for value in vars(module).values():
            inner = (
                value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else (value,)
            )
            yield from (v for v in inner if isinstance(v, dspy.BaseLM))
