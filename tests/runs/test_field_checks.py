"""What a line of a file may hold is what its dataclass says."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from tale_dspy.runs.field_checks import FieldChecks


@dataclass
class Part:
    n: int


@dataclass
class Line:
    part: Part
    inputs: Mapping[str, Any] | None
    cost: float | None
    gold: Any
    score: float | None


CHECKS = FieldChecks(Line, unlimited=("score",))


def test_fields_are_returned_and_others_left_out() -> None:
    row = {"part": {"n": 1}, "inputs": {}, "cost": 1, "gold": -(10**400), "score": -1e300}
    assert CHECKS.checked_fields({**row, "later": 1}) == row


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("part", 5, "part must be an object, got 5"),
        ("inputs", [], r"inputs must be an object or null, got \[\]"),
        ("cost", -0.5, "cost must be from 0 to .*, got -0.5"),
        ("cost", float("nan"), "cost must be from 0 to .*, got nan"),
        ("score", "high", "score must be a number or null, got 'high'"),
    ],
)
def test_a_field_that_cannot_be_is_named(field: str, value: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        CHECKS.checked_fields({field: value})
