"""Types as text: written as Python would, read without evaluating anything."""

from typing import Any, Literal, Union

import dspy
import pydantic
import pytest

from tale_dspy.errors import StateError
from tale_dspy.programs.typenames import type_from_text, type_to_text


class Image(pydantic.BaseModel):
    """Named as one of DSPy's types, and none of them."""


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (str, "str"),
        (list[str], "list[str]"),
        (dict[str, list[int]], "dict[str, list[int]]"),
        (tuple[int, ...], "tuple[int, ...]"),
        (int | None, "int | None"),
        (Union[int, str, None], "int | str | None"),  # noqa: UP007
        (Literal["a", 'it\'s "b"', "\n\\", 1, True, None], r"""Literal['a', 'it\'s "b"', '\n\\', 1, True, None]"""),
        (Literal["x"] | None, "Literal['x'] | None"),
        (list[dict[str, Any]], "list[dict[str, Any]]"),
        (dspy.Image, "Image"),
        (list[dspy.Tool], "list[Tool]"),
        (type(None), "None"),
    ],
)
def test_a_type_goes_to_text_and_back(annotation: Any, text: str) -> None:
    assert type_to_text(annotation) == text
    assert type_from_text(text) == annotation


@pytest.mark.parametrize("annotation", [Image, list[Image], Image | None, object])
def test_a_class_of_the_user_is_written_with_its_module_and_refused(annotation: Any) -> None:
    with pytest.raises(StateError, match="construct the program with it"):
        type_from_text(type_to_text(annotation))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "__import__('os')",
        "os.system",
        "(lambda: 1)()",
        "list[__import__('os')]",
        "eval",
        "object",
        "list[",
        "str; import os",
        "[str]",
        "5",
        "'str'",
        "int[str]",
        "None[int]",
        "Literal[[1]]",
        "Literal[1.5]",
        "Literal[x]",
        "Literal[f'{1}']",
        "\x00",
        "(" * 500,
        "list[" * 1500 + "]" * 1500,
        "int | " * 1500 + "int",
        "x" * 100_000,
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(StateError, match="cannot be built from a file"):
        type_from_text(text)


@pytest.mark.parametrize("value", [None, 5, ["str"], {}])
def test_what_is_no_text_is_refused(value: Any) -> None:
    with pytest.raises(StateError):
        type_from_text(value)
