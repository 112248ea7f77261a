"""Receipts: the status of an answer, one line to print, and JSON and back."""

import json
import math
from typing import Any

import pytest

from tale_dspy.accounting.calls import Call
from tale_dspy.accounting.receipts import Receipt, status_of


def call(**kwargs: Any) -> Call:
    return Call(**{"role": "reason", "model": "m", "text": "x", "output_tokens": 5, "prompt_tokens": 7} | kwargs)


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
    receipt = Receipt(program="P", calls=[call(cost_usd=0.25), call(cost_usd=0.0, cached=True, saved_cost_usd=2.0)])
    row = receipt.to_json()
    names = ("output_tokens", "estimate_tokens", "prompt_tokens", "cost_usd", "saved_cost_usd")
    assert [row[name] for name in names] == [10, None, 14, 0.25, 2.0]


@pytest.mark.parametrize("estimate", [math.inf, -math.inf, math.nan])
def test_a_receipts_json_knows_no_infinity(estimate: float) -> None:
    json.dumps(Receipt(program="P", estimate=estimate).to_json(), allow_nan=False)


def test_a_call_of_a_later_version_is_read_without_what_is_new() -> None:
    assert Call.from_json({**call().to_json(), "brand_new": 1}) == call()
