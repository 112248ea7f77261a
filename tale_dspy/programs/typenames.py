"""The types of a signature as text and back, such as `list[str]`.

Nothing is evaluated and nothing imported: a text is parsed, and each name in it looked up in a table.
"""

import ast
from types import EllipsisType, NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

import dspy

from tale_dspy.errors import StateError
from tale_dspy.protocols import JsonObject
from tale_dspy.python_text import parse_in_threads

_BUILTIN = (str, int, float, bool, list, dict, tuple, set, bytes)
_DSPY = (dspy.Audio, dspy.Code, dspy.History, dspy.Image, dspy.Reasoning, dspy.Tool, dspy.ToolCalls)
_TYPES: JsonObject = {**{t.__name__: t for t in (*_BUILTIN, *_DSPY)}, "Any": Any, "Literal": Literal}
_NAMES = {id(value): name for name, value in _TYPES.items()}
_LONGEST = 10_000


def type_to_text(annotation: object) -> str:
    """Write a type as Python would.

    A type that `type_from_text` does not know is written with its module.
    """
    origin, args = get_origin(annotation), get_args(annotation)
    if annotation is None or annotation is NoneType:
        return "None"
    if annotation is Ellipsis:
        return "..."
    if id(annotation) in _NAMES:
        return _NAMES[id(annotation)]
    if origin is Literal:
        return f"Literal[{', '.join(map(repr, args))}]"
    if origin in (Union, UnionType):
        return " | ".join(map(type_to_text, args))
    if id(origin) in _NAMES and args:
        return f"{_NAMES[id(origin)]}[{', '.join(map(type_to_text, args))}]"
    return f"{annotation.__module__}.{annotation.__qualname__}" if isinstance(annotation, type) else str(annotation)


def type_from_text(text: str) -> Any:
    """Turn a text into the type it names.

    Raises:
        StateError: If it names anything but builtins, Literal, Any, unions and DSPy's own types.
    """
    try:
        if len(text) > _LONGEST:
            raise ValueError(f"longer than {_LONGEST} characters")
        return _type_of_node(parse_in_threads(lambda: ast.parse(text, mode="eval")).body)
    except (SyntaxError, KeyError, TypeError, ValueError, RecursionError, MemoryError) as e:
        raise StateError(
            f"type {str(text)[:80]!r} cannot be built from a file: construct the program with it and call .load"
        ) from e


def _type_of_node(node: ast.expr) -> Any:
    match node:
        case ast.Name(id=name):
            return _TYPES[name]
        case ast.Constant(value=None):
            return NoneType
        case ast.Constant(value=EllipsisType()):
            return ...
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return Union[_type_of_node(left), _type_of_node(right)]  # noqa: UP007  (`|` does not take every type that Union takes)
        case ast.Subscript(value=ast.Name(id="Literal"), slice=inner):
            return Literal[tuple(_literal_value(part) for part in _subscript_parts(inner))]
        case ast.Subscript(value=ast.Name(id="list" | "dict" | "tuple" | "set" as name), slice=inner):
            return _TYPES[name][tuple(_type_of_node(part) for part in _subscript_parts(inner))]
    raise ValueError(ast.dump(node))


def _subscript_parts(node: ast.expr) -> list[ast.expr]:
    return node.elts if isinstance(node, ast.Tuple) else [node]


def _literal_value(node: ast.expr) -> str | int | bool | bytes | None:
    value = ast.literal_eval(node)
    if value is not None and not isinstance(value, str | int | bool | bytes):
        raise ValueError(f"{value!r} is no literal")
    return value
