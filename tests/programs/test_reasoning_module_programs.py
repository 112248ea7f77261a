"""Modules without a number to send: a model that thinks natively is asked for its reasoning once."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dspy
import pytest
from thinkers import lm

import tale_dspy
from tale_dspy import LM, ChainOfDraft, Concise, SelfBudgeted, TaleEP, UsageError, VanillaCoT, receipt
from tale_dspy.programs.convert import unbudgeted
from tale_dspy.testing import Reply, Request, ScriptedServer

KINDS = [VanillaCoT, Concise, ChainOfDraft, SelfBudgeted]
ADAPTERS = [None, dspy.ChatAdapter(use_json_adapter_fallback=False)]


def answer(request: Request) -> Reply:
    text = "Budget: [[12]]\nAnswer: [[4]]" if request.kind == "stated" else "Answer: [[4]]"
    if "[[ ## answer ## ]]" in request.system:
        text = "[[ ## token_budget ## ]]\n12\n\n[[ ## answer ## ]]\n4\n\n[[ ## completed ## ]]"
    return Reply(text, reasoning="two and two", completion_tokens=60)


@pytest.fixture
def thinker() -> Iterator[ScriptedServer]:
    with ScriptedServer(answer) as server:
        yield server


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_thought_stands_for_the_reasoning(thinker: ScriptedServer, kind: Any, adapter: Any) -> None:
    module = kind("question -> answer", adapter=adapter)
    with dspy.context(lm=lm(thinker)):
        preds = [module(question="2+2?"), asyncio.run(module.acall(question="2+2?"))]
    for pred, request in zip(preds, thinker.requests, strict=True):
        assert (list(pred.keys()), pred.reasoning, pred.answer) == (["reasoning", "answer"], "two and two", "4")
        text = "".join(str(m["content"]) for m in request.messages)
        assert "step by step:" not in text and "reasoning ##" not in text
        assert "without any reasoning" not in text
    assert [receipt(p).token_budget for p in preds] == [12 if kind is SelfBudgeted else None] * 2


def test_the_prompts_are_these(thinker: ScriptedServer) -> None:
    form = "Please Give the response by strictly following this format: "
    with dspy.context(lm=lm(thinker)):
        VanillaCoT("question -> answer")(question="2+2?")
        Concise("question -> answer")(question="2+2?")
        SelfBudgeted("question -> answer")(question="2+2?")
        VanillaCoT("a, b -> total: int, ok: bool")(a="2", b="2")
        VanillaCoT("question -> choice")(question="2+2?")
    plain = f"Q: 2+2?\n{form}[[answer]], for example: Answer: [[50]]."
    assert [r.prompt for r in thinker.requests] == [
        plain,
        f"Be concise.\n\n{plain}",
        f"{plain}Before you think, settle on the minimum number of tokens that you need, and think in fewer than that. "
        "State that number first in your reply, for example: Budget: [[12]].\n",
        f"A: 2\nB: 2\n{form}Total: [[total]] (must be a single int value), Ok: [[ok]] (must be True or False).",
        f"2+2?\n{form}[[choice]],for example: Choice: [[A]].\n",
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_mode_prompt_asks_for_it_all_the_same(thinker: ScriptedServer, kind: Any) -> None:
    with dspy.context(lm=lm(thinker)):
        kind("question -> answer", mode="prompt")(question="2+2?")
        kind("question -> answer")(question="2+2?", mode="prompt")
    assert all("step by step" in r.prompt for r in thinker.requests)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("model", "settings"),
    [("openai/gpt-4o-mini", {}), ("anthropic/claude-sonnet-4-5", {}), ("gemini/gemini-2.5-flash", {"off": True})],
)
def test_a_model_that_does_not_think_as_it_is_set_up_is_asked_for_its_reasoning(
    kind: Any, model: str, settings: dict[str, Any]
) -> None:
    config = {"reasoning_effort": "none"} if settings else {}
    lm = LM(model, api_key="k")
    call = kind("question -> answer").prepare_call({"question": "2+2?", "lm": lm, "config": config})
    assert call == {"question": "2+2?", "lm": lm, "config": config}


def test_the_control_of_a_call_decides() -> None:
    model = LM("anthropic/claude-sonnet-4-5", api_key="k")
    config = {"thinking": {"type": "enabled", "budget_tokens": 2000}}
    call = VanillaCoT("question -> answer").prepare_call({"question": "2+2?", "lm": model, "config": config})
    assert list(call["signature"].output_fields) == ["answer"]


def test_an_input_named_mode_stays_an_input() -> None:
    call = {"question": "2+2?", "mode": "fast", "lm": LM("openai/gpt-4o-mini", api_key="k")}
    assert VanillaCoT("question, mode -> answer").prepare_call(call) == call


@pytest.mark.parametrize("mode", ["native", "cap"])
@pytest.mark.parametrize("kind", KINDS)
def test_there_is_no_number_to_send(kind: Any, mode: Any) -> None:
    with pytest.raises(UsageError, match=f"{kind.__name__} has no number of tokens to send by mode {mode}"):
        kind("question -> answer", mode=mode)
    with pytest.raises(UsageError, match="its modes are auto and prompt"):
        kind("question -> answer")(question="2+2?", mode=mode)
    with pytest.raises(UsageError, match="mode must be one of"):
        kind("question -> answer").mode = "fast"


def test_the_mode_is_saved_and_an_older_file_has_none(tmp_path: Path) -> None:
    VanillaCoT("question -> answer", mode="prompt").save(tmp_path / "p.json")
    assert tale_dspy.load(tmp_path / "p.json").mode == "prompt"
    state = VanillaCoT("question -> answer", mode="prompt").dump_state()
    del state["mode_state"]
    module = VanillaCoT("question -> answer")
    module.load_state(state)
    assert module.mode == "auto"


def test_the_twin_without_a_budget_asks_as_the_budgeted_one_does() -> None:
    modes = [unbudgeted(TaleEP("question -> answer", mode=mode)).mode for mode in ("auto", "prompt", "native", "cap")]
    assert modes == ["auto", "prompt", "auto", "auto"]


def test_a_shadow_check_of_a_native_thinker_does_not_ask_for_visible_reasoning(thinker: ScriptedServer) -> None:
    for mode, visible in (("auto", False), ("prompt", True)):
        thinker.reset()
        with dspy.context(lm=lm(thinker)), tale_dspy.track() as ledger:
            TaleEP("question -> answer", shadow_rate=1, mode=mode)(question="2+2?", token_budget=3000)  # type: ignore[arg-type]
        assert ("step by step" in thinker.requests[-1].prompt) is visible
        assert ledger.shadow.calls == 1


def test_a_recovery_of_a_native_thinker_keeps_to_what_was_asked() -> None:
    replies = [Reply(None, reasoning="hmm", finish_reason="length", completion_tokens=9), Reply("Answer: [[4]]")]
    with ScriptedServer(lambda request: replies.pop(0)) as server, dspy.context(lm=lm(server)):
        pred = SelfBudgeted("question -> answer", on_truncation="force_answer")(question="2+2?")
    assert (pred.answer, pred.reasoning, receipt(pred).status) == ("4", "hmm", "answered")
