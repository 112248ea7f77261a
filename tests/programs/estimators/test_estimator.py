"""BudgetEstimator: always a budget that can be sent, and where it comes from."""

import asyncio
import json
from typing import Any

import dspy
import pytest
from fake_lm import fake_lm, sections

from tale_dspy import BudgetEstimator
from tale_dspy.errors import SignatureError, UsageError
from tale_dspy.programs.base import receipt as receipt_of
from tale_dspy.programs.estimators.estimator import input_signature
from tale_dspy.testing import Reply, ScriptedServer


@pytest.mark.parametrize(
    ("reply", "tokens", "source", "estimate"),
    [
        ("Budget: [[40]]", 40, "estimate", 40.0),
        ("[[30-60]]", 60, "estimate", 60.0),
        ("It needs about 40 tokens.", 40, "estimate", 40.0),
        ("[[12]], no, [[n/a]]", 12, "estimate", 12.0),
        ("[[0]]", 256, "fallback", 0.0),
        ("[[-5]]", 256, "fallback", -5.0),
        ("no idea", 256, "fallback", None),
        ("", 256, "fallback", None),
        ("[[1000000]]", 4096, "clamped", 1e6),
        ("[[" + "9" * 150 + "e999]]", 256, "fallback", None),
    ],
)
def test_a_reply_becomes_a_budget_and_the_receipt_says_how(
    reply: str, tokens: int, source: str, estimate: float | None
) -> None:
    with dspy.context(lm=fake_lm(reply)):
        pred = BudgetEstimator("question -> answer")(question="3+4?")
    receipt = pred.receipt
    assert (pred.token_budget, receipt["budget_source"], receipt["estimate"]) == (tokens, source, estimate)
    assert receipt["estimate_text"] == (reply or None)
    json.dumps(receipt, allow_nan=False)


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("[[40]]", None),
        ("[[0]]", "not positive"),
        ("There are 28 pink hard hats.", "no budget"),
        ("I'm sorry, I can't help with that.", "refusal"),
        ("<think>maybe 40", "truncated"),
        ("", "empty"),
        ("[[9e99]]", "too large"),
    ],
)
def test_the_receipt_says_why_an_estimate_was_not_used(reply: str, reason: str | None) -> None:
    with dspy.context(lm=fake_lm(reply)):
        pred = BudgetEstimator("question -> answer")(question="3+4?")
    assert pred.receipt["fallback_reason"] == reason
    assert (f"fallback: {reason}" in str(receipt_of(pred))) is (reason is not None)


def test_its_call_is_booked_as_an_estimate() -> None:
    with dspy.context(lm=fake_lm("Budget: [[40]]")):
        pred = asyncio.run(BudgetEstimator("question -> answer").acall(question="3+4?"))
    assert pred.keys() == ["token_budget"]
    assert (pred.estimate_tokens, pred.output_tokens) == (2, None)


def test_limits_and_default_can_be_set() -> None:
    estimator = BudgetEstimator("question -> answer", floor=10, ceiling=100, default=50)
    with dspy.context(lm=fake_lm("[[5]]", "[[500]]", "hm")):
        assert [estimator(question=q).token_budget for q in "abc"] == [10, 100, 50]
    with pytest.raises(UsageError, match="floor"):
        BudgetEstimator("question -> answer", floor=0)


def test_outputs_of_the_task_are_not_asked_for() -> None:
    assert list(BudgetEstimator("context, question -> a, b: int").predict.signature.fields) == [
        "context",
        "question",
        "token_budget",
    ]


@pytest.mark.parametrize("adapter", [dspy.ChatAdapter(), dspy.ChatAdapter(use_json_adapter_fallback=False)])
@pytest.mark.parametrize("reply", [lambda p: sections(p, "40"), "Budget: [[40]]"])
def test_it_reads_what_it_is_told_under_chat_adapter_too(adapter: Any, reply: Any) -> None:
    with dspy.context(lm=fake_lm(reply), adapter=adapter):
        estimator = BudgetEstimator("question -> answer")
        assert estimator(question="3+4?").token_budget == 40
        assert asyncio.run(estimator.acall(question="3+4?")).token_budget == 40


def test_an_estimator_can_see_some_inputs_only() -> None:
    assert list(input_signature("a, b, c -> d", ["b"]).input_fields) == ["b"]
    assert list(input_signature("a, b -> d", None).input_fields) == ["a", "b"]
    with pytest.raises(SignatureError):
        input_signature("a, token_budget -> d", None)


@pytest.mark.parametrize(
    ("reply", "source"),
    [("It needs 40 tokens to", "fallback"), ("Budget: [[40]]. This is", "estimate"), ("", "fallback")],
)
def test_an_estimate_that_was_cut_counts_only_in_brackets(reply: str, source: str) -> None:
    with ScriptedServer(lambda request: Reply(reply, finish_reason="length")) as server:
        lm = dspy.LM("openai/scripted", api_base=server.url, api_key="key", cache=False)
        with dspy.context(lm=lm):
            pred = BudgetEstimator("question -> answer")(question="3+4?")
    assert pred.receipt["budget_source"] == source
