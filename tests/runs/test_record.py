"""A record is checked when it is read: each field is of the kind it is written in."""

from typing import Any

import pytest

from tale_dspy.runs.record import Record

LINE: dict[str, Any] = Record(id="a" * 16, outcome="correct", output_tokens=3, cost_usd=0.5, gold=[1]).to_json()


def test_a_record_is_read_back_as_it_was_and_unknown_keys_are_ignored() -> None:
    assert Record.from_json({**LINE, "later": {}}).to_json() == LINE
    assert Record.from_json({"id": "a", "outcome": "wrong", "cost_usd": 1}).cost_usd == 1


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("id", 5, "id must be text, got 5"),
        ("id", "", "there is no id"),
        ("outcome", "great", "outcome must be one of correct, wrong, .* got 'great'"),
        ("output_tokens", "many", "output_tokens must be a whole number or null, got 'many'"),
        ("output_tokens", True, "output_tokens must be a whole number or null, got True"),
        ("cost_usd", [], r"cost_usd must be a number or null, got \[\]"),
        ("inputs", "x", "inputs must be an object or null, got 'x'"),
        ("reasoning_notes", {}, "reasoning_notes must be a list or null"),
        ("copied_example", 1, "copied_example must be true or false, got 1"),
        ("calls", -1, "calls must be from 0 to 2,147,483,647, got -1"),
        ("repeat", 2**40, "repeat must be from 0 to 2,147,483,647, got 1099511627776"),
        ("output_tokens", -5, "output_tokens must be from 0 to 9,007,199,254,740,992, got -5"),
        ("prompt_tokens", 10**400, "prompt_tokens must be from 0 to 9,007,199,254,740,992, got 1000"),
        ("cost_usd", float("inf"), "cost_usd must be from 0 to .*, got inf"),
    ],
)
def test_a_field_of_another_kind_is_refused_by_name(field: str, value: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Record.from_json({**LINE, field: value})


def test_a_line_without_id_or_outcome_is_no_record() -> None:
    with pytest.raises(ValueError, match="there is no id"):
        Record.from_json({"outcome": "wrong"})
    with pytest.raises(ValueError, match="got None"):
        Record.from_json({"id": "a"})
