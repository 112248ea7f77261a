"""Copy a program without copying the language models in it."""

import copy
from collections.abc import Callable, Iterator
from pickle import PicklingError
from typing import Any

import dspy

from tale_dspy.protocols import Program

_CANNOT = (TypeError, AttributeError, ValueError, RecursionError, NotImplementedError, PicklingError, copy.Error)
"""What deepcopy raises at locks, connections, generators and the like."""


def copy_program(program: dspy.Module | Program, lm_for: Callable[[Any], Any] = lambda lm: lm) -> Any:
    """Deep-copy a program with other language models in it.

    Each is replaced by the result of `lm_for`.

    DSPy's own deepcopy copies the engine (for a model in this process: its weights) and the whole history of each LM,
    loses the callbacks, and doubles shared modules where something cannot be copied. LMs are found as attributes of
    modules, and in lists, tuples and dicts there; one object stays one object; what cannot be copied is shared.

    Args:
        program: The program; not changed.
        lm_for: Gives the LM to put in the place of one; by default the same.
    """
    models = {id(lm): lm for lm in language_models(program)}
    memo = {key: lm_for(lm) for key, lm in models.items()}
    try:
        copied = copy.deepcopy(program, dict(memo))
    except _CANNOT:
        copied = copy.deepcopy(program, {**memo, **_uncopyable_values(program, memo)})
    for old, new in zip(modules_of(program), modules_of(copied), strict=True):
        new.callbacks = list(old.callbacks)
    return copied


def modules_of(program: dspy.Module | Program) -> Iterator[Any]:
    """Yield every module of a program once, the program itself first."""
    for _, module in program.named_sub_modules(dspy.Module):
        yield module


def language_models(program: dspy.Module | Program) -> Iterator[Any]:
    """Yield every language model held by the program's modules."""
    yield from (value for value in _held_values(program) if isinstance(value, dspy.BaseLM))


def _uncopyable_values(program: dspy.Module | Program, memo: dict[int, object]) -> dict[int, Any]:
    shared: dict[int, Any] = {}
    for value in _held_values(program):
        try:
            copy.deepcopy(value, {**memo, **shared})
        except _CANNOT:
            shared[id(value)] = value
    return shared


def _held_values(program: dspy.Module | Program) -> Iterator[Any]:
    """Yield what the modules of a program hold, other than modules.

    These are attributes, and the items of containers there.
    """
    visited: set[int] = set()

    def inside(value: object) -> Iterator[Any]:
        if isinstance(value, dict | list | tuple):
            if id(value) not in visited:
                visited.add(id(value))
                for item in value.values() if isinstance(value, dict) else value:
                    yield from inside(item)
        elif not isinstance(value, dspy.Module):
            yield value

    for module in modules_of(program):
        for name, value in vars(module).items():
            # DSPy copies neither history, which may be long, nor callbacks; `load_state` is the program again.
            if name not in ("history", "callbacks", "load_state"):
                yield from inside(value)
