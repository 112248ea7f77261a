"""Modules with a mode: what reaches the server, what is asked for a second time, and what the receipt tells."""

import copy
from collections.abc import Iterator
from pathlib import Path

import dspy
import pytest
from thinkers import lm

import tale_dspy
from tale_dspy import LM, BudgetedChainOfThought, BudgetEstimator, TaleEP, UsageError, budgeted, receipt
from tale_dspy.adapter import TaleAdapter
from tale_dspy.testing import Reply, Request, ScriptedServer


def answer(request: Request) -> Reply:
    if request.kind == "estimate":
        return Reply("Budget: [[40]]")
    return Reply("Answer: [[4]]", reasoning="two and two", completion_tokens=60)


@pytest.fixture
def thinker() -> Iterator[ScriptedServer]:
    with ScriptedServer(answer) as server:
        yield server


def test_a_model_that_thinks_natively_is_prepare_call_and_not_for_its_reasoning(thinker: ScriptedServer) -> None:
    with dspy.context(lm=lm(thinker)):
        pred = TaleEP("question -> answer")(question="2+2?")
    (request,) = thinker.requests
    assert request.body["reasoning_effort"] == "low"
    assert "step by step" not in request.prompt
    assert "Use less than 2048 tokens" in request.prompt
    assert list(pred.keys()) == ["reasoning", "answer"]
    assert (pred.reasoning, pred.answer) == ("two and two", "4")


def test_its_receipt_is_complete(thinker: ScriptedServer) -> None:
    with dspy.context(lm=lm(thinker)):
        pred = TaleEP("question -> answer")(question="2+2?", token_budget=30)
    call_receipt = receipt(pred)
    assert (call_receipt.token_budget, call_receipt.budget_source, call_receipt.mode, call_receipt.mode_asked) == (
        30,
        "given",
        "native",
        "auto",
    )
    assert call_receipt.reasoning_params == {"reasoning_effort": "minimal"}
    assert call_receipt.reasoning_notes == ["minimal is the least effort GPT-5 takes: some 1024 tokens, not 30"]
    assert (call_receipt.reasoning_tokens, call_receipt.visible_tokens, call_receipt.adherence) == (3, 57, 2.0)
    assert "budget 30 (given, native), 60 output tokens" in str(call_receipt)
    assert pred.receipt["reasoning_params"] == call_receipt.reasoning_params
    assert tale_dspy.Receipt.from_json(pred.receipt) == call_receipt


def test_an_estimate_is_asked_for_with_the_least_effort(thinker: ScriptedServer) -> None:
    with dspy.context(lm=lm(thinker)):
        pred = TaleEP("question -> answer", mode="native")(question="2+2?")
    first, second = thinker.requests
    assert first.kind == "estimate"
    assert first.body["reasoning_effort"] == "minimal"
    assert "Use less than 40 tokens" in second.prompt
    assert receipt(pred).budget_source == "estimate"


def test_an_estimator_with_a_model_that_does_not_think_is_asked(thinker: ScriptedServer) -> None:
    estimator = BudgetEstimator("question -> answer")
    estimator.set_lm(lm(thinker, "openai/gpt-4o-mini"))
    with dspy.context(lm=lm(thinker)):
        pred = TaleEP("question -> answer", estimator)(question="2+2?")
    assert [r.body["model"] for r in thinker.requests] == ["gpt-4o-mini", "gpt-5"]
    assert pred.token_budget == 40


def test_the_default_budget_keeps_the_limits(thinker: ScriptedServer) -> None:
    with dspy.context(lm=lm(thinker)):
        pred = TaleEP("question -> answer", ceiling=900)(question="2+2?")
    assert (pred.token_budget, receipt(pred).budget_source) == (900, "default")


def test_prompt_mode_is_the_papers_prompt_for_a_thinking_model_too(thinker: ScriptedServer) -> None:
    with dspy.context(lm=lm(thinker)):
        BudgetedChainOfThought("question -> answer", 50, mode="prompt", adapter=TaleAdapter("paper"))(question="2+2?")
    (request,) = thinker.requests
    assert "step by step and use less than 50 tokens" in request.prompt
    assert "reasoning_effort" not in request.body


def test_a_call_has_its_own_mode(thinker: ScriptedServer) -> None:
    program = BudgetedChainOfThought("question -> answer", 500)
    with dspy.context(lm=lm(thinker, "openai/gpt-4o-mini")):
        capped = program(question="2+2?", mode="cap")
        plain = program(question="2+2?")
    assert [r.body.get("max_completion_tokens") for r in thinker.requests] == [500, None]
    assert (receipt(capped).mode, receipt(plain).mode) == ("cap", "prompt")
    assert receipt(capped).reasoning_params == {"max_completion_tokens": 500}


async def test_acall_sends_the_same(thinker: ScriptedServer) -> None:
    with dspy.context(lm=lm(thinker)):
        pred = await BudgetedChainOfThought("question -> answer").acall(
            question="2+2?", token_budget=9000, mode="native"
        )
        await TaleEP("question -> answer").acall(question="2+2?")
    assert [r.body["reasoning_effort"] for r in thinker.requests] == ["medium", "low"]
    assert pred.reasoning == "two and two"


def test_an_input_named_mode_stays_an_input(thinker: ScriptedServer) -> None:
    with dspy.context(lm=lm(thinker)):
        pred = TaleEP("question, mode -> answer", mode="prompt")(question="2+2?", mode="fast", token_budget=9)
    assert "Mode: fast" in thinker.requests[0].prompt
    assert receipt(pred).mode == "prompt"


def test_native_without_a_control_ends_before_anything_is_sent(thinker: ScriptedServer) -> None:
    with dspy.context(lm=lm(thinker, "openai/gpt-4o-mini")), pytest.raises(UsageError, match="use mode prompt or cap"):
        BudgetedChainOfThought("question -> answer", 50, mode="native")(question="2+2?")
    assert thinker.requests == []


def test_settings_of_the_call_are_kept_and_not_changed(thinker: ScriptedServer) -> None:
    config = {"seed": 5, "extra_body": {"x": {"y": 1}}}
    before = copy.deepcopy(config)
    program = BudgetedChainOfThought("question -> answer", 9000, mode="native")
    with dspy.context(lm=LM("openai/gpt-5", api_base=thinker.url, api_key="k", cache=False, engine="litellm")):
        program(question="2+2?", config=config)
    body = thinker.requests[0].body
    assert (body["seed"], body["x"], body["reasoning_effort"]) == (5, {"y": 1}, "medium")
    assert config == before


def test_the_mode_is_saved_and_loaded(tmp_path: Path) -> None:
    for program in (TaleEP("question -> answer", mode="native"), BudgetedChainOfThought("q -> a", 50, mode="cap")):
        program.save(tmp_path / "program.json")
        assert tale_dspy.load(tmp_path / "program.json").mode == program.mode


def test_a_program_saved_without_a_mode_loads(tmp_path: Path) -> None:
    state = TaleEP("question -> answer", mode="native").dump_state()
    del state["mode_state"]
    program = TaleEP("question -> answer", mode="cap")
    program.load_state(state)
    assert program.mode == "cap"


def test_budgeted_gives_every_twin_the_mode() -> None:
    assert budgeted(dspy.ChainOfThought("question -> answer"), mode="cap").mode == "cap"


def test_a_mode_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError, match="mode must be one of"):
        TaleEP("question -> answer", mode="fast")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="mode must be one of"):
        TaleEP("question -> answer").mode = "fast"  # type: ignore[assignment]
