"""What kind of answer a gold asks for, and that an unknown kind is refused."""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest

from tale_dspy.answers import Kind, answers_equal, find_answer, judge, kind_of
from tale_dspy.answers.kinds import to_text
from tale_dspy.errors import UsageError


@pytest.mark.parametrize(
    ("gold", "kind"),
    [
        ("A", "choice"),
        ("(J)", "choice"),
        ("B.", "choice"),
        ("K", "text"),
        ("a", "text"),
        ("18", "number"),
        (18, "number"),
        (1.5, "number"),
        ("1,234", "number"),
        ("-3/4", "number"),
        ("50%", "number"),
        ("18 km", "number"),
        ("7 Up", "text"),
        ("3 Doors Down", "text"),
        ("Apollo 11", "text"),
        ("3, 4", "text"),
        ((3, 4), "text"),
        ("x", "text"),
        (True, "text"),
        (None, "text"),
        (float("nan"), "text"),
    ],
)
def test_the_gold_tells_the_kind(gold: object, kind: Kind) -> None:
    assert kind_of(gold) == kind


@pytest.mark.parametrize(
    "call",
    [
        lambda kind: find_answer("18", kind),
        lambda kind: answers_equal("18", 18, kind),
        lambda kind: judge("18", 18, kind),
    ],
)
def test_an_unknown_kind_is_refused(call: Callable[[Any], object]) -> None:
    with pytest.raises(UsageError, match="kind must be one of auto, number, choice, text, got 'integer'"):
        call("integer")


def test_an_explicit_kind_overrides_the_gold() -> None:
    assert judge("The answer is A", "a", "choice")
    assert not judge("I, A, B", "A", "choice")
    assert answers_equal("Paris", "paris", "choice")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, None),
        (b"1\xff", "1\ufffd"),
        (Fraction(3, 4), "3/4"),
        ([1, (2, None)], "[1, (2, )]"),
        ({3}, "{3}"),
        ([[[[[1]]]]], "[[[[...]]]]"),
    ],
)
def test_a_value_of_a_typed_field_is_written_as_text(value: object, text: str | None) -> None:
    assert to_text(value) == text


def test_an_integer_too_long_for_decimal_is_written_as_hexadecimal() -> None:
    assert to_text(16**5000) == "0x1" + "0" * 5000
