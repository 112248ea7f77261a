"""Receipts by themselves: what is read of an entry of DSPy, what a receipt sums up, prints and keeps in JSON."""

import json
import math
from typing import Any

import pytest

from tale_dspy.accounting.receipts import (
    Call,
    Price,
    Receipt,
    call_from_entry,
    output_text,
    status_of,
    total_or_none,
)
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
    told = (call.prompt_tokens, call.output_tokens, call.reasoning_tokens, call.cached_prompt_tokens)
    assert told == (prompt, output, reasoning, cached)


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


def call(**kwargs: Any) -> Call:
    return Call(**{"role": "reason", "model": "m", "text": "x", "output_tokens": 5, "prompt_tokens": 7} | kwargs)


@pytest.mark.parametrize(
    ("values", "result"), [([], None), ([None], None), ([1, None], None), ([1, 2], 3), ([0.5], 0.5), ([0], 0)]
)
def test_a_sum_with_an_unknown_part_is_unknown(values: list[Any], result: Any) -> None:
    assert total_or_none(values) == result


@pytest.mark.parametrize(
    ("text", "finish", "answered", "status"),
    [
        ("[[4]]", "stop", True, "answered"),
        ("four", "stop", False, "unreadable"),
        ("so far", "length", False, "truncated"),
        ("so far [[4]]", "length", True, "truncated"),
        ("so far", "max_tokens", False, "truncated"),
        ("", "length", False, "empty"),
        (None, "length", False, "empty"),
        (" \n", "stop", False, "empty"),
        (None, "tool_calls", True, "answered"),
        ("four", None, False, "unreadable"),
        ("four", "content_filter", False, "unreadable"),
        ("so far [[4]]", "content_filter", True, "truncated"),
        ("so far", "MAX_TOKENS", False, "truncated"),
    ],
)
def test_the_status_of_an_answer(text: str | None, finish: str | None, answered: bool, status: str) -> None:
    assert status_of([call(text=text, finish_reason=finish)], answered) == status


def test_the_last_reasoning_call_decides() -> None:
    calls = [call(finish_reason="length"), call(finish_reason="stop"), call(role="metric", text=None)]
    assert status_of(calls, answered=True) == "answered"


@pytest.mark.parametrize(("answered", "status"), [(True, "answered"), (False, "unreadable")])
def test_without_a_reasoning_call_only_the_answer_counts(answered: bool, status: str) -> None:
    assert status_of([call(role="estimate")], answered) == status


@pytest.mark.parametrize(
    ("fields", "calls", "line"),
    [
        ({}, [call(cost_usd=0.5)], "P: 5 output tokens, $0.500000 paid"),
        ({}, [], "P: an unknown number of output tokens, cost unknown"),
        ({"token_budget": 9, "budget_source": "given"}, [call()], "P: budget 9 (given), 5 output tokens, cost unknown"),
        (
            {"status": "truncated"},
            [call(role="estimate", output_tokens=2, cost_usd=0.0), call(cost_usd=0.0, cached=True)],
            "P: 5 output tokens + 2 for the estimate, $0.000000 paid, 1 of 2 calls from the cache, truncated",
        ),
        (
            {},
            [call(usage_source="tokenizer", cost_usd=0.0)],
            "P: 5 output tokens (counted with the tokenizer), $0.000000 paid",
        ),
    ],
)
def test_a_receipt_prints_as_one_line(fields: dict[str, Any], calls: list[Call], line: str) -> None:
    assert str(Receipt(program="P", calls=calls, **fields)) == line


def test_a_receipt_comes_back_from_its_json() -> None:
    receipt = Receipt(
        program="TaleEP",
        status="unreadable",
        token_budget=50,
        budget_source="estimate",
        estimate=49.5,
        estimate_text="Budget: [[49.5]]",
        calls=[call(role="estimate", cost_usd=0.1), call(cached=True, saved_cost_usd=0.2, cost_usd=0.0)],
    )
    assert Receipt.from_json(json.loads(json.dumps(receipt.to_json()))) == receipt


def test_a_receipts_json_holds_its_sums() -> None:
    told = Receipt(program="P", calls=[call(cost_usd=0.25), call(cost_usd=0.0, cached=True, saved_cost_usd=2.0)])
    row = told.to_json()
    names = ("output_tokens", "estimate_tokens", "prompt_tokens", "cost_usd", "saved_cost_usd")
    assert [row[name] for name in names] == [10, None, 14, 0.25, 2.0]


@pytest.mark.parametrize("estimate", [math.inf, -math.inf, math.nan])
def test_a_receipts_json_knows_no_infinity(estimate: float) -> None:
    json.dumps(Receipt(program="P", estimate=estimate).to_json(), allow_nan=False)


def test_a_call_of_a_later_version_is_read_without_what_is_new() -> None:
    assert Call.from_json({**call().to_json(), "brand_new": 1}) == call()
