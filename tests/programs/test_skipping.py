"""A budget that makes a model skip its reasoning is noticed, and answered where the user says so."""

import asyncio
import re
from pathlib import Path
from typing import Any

import dspy
import pytest
from fake_lm import fake_lm

import tale_dspy
from tale_dspy import BudgetedChainOfThought, FewShotEstimator, TaleEP, UsageError, VanillaCoT, evaluate, receipt
from tale_dspy.accounting.calls import Call
from tale_dspy.adapter import TaleAdapter
from tale_dspy.programs.skipping import skips_reasoning
from tale_dspy.testing import Reply, Request, ScriptedServer

COT = "question -> answer"
BARE, WHOLE = "Answer: [[3]]", "Three and four make seven.\nAnswer: [[7]]"


def shy(prompt: Any) -> str:
    """A model that drops its reasoning wherever a budget is named."""
    text = str(prompt)
    if "minimum number of tokens" in text:
        return "Budget: [[1]]"
    return BARE if re.search(r"\d+ tokens", text) else WHOLE


@pytest.mark.parametrize(
    ("reasoning", "skipped"),
    [
        (None, True),
        ("", True),
        ("Sure.", True),
        ("So:", True),
        ("3*4=12", False),
        ("x=2", False),
        ("Paris is a capital.", False),
        ("法国的首都是巴黎", False),
    ],
)
def test_what_is_no_reasoning(reasoning: str | None, *, skipped: bool) -> None:
    assert skips_reasoning({"reasoning": reasoning, "answer": "7"}, []) is skipped


def test_where_none_was_asked_or_no_answer_came_nothing_is_said() -> None:
    assert skips_reasoning({"answer": "7"}, []) is None
    assert skips_reasoning({"reasoning": None, "answer": None}, []) is None


def test_native_thinking_is_reasoning() -> None:
    call = Call(role="reason", model="m", thought="Let me see.")
    assert skips_reasoning({"reasoning": None, "answer": "7"}, [call]) is False


def test_the_receipt_and_the_record_say_it() -> None:
    with dspy.context(lm=fake_lm(shy)):
        budgeted, plain = BudgetedChainOfThought(COT, 50)(question="3+4?"), VanillaCoT(COT)(question="3+4?")
    assert (receipt(budgeted).skipped, receipt(plain).skipped) == (True, False)
    assert "the reasoning was skipped" in str(receipt(budgeted))
    rows = [dspy.Example(question="3+4?", answer="7").with_inputs("question")]
    runs = [evaluate(p, rows, lm=fake_lm(shy)) for p in (BudgetedChainOfThought(COT, 50), dspy.ChainOfThought(COT))]
    assert runs[0].records[0].skipped is True


@pytest.mark.parametrize("asynchronous", [False, True])
def test_unbudgeted_asks_again_without_a_budget(*, asynchronous: bool) -> None:
    program = BudgetedChainOfThought(COT, 50, on_skip="unbudgeted")
    lm = fake_lm(shy)
    with dspy.context(lm=lm, trace=[]):
        pred = asyncio.run(program.acall(question="3+4?")) if asynchronous else program(question="3+4?")
        steps = [step[2].answer for step in dspy.settings.trace]
    call_receipt = receipt(pred)
    assert (pred.answer, call_receipt.skipped, pred.token_budget, steps) == ("7", True, 50, ["7"])
    assert [call.role for call in call_receipt.calls] == ["reason", "recovery"]
    assert "50 tokens" not in str(lm.prompts[1])


@pytest.mark.parametrize("fault", ["refused", "unreadable"])
def test_the_first_answer_stands_where_the_second_call_brings_none(fault: str) -> None:
    asked = []

    def reply(request: Request) -> Reply:
        asked.append(request)
        if len(asked) == 1:
            return Reply("[[ ## reasoning ## ]]\nSure.\n\n[[ ## answer ## ]]\n3")
        return Reply("too long", status=400) if fault == "refused" else Reply("No idea.")

    with ScriptedServer(reply) as server:
        lm = dspy.LM("openai/s", api_base=server.url, api_key="any", engine="auto", cache=False)
        program = BudgetedChainOfThought(COT, 50, on_skip="unbudgeted", adapter=dspy.ChatAdapter())
        with dspy.context(lm=lm, trace=[]):
            pred = program(question="3+4?")
            steps = [step[2].answer for step in dspy.settings.trace]
    assert (pred.answer, receipt(pred).skipped, steps) == ("3", True, ["3"])


def test_floor_asks_again_with_a_larger_budget() -> None:
    lm = fake_lm(shy)
    with dspy.context(lm=lm):
        BudgetedChainOfThought(COT, 50, on_skip="floor")(question="3+4?")
        BudgetedChainOfThought(COT, 300, on_skip="floor")(question="3+4?")
    assert ["256 tokens" in str(lm.prompts[1]), "600 tokens" in str(lm.prompts[3])] == [True, True]


def test_an_answer_with_reasoning_is_asked_once() -> None:
    lm = fake_lm(WHOLE)
    with dspy.context(lm=lm):
        pred = BudgetedChainOfThought(COT, 50, on_skip="unbudgeted")(question="3+4?")
    assert (len(lm.prompts), receipt(pred).skipped) == (1, False)


@pytest.mark.parametrize(
    ("options", "sent", "source"),
    [
        ({}, 256, "fallback"),
        ({"adapter": TaleAdapter("paper")}, 1, "estimate"),
        ({"adapter": TaleAdapter("paper"), "on_skip": "unbudgeted"}, 256, "fallback"),
        ({"estimator": FewShotEstimator(COT, [{"question": "1+1?", "token_budget": 2}])}, 1, "estimate"),
        ({"least_budget": 1}, 1, "estimate"),
        ({"on_skip": "unbudgeted"}, 256, "fallback"),
        ({"on_skip": "unbudgeted", "ceiling": 100}, 100, "fallback"),
        ({"on_skip": "unbudgeted", "least_budget": 1}, 1, "estimate"),
    ],
)
def test_an_estimate_that_cannot_be_meant_falls_back(options: dict[str, Any], sent: int, source: str) -> None:
    with dspy.context(lm=fake_lm(shy)):
        pred = TaleEP(COT, **options)(question="3+4?")
    assert (pred.token_budget, receipt(pred).budget_source, receipt(pred).estimate) == (sent, source, 1)


def test_the_policy_is_saved_and_others_are_refused(tmp_path: Path) -> None:
    TaleEP(COT, on_skip="floor", least_budget=40).save(tmp_path / "p.json")
    loaded = tale_dspy.load(tmp_path / "p.json")
    assert (loaded.on_skip, loaded.skip_state.least_budget) == ("floor", 40)
    with pytest.raises(UsageError, match="on_skip must be unbudgeted or floor"):
        BudgetedChainOfThought(COT, on_skip="pray")  # type: ignore[arg-type]


@pytest.mark.parametrize(("program", "warned"), [(BudgetedChainOfThought(COT, 50), True), (VanillaCoT(COT), False)])
def test_a_run_says_after_30_replies_that_most_skip_their_reasoning(
    program: Any, caplog: pytest.LogCaptureFixture, *, warned: bool
) -> None:
    rows = [dspy.Example(question=f"{n}+4?", answer="7").with_inputs("question") for n in range(32)]
    summary = evaluate(program, rows, lm=fake_lm(shy)).summary
    assert summary["skipped"] == {"asked": 32, "skipped": 32 if warned else 0}
    warnings = [r.getMessage() for r in caplog.records if "skip its reasoning" in r.getMessage()]
    assert len(warnings) == int(warned)
    assert not warned or re.match(r"the budget makes .*: 30 of 30 replies have none; accuracy so far 0 %", warnings[0])
