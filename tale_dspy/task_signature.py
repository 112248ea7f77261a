"""What a signature asks for: an estimate, an option or fields.

It also writes their values as text.
"""

import json
import re
from contextlib import suppress
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Literal, get_args, get_origin

from dspy import Signature
from pydantic.fields import FieldInfo

from tale_dspy.dspy_bridge import annotation_allows_none, format_field_value
from tale_dspy.fields import Fields, described, is_short, plain_type, title
from tale_dspy.protocols import CallArguments, JsonObject
from tale_dspy.replies import quoted

REASONING = "reasoning"

BUDGET = "token_budget"

_GENERATED = re.compile(r"Given the fields (?:`\w+`(?:, )?)*, produce the fields (?:`\w+`(?:, )?)*\.")


def output_fields(signature: type[Signature]) -> Fields:
    """Return the output fields of a signature.

    The result is cached, since DSPy picks them out of all fields each time.
    """
    key: Any = signature
    return _fields_by_side(key)[1]


def input_fields(signature: type[Signature]) -> Fields:
    """Return the input fields of a signature, as `output_fields`."""
    key: Any = signature
    return _fields_by_side(key)[0]


@lru_cache(maxsize=256)  # asked several times a call; a signature is never changed, but replaced
def _fields_by_side(signature: type[Signature]) -> tuple[Fields, Fields]:
    return MappingProxyType(signature.input_fields), MappingProxyType(signature.output_fields)


def is_estimator(signature: type[Signature]) -> bool:
    """Return whether the signature's only output is `token_budget`."""
    return list(output_fields(signature)) == [BUDGET]


def states_budget(signature: type[Signature]) -> bool:
    """Return whether the model states `token_budget` itself, before its outputs."""
    return BUDGET in output_fields(signature) and not is_estimator(signature)


def is_choice(signature: type[Signature]) -> bool:
    """Return whether the signature asks for an option.

    An option is a text named `choice`, or a Literal of letters that begin with A.
    """
    key: Any = signature
    return _is_choice(key)


@lru_cache(maxsize=256)  # as above
def _is_choice(signature: type[Signature]) -> bool:
    outputs = visible_outputs(signature)
    if len(outputs) != 1:
        return False
    ((name, field),) = outputs.items()
    kind = plain_type(field)
    letters = {str(o).upper() for o in get_args(kind)} if get_origin(kind) is Literal else set()
    return (name == "choice" and kind is str) or ("A" in letters and letters <= set("ABCDEFGHIJ"))


def own_instructions(signature: type[Signature]) -> str:
    """Return the instructions somebody wrote.

    It is "" for DSPy's generated sentence about the fields. They are compared by content, so that a sentence generated
    before fields were added, or loaded from a file, is known too.
    """
    text = str(signature.instructions or "").strip()
    return "" if _GENERATED.fullmatch(text) else text


def visible_outputs(signature: type[Signature]) -> dict[str, FieldInfo]:
    beside = (REASONING, BUDGET) if states_budget(signature) else (REASONING,)
    return {k: f for k, f in output_fields(signature).items() if k not in beside}


def shown_inputs(signature: type[Signature], inputs: JsonObject) -> dict[str, FieldInfo]:
    return {k: f for k, f in input_fields(signature).items() if k != BUDGET and inputs.get(k) is not None}


def demo_lacks(demo: JsonObject, name: str, field: FieldInfo) -> bool:
    return demo.get(name) is None and not (name in demo and annotation_allows_none(field.annotation))


def input_text(field: FieldInfo, value: object) -> Any:
    """Write an input as DSPy does.

    A text is returned as it is, without going through Pydantic.
    """
    return value if isinstance(value, str) else format_field_value(field, value)


def input_rows(signature: type[Signature], inputs: CallArguments) -> str:
    shown = shown_inputs(signature, inputs)
    return "\n".join(f"{title(k)}{described(k, f, ' ({})')}: {input_text(f, inputs[k])}" for k, f in shown.items())


def output_text(field: FieldInfo, value: object, *, choice: bool) -> str:
    """Write a value so that `parse` reads it back."""
    if value is None:
        return "null"
    if isinstance(value, dict | list) and not is_short(field):
        with suppress(TypeError, ValueError):  # holds what only pydantic can write
            return json.dumps(value, ensure_ascii=False)
    text = str(format_field_value(field, value))
    return quoted(text, choice=choice) if is_short(field) else text
