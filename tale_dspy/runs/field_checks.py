"""Check that a line of a JSON file holds what a dataclass says.

Anybody may have edited or planted the file.
"""

from collections.abc import Collection, Mapping
from dataclasses import is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from tale_dspy.protocols import JsonObject

_JSON = (str, int, float, bool, NoneType, list, dict)
_MAX_CALLS = 2**31 - 1
"""What a column of a run's calls and draws holds."""
_MAX_QUANTITY = 2**53
"""Up to here a float holds each whole number: tokens, dollars and seconds are added up as floats."""


class FieldChecks:
    """The kinds and the largest numbers of a dataclass's fields in JSON.

    Numbers are never negative. A field that may be null holds a quantity, up to 2^53; one that may not, a count.

    Args:
        kind: The dataclass.
        unlimited: Fields that may hold any number.

    Example:
        >>> from dataclasses import make_dataclass
        >>> FieldChecks(make_dataclass("Trial", [("tokens", int)])).checked_fields({"tokens": -5, "later": 1})
        Traceback (most recent call last):
        ValueError: tokens must be from 0 to 2,147,483,647, got -5
    """

    def __init__(self, kind: type, *, unlimited: Collection[str] = ()) -> None:
        self._kinds = {name: _json_types(annotation) for name, annotation in get_type_hints(kind).items()}
        self._limits = {
            name: _MAX_QUANTITY if {NoneType, float} & kinds else _MAX_CALLS
            for name, kinds in self._kinds.items()
            if kinds & {int, float} and name not in unlimited and kinds != frozenset(_JSON)
        }

    def checked_fields(self, row: Mapping[str, Any]) -> JsonObject:
        """Return the fields of the dataclass that a row has.

        Those of later versions are left out.

        Raises:
            ValueError: If one is of another kind, or a number is negative or too large; names the field.
        """
        for name, kinds in self._kinds.items():
            if name in row and type(row[name]) not in kinds:
                raise ValueError(f"{name} must be {_type_names(kinds)}, got {row[name]!r:.60}")
        for name, limit in self._limits.items():
            number = row.get(name)
            if isinstance(number, int | float) and not 0 <= number <= limit:
                raise ValueError(f"{name} must be from 0 to {limit:,}, got {number!r:.60}")
        return {name: row[name] for name in self._kinds.keys() & row.keys()}


def _json_types(annotation: object) -> frozenset[type]:
    """Return the exact types that JSON gives for an annotation.

    A float may be written as an integer, a dataclass as an object.
    """
    if annotation is Any:
        return frozenset(_JSON)
    parts = get_args(annotation) if isinstance(annotation, UnionType) else (annotation,)
    kinds: set[Any] = {_json_type(part) for part in parts}
    return frozenset(kinds | {int} if float in kinds else kinds)


def _json_type(part: Any) -> Any:
    origin = get_origin(part)
    if origin is Literal:
        return str
    plain = origin or part
    return dict if is_dataclass(plain) or (isinstance(plain, type) and issubclass(plain, Mapping)) else plain


def _type_names(kinds: frozenset[type]) -> str:
    names: dict[type, str] = {
        NoneType: "null",
        str: "text",
        dict: "an object",
        list: "a list",
        bool: "true or false",
        int: "a whole number",
        float: "a number",
    }
    shown = kinds - {int} if float in kinds else kinds
    return " or ".join(sorted(names[kind] for kind in shown))
