"""Single fields: how they are named and asked for, and how a text becomes a value of their type."""

import enum
from typing import Any, Literal

import dspy
import pydantic
import pytest
from pydantic.fields import FieldInfo

from tale_dspy.fields import (
    convert,
    default,
    described,
    is_short,
    long_value,
    plain_type,
    thought,
    title,
    wanted_format,
)


class Color(enum.Enum):
    RED = "red"
    DARK_BLUE = 2


class Item(pydantic.BaseModel):
    name: str


def field(annotation: Any, **kwargs: Any) -> FieldInfo:
    fields = {"q": (str, dspy.InputField()), "x": (annotation, dspy.OutputField(**kwargs))}
    return dspy.Signature(fields).output_fields["x"]


@pytest.mark.parametrize("kind", [str, int, float, bool, Literal["a"], str | None, Literal["a"] | None])
def test_texts_numbers_and_options_are_short(kind: Any) -> None:
    assert is_short(field(kind))


@pytest.mark.parametrize("kind", [list, dict[str, int], Item, Item | None, int | str, Color, Any, dspy.Code])
def test_all_else_is_long(kind: Any) -> None:
    assert not is_short(field(kind))


def test_the_plain_type_is_without_none() -> None:
    assert plain_type(field(int | None)) is int
    assert plain_type(field(int | str | None)) == int | str | None


@pytest.mark.parametrize(
    ("name", "told"), [("sub_total", "Sub Total"), ("subTotal", "Sub Total"), ("URL", "URL"), ("x1", "X 1")]
)
def test_a_field_is_named_as_dspy_names_it(name: str, told: str) -> None:
    assert title(name) == told


@pytest.mark.parametrize(
    ("kind", "kwargs", "wanted"),
    [
        (str, {}, "X: [[x]]."),
        (int, {}, "X: [[x]] (must be a single int value)."),
        (bool, {}, "X: [[x]] (must be True or False)."),
        (str, {"desc": "in one word"}, "X: [[x]] (in one word)."),
        (int, {"desc": "stars", "le": 5}, "X: [[x]] (stars; less than or equal to: 5; must be a single int value)."),
        (Literal["a", "b"], {}, "X: [[x]] (must exactly match (no extra characters) one of: a; b)."),
    ],
)
def test_a_short_field_is_asked_for_with_all_that_is_known(kind: Any, kwargs: dict[str, Any], wanted: str) -> None:
    assert wanted_format({"x": field(kind, **kwargs)}) == wanted


def test_a_long_field_is_asked_for_under_its_marker_with_its_schema() -> None:
    signature = dspy.Signature({"q": (str, dspy.InputField()), "a": (str, dspy.OutputField())})
    text = wanted_format({**signature.output_fields, "x": field(Item, desc="what was bought")})
    assert text.startswith("A: [[a]].\nEnd with each of these under its own marker:\n[[ ## x ## ]]\n{x}")
    assert '"required": ["name"]' in text
    assert text.endswith("  # what was bought\n")


def test_a_type_that_describes_itself_is_described() -> None:
    assert "Programming language: python" in wanted_format({"x": field(dspy.Code)})


def test_nothing_is_said_about_a_field_without_description() -> None:
    assert described("x", field(str), "({})") == ""
    assert described("x", field(str, desc="so"), "({})") == "(so)"


def test_the_default_is_that_of_the_field() -> None:
    assert default(field(str)) is None
    assert default(field(str, default="n/a")) == "n/a"
    assert default(field(list[str], default_factory=list)) == []


def test_reasoning_takes_the_type_of_its_field() -> None:
    assert thought(" so ", field(str)) == "so"
    assert isinstance(thought("so", field(dspy.Reasoning)), dspy.Reasoning)
    assert thought('["a"]', field(list[str])) == ["a"]
    assert thought("  ", field(dspy.Reasoning)) is None


def test_convert_knows_dspys_own_types() -> None:
    code = convert("```python\nx = 1\n```", field(dspy.Code))
    calls = convert('{"tool_calls": [{"name": "f", "args": {"a": 1}}]}', field(dspy.ToolCalls))
    assert code.code == "x = 1"
    assert calls.tool_calls[0].args == {"a": 1}


def test_broken_json_is_repaired_where_asked_and_not_too_long() -> None:
    broken = "{'name': 'x',}"
    assert long_value(broken, field(Item)) is None
    assert long_value(broken, field(Item), repair=True) == Item(name="x")
    assert long_value(broken + " " * 20_000, field(Item), repair=True) is None
