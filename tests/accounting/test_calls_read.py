"""Calls read from DSPy's history entries, whatever their shape, and priced."""

import math
from typing import Any

import pytest

from tale_dspy.accounting.calls import call_from_entry, output_text, total_or_none
from tale_dspy.backends.prices import Price
from tale_dspy.errors import UsageError


@pytest.mark.parametrize("bad", [-1.0, math.nan, math.inf, True, "1", None])
def test_a_price_is_a_finite_number(bad: Any) -> None:
    with pytest.raises(UsageError, match="a price must be a number of at least 0"):
        Price(input=bad, output=1.0)


# Entries of other makes


@pytest.mark.parametrize(
    ("usage", "prompt", "output", "reasoning", "cached"),
    [
        ({"input_tokens": 7, "output_tokens": 9, "output_tokens_details": {"reasoning_tokens": 4}}, 7, 9, 4, None),
        ({"prompt_tokens": 7, "completion_tokens": 9, "prompt_tokens_details": {"cached_tokens": 2}}, 7, 9, None, 2),
        ({"prompt_tokens": 7, "completion_tokens": 9, "completion_tokens_details": None}, 7, 9, None, None),
        ({"prompt_tokens": 7.0, "completion_tokens": 9.0}, 7, 9, None, None),
        ({"prompt_tokens": 7, "completion_tokens": None}, 7, None, None, None),
        ({"prompt_tokens": -1, "completion_tokens": math.nan}, None, None, None, None),
        ({"prompt_tokens": True, "completion_tokens": "9"}, None, None, None, None),
        ({"prompt_tokens": 0, "completion_tokens": 0}, None, None, None, None),
        ({}, None, None, None, None),
        (None, None, None, None, None),
    ],
)
def test_usage_is_read_in_every_shape(usage: Any, prompt: Any, output: Any, reasoning: Any, cached: Any) -> None:
    call = call_from_entry({"model": "m/x", "usage": usage, "outputs": ["text"], "response": None})
    token_counts = (call.prompt_tokens, call.output_tokens, call.reasoning_tokens, call.cached_prompt_tokens)
    assert token_counts == (prompt, output, reasoning, cached)


def test_an_entry_of_a_decision_model_is_booked() -> None:
    # dspy.experimental.TypeSafe writes no model, cost or messages, and keeps the usage of a hit in its response.
    usage = {"prompt_tokens": 5, "completion_tokens": 2}
    call = call_from_entry(
        {"request": {}, "response": {"model": "jev", "usage": usage}, "usage": {}, "cache_hit": True, "outputs": ["{}"]}
    )
    assert (call.model, call.prompt_tokens, call.output_tokens, call.cached) == ("unknown", 5, 2, True)


def test_an_entry_with_nothing_in_it_is_unknown_in_everything() -> None:
    call = call_from_entry({})
    assert (call.text, call.output_tokens, call.cost_usd, call.usage_source) == (None, None, None, "unknown")


@pytest.mark.parametrize("cost", [math.nan, math.inf])
def test_a_cost_that_is_no_number_is_unknown(cost: float) -> None:
    usage = {"prompt_tokens": 1, "completion_tokens": 1}
    assert call_from_entry({"model": "x", "usage": usage, "outputs": ["a"], "cost": cost}).cost_usd is None


@pytest.mark.parametrize(
    ("outputs", "found"),
    [
        ([], (None, None)),
        (["a", "b"], ("a", None)),
        ([None], (None, None)),
        ([{"text": "a", "reasoning_content": "t"}], ("a", "t")),
        ([{"text": None, "tool_calls": []}], (None, None)),
    ],
)
def test_text_and_thought_of_the_first_choice(outputs: list[Any], found: Any) -> None:
    assert output_text(outputs) == found


# Receipts


@pytest.mark.parametrize(
    ("values", "result"), [([], None), ([None], None), ([1, None], None), ([1, 2], 3), ([0.5], 0.5), ([0], 0)]
)
def test_a_sum_with_an_unknown_part_is_unknown(values: list[Any], result: Any) -> None:
    assert total_or_none(values) == result


@pytest.mark.parametrize(
    ("usage", "cost"),
    [
        ({"prompt_tokens": 9, "completion_tokens": 5}, 0.5),
        ({"completion_tokens": 5}, None),
        ({"prompt_tokens": None, "completion_tokens": 5}, None),
        ({"prompt_tokens": 9}, None),
        ({"prompt_tokens": 9, "completion_tokens": 0}, None),
        ({}, None),
    ],
)
def test_the_price_of_one_count_is_not_the_cost_of_a_call(usage: dict[str, Any], cost: float | None) -> None:
    entry = {"model": "openai/gpt-4o-mini", "usage": usage, "outputs": ["a text"], "cost": 0.5}
    assert call_from_entry(entry).cost_usd == cost


def test_no_reasoning_is_unknown_where_no_count_was_stated() -> None:
    details = {"completion_tokens_details": {"reasoning_tokens": 0}}
    stated = {"prompt_tokens": 0, "completion_tokens": 0, **details}
    assert call_from_entry({"model": "x", "usage": stated, "outputs": ["a text"]}).reasoning_tokens is None
    stated = {"prompt_tokens": 9, "completion_tokens": 5, **details}
    assert call_from_entry({"model": "x", "usage": stated, "outputs": ["a text"]}).reasoning_tokens == 0
