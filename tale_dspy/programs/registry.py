"""Modules that a file may name.

A class is registered when it is defined, and built again from its own description.

A saved program names a class, never an import path: only classes that this process has already defined are built.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import dspy
from dspy import make_signature

from tale_dspy.errors import StateError
from tale_dspy.programs.typenames import type_from_text, type_to_text
from tale_dspy.protocols import JsonObject
from tale_dspy.task_signature import BUDGET, REASONING

FORMAT = 1
"""Version of the description; a file of another is refused."""


@dataclass(frozen=True)
class BuildContext:
    """What a description cannot hold and a program may need to be built."""

    embedder: dspy.Embedder | None = None
    """Of a `RegressionEstimator` that was fitted with one."""


class RegisteredModule(dspy.Module):  # type: ignore[misc]  # dspy ships no types
    """A module that is known by its class name as soon as it is defined.

    Pass `abstract=True` in the class statement of a base that no file may name.

    Attributes:
        cli_name: Word that names the program on the command line; None for none.
        gives_budget: Whether its prediction has `token_budget`, so that it may be a saved program's estimator.
        added_modules: Attributes that hold modules a plain `dspy.ChainOfThought` has no state of.
    """

    cli_name: ClassVar[str | None] = None
    gives_budget: ClassVar[bool] = False
    added_modules: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, *, abstract: bool = False, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        cls.cli_name = cls.__dict__.get("cli_name")  # a subclass is another program
        if not abstract:
            _CLASSES.setdefault(cls.__name__, {})[f"{cls.__module__}.{cls.__qualname__}"] = cls

    def dump_state(self, json_mode: bool = True) -> JsonObject:
        """Return DSPy's state of each parameter, and the module's own.

        The key `tale_dspy` holds what is needed to build the module again.
        """
        return {**super().dump_state(json_mode=json_mode), "tale_dspy": self.describe()}

    def describe(self) -> JsonObject:
        """Return what `from_description` needs beside DSPy's state, as plain JSON."""
        return {"format": FORMAT, "class": type(self).__name__}

    @classmethod
    def from_description(cls, about: Mapping[str, object], context: BuildContext) -> Self:
        """Build the module that `describe` described.

        A class whose constructor takes other arguments overrides it.
        """
        raise StateError(f"class {cls.__name__!r} cannot be built from a file")


_CLASSES: dict[str, dict[str, type[RegisteredModule]]] = {}
"""Class name -> where it was defined -> class; a class defined again in one place replaces itself."""


def registered_modules() -> dict[str, type[RegisteredModule]]:
    """Return the classes a saved program may name.

    A name that two modules define is left out.
    """
    return {name: next(iter(classes.values())) for name, classes in _CLASSES.items() if len(classes) == 1}


def build_module(about: Mapping[str, object], context: BuildContext, *, estimator: bool = False) -> Any:
    """Build the module that a description describes.

    Args:
        about: What `describe` returned.
        context: What no description holds.
        estimator: Whether only a class that gives budgets is taken.

    Raises:
        StateError: If the format is another, or the class is unknown, ambiguous, or no estimator where one is wanted.
    """
    name = about.get("class")
    classes = _CLASSES.get(name, {}) if isinstance(name, str) else {}
    advice = "cannot be built from a file: construct the program and call .load on it"
    if len(classes) > 1:
        raise StateError(f"class {name!r} is defined in {' and '.join(classes)} and {advice}")
    if not classes:
        raise StateError(f"class {name!r} {advice}")
    if about.get("format") != FORMAT:
        raise StateError(f"format {about.get('format')!r} {advice}")
    (kind,) = classes.values()
    if estimator and not kind.gives_budget:
        raise StateError(f"estimator {name!r} cannot be built from a file")
    return kind.from_description(about, context)


def describe_signature(signature: type[dspy.Signature]) -> list[list[str]]:
    """Return name, side and type of each field, without those that a module adds."""
    sides = {**dict.fromkeys(signature.input_fields, "in"), **dict.fromkeys(signature.output_fields, "out")}
    fields = {k: f for k, f in signature.fields.items() if k not in (REASONING, BUDGET)}
    return [[k, sides[k], type_to_text(f.annotation)] for k, f in fields.items()]


def signature_from(rows: Any) -> type[dspy.Signature]:
    """Build the signature that `describe_signature` described.

    Raises:
        StateError: If a field is named twice.
        ValueError, TypeError: If a row is no field, or its type is none that a file may name.
    """
    fields = dict(_signature_field(*row) for row in rows)
    if len(fields) < len(rows):
        raise StateError("a field is named twice")
    signature: type[dspy.Signature] = make_signature(fields)
    return signature


def _signature_field(name: str, side: str, text: str) -> tuple[str, tuple[Any, Any]]:
    if not name.isidentifier() or name.startswith("_") or side not in ("in", "out"):
        raise ValueError(f"{name!r} ({side!r}) is no field")
    return name, (type_from_text(text), dspy.InputField() if side == "in" else dspy.OutputField())
