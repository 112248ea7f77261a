"""Options of a run, and what a progress bar is told."""

import math
from dataclasses import fields
from typing import Any

import pytest

from tale_dspy.errors import UsageError
from tale_dspy.runs.options import Options, RunOptions, Tally
from tale_dspy.runs.records import Record


def record(**fields: Any) -> Record:
    given = {
        "id": "a",
        "outcome": "correct",
        "output_tokens": 10,
        "cost_usd": 0.5,
        "calls": 1,
        "paid_calls": 1,
        **fields,
    }
    return Record(**given)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("concurrency", v) for v in (0, -1, 1.5, True, "2", None, 10**20)),
        *(("repeats", v) for v in (0, 2.0, False)),
        *(("retries", v) for v in (-1, 0.5, True)),
        *(("timeout", v) for v in (0, -1, math.nan, math.inf, True)),
        *(("max_usd", v) for v in (0, -0.1, math.nan, math.inf, True, "1")),
        *(("max_total_output_tokens", v) for v in (0, -5, True, "9")),
        *(("threshold", v) for v in (math.nan, "1", None)),
        *(("batch_wait", v) for v in (math.nan, -1, "1")),
    ],
)
def test_an_option_out_of_range_is_named_with_its_value(name: str, value: Any) -> None:
    with pytest.raises(UsageError, match=f"{name} must be .*, got"):
        RunOptions(**{name: value})


@pytest.mark.parametrize(
    "options", [{}, {"retries": 0}, {"timeout": None}, {"max_usd": 1e-9}, {"max_total_output_tokens": 1}]
)
def test_options_in_range_are_taken(options: dict[str, Any]) -> None:
    assert vars(RunOptions(**options)).items() >= options.items()


def test_the_keywords_of_evaluate_are_the_options() -> None:
    assert Options.__annotations__.keys() == {f.name for f in fields(RunOptions)}


def test_a_tally_adds_up_and_leaves_the_unknown_out() -> None:
    tally = Tally(total=4)
    for one in (
        record(),
        record(outcome="wrong", output_tokens=None, cost_usd=None),
        record(outcome="error", output_tokens=None, cost_usd=None, calls=0, paid_calls=0),
    ):
        tally.add(one)
    assert (tally.done, tally.correct, tally.output_tokens, tally.counted) == (3, 1, 10, 1)
    assert (tally.spent_usd, tally.unpriced) == (0.5, 1)
