"""One field of a signature: how it is requested, and how it is read.

Where in a reply the text stands is found in `tale_dspy.replies`.
"""

import json
from collections.abc import Callable, Mapping
from enum import EnumMeta
from functools import lru_cache
from typing import Any, Literal, get_args, get_origin

from dspy import Reasoning, Type, infer_prefix
from pydantic import TypeAdapter
from pydantic.fields import FieldInfo

from tale_dspy.answers.numbers import read_quantity
from tale_dspy.dspy_bridge import annotation_allows_none, parse_value, translate_field_type
from tale_dspy.protocols import JsonObject

Fields = Mapping[str, FieldInfo]

NONE = ("null", "none")
"""What stands for None where a field allows it, in any case."""

_MAX_DIGITS = 4_000  # Python refuses to read many more
_NO_FRACTIONS = ("inf", "infinity", "nan")
_REPAIRED = 20_000  # characters of broken JSON that are worth repairing


# ---- what a field is


def plain_type(field: FieldInfo) -> Any:
    """Return a field's type without its `| None`."""
    rest = [a for a in get_args(field.annotation) if a is not type(None)]
    return rest[0] if len(rest) == 1 and annotation_allows_none(field.annotation) else field.annotation


def is_short(field: FieldInfo) -> bool:
    """Return whether double brackets ask for a field.

    They do for str, a number, bool or Literal, and for one of these or None.
    """
    kind = plain_type(field)
    return kind in (str, int, float, bool) or get_origin(kind) is Literal


@lru_cache(maxsize=1024)
def title(name: str) -> str:
    """Name a field as DSPy does: `sub_total` -> `Sub Total`."""
    return str(infer_prefix(name))


def default(field: FieldInfo) -> Any:
    """Return the value of an output that was not found."""
    return None if field.is_required() else field.get_default(call_default_factory=True)


# ---- what was thought already

_THOUGHT = "tale_thought"
"""Marks the outputs of a model that thinks natively, in `json_schema_extra`."""


@lru_cache(maxsize=64)  # a signature is never changed, but replaced
def _after_thought(signature: Any, reasoning: str) -> Any:
    rest = signature.delete(reasoning)
    for name in list(rest.output_fields)[:1]:
        rest = rest.with_updated_fields(name, **{_THOUGHT: True})
    return rest


def after_thought(signature: object, reasoning: str) -> Any:
    """Return a signature without its reasoning field.

    It is for a model that thinks natively before it replies. Unlike a signature that never had the field it does not
    ask for an answer without any reasoning.

    Args:
        signature: A `dspy.Signature`.
        reasoning: Name of the field.
    """
    return _after_thought(signature, reasoning)


def was_thought(outputs: Fields) -> bool:
    """Return whether the outputs are those of `after_thought`."""
    return any(_THOUGHT in (f.json_schema_extra or {}) for f in outputs.values())  # type: ignore[operator]


# ---- asking


def described(name: str, field: FieldInfo, template: str = "{}") -> str:
    """Fill a template with what the user said about a field; "" if nothing."""
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    notes = [extra.get("desc"), extra.get("constraints")]
    text = "; ".join(str(note) for note in notes if note and note != f"${{{name}}}")
    return template.format(text) if text else ""


def wanted_format(outputs: Fields) -> str:
    """Describe the wanted format.

    It is `Name: [[name]]` for short fields, and ChatAdapter's markers for all others.
    """
    short, long = [], []
    for name, field in outputs.items():
        if is_short(field):
            note = translate_field_type(name, field).partition("# note: the value you produce ")[2]
            hint = "; ".join(h for h in (described(name, field), note) if h)
            short.append(f"{title(name)}: [[{name}]]" + (f" ({hint})" if hint else ""))
        else:
            kinds = [t.description() for t in Type.extract_custom_type_from_annotation(field.annotation)]
            notes = "".join(f"  # {d}" for d in (described(name, field), *kinds) if d)
            long.append(f"\n[[ ## {name} ## ]]\n{translate_field_type(name, field)}{notes}")
    sections = f"\nEnd with each of these under its own marker:{''.join(long)}\n" if long else ""
    return ", ".join(short) + ("." if short else "") + sections


# ---- values


def unquoted(content: str) -> str:
    """Return the text of a JSON string, and any other text as it is."""
    if len(content) > 1 and content[0] == content[-1] == '"':
        try:
            return str(json.loads(content))
        except (ValueError, RecursionError):
            return content
    return content


def says_none(text: str, field: FieldInfo) -> bool:
    """Return whether a text stands for None in a field that allows it."""
    return text.casefold() in NONE and bool(annotation_allows_none(field.annotation))


def convert(text: str, field: FieldInfo) -> Any:
    """Turn a text into the field's type; None where it does not fit."""
    kind = plain_type(field)
    if says_none(text, field):
        return None
    if not is_short(field):
        value = long_value(text, field)
        return long_value(text, field, repair=True) if value is None else value
    text = unquoted(text)
    if kind is str:
        return text
    if get_origin(kind) is Literal:
        return _match_option(text, {str(o): o for o in get_args(kind)})
    value = text.strip(" .*_`'") if kind is bool else _read_number(text, kind)
    return None if value is None else _read_typed(str(value), field.annotation)


def thought(text: str, field: FieldInfo) -> Any:
    """Turn the reasoning of a reply into the type of its field.

    It is None if there is no reasoning.
    """
    text = text.strip()
    if not text:
        return None
    if plain_type(field) is Reasoning:
        return Reasoning(content=text)
    return text if plain_type(field) is str else convert(text, field)


def long_value(text: str, field: FieldInfo, *, repair: bool = False) -> Any:
    """Turn a text into the type of a field that is not short.

    With `repair`, broken JSON is accepted as well.
    """
    kind = plain_type(field)
    if isinstance(kind, EnumMeta):
        members: JsonObject = dict(kind.__members__)
        return _match_option(unquoted(text), {**members, **{str(m.value): m for m in members.values()}})
    return _read_typed(text, field.annotation, repair=repair)


def _match_option(text: str, options: Mapping[str, object]) -> Any:
    """Return the option of this name, or None.

    An exact match comes first, then one without case and the marks around it.
    """

    def plain(name: str) -> str:
        return name.strip(" \t\n\"'`*.").casefold()

    alike = (option for name, option in options.items() if plain(name) == plain(text))
    return options[text] if text in options else next(alike, None)


def _read_number(text: str, kind: type) -> int | float | None:
    """Read a number by the one reader of `tale_dspy.answers`.

    It returns None where the text is anything else, or no int.
    """
    text = text.strip()
    if kind is float and text.lower().lstrip("+-") in _NO_FRACTIONS:
        return float(text)
    if kind is int and len(text) < _MAX_DIGITS and text.removeprefix("-").isdecimal():
        return int(text)
    quantity = read_quantity(text)
    if quantity is None or (kind is int and quantity.value.denominator != 1):
        return None
    try:
        return int(quantity.value) if kind is int else float(quantity.value)
    except OverflowError:
        return None


def _read_typed(text: str, annotation: object, *, repair: bool = False) -> Any:
    """Read a value as JSON, else as its type reads a text.

    With `repair`, broken JSON is repaired first.
    """
    if repair and len(text) > _REPAIRED:
        return None
    readers: list[Callable[[str, Any], Any]] = [_leading_json, parse_value] if repair else [_whole_json, _text_value]
    for read in readers:
        try:
            return read(text, annotation)
        except Exception:  # the boundary to the user's types, whose validators may raise anything
            continue
    return None


def _whole_json(text: str, annotation: Any) -> Any:
    return TypeAdapter(annotation).validate_python(json.loads(text))


def _leading_json(text: str, annotation: Any) -> Any:
    if not text.startswith(("[", "{")):
        raise ValueError("no JSON array or object")
    return TypeAdapter(annotation).validate_python(json.JSONDecoder().raw_decode(text)[0])


def _text_value(text: str, annotation: Any) -> Any:
    return TypeAdapter(annotation).validate_python(text)
