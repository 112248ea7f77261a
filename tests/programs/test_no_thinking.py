"""NoThinking: the switch of each family, visible steps, and what is said where thinking cannot be switched off."""

import json
from typing import Any

import dspy
import pytest
from fake_lm import fake_lm

import tale_dspy
from tale_dspy import NoThinking, receipt
from tale_dspy.testing import Reply, ScriptedServer

COT = "question -> answer"


def ask(model: str, **settings: Any) -> tuple[Any, dict[str, Any]]:
    with ScriptedServer(Reply("Three and four.\nAnswer: [[7]]")) as server:
        lm = tale_dspy.LM(model, api_base=server.url, api_key="any", engine="auto", cache=False, **settings)
        with dspy.context(lm=lm):
            pred = NoThinking(COT)(question="3+4?")
        (request,) = server.requests
    return pred, request.body


@pytest.mark.parametrize(
    ("model", "part"),
    [
        ("hosted_vllm/Qwen/Qwen3-8B", {"chat_template_kwargs": {"enable_thinking": False}}),
        ("openai/gpt-5.6", {"reasoning_effort": "none"}),
        ("openai/gpt-5", {"reasoning_effort": "minimal"}),
    ],
)
def test_thinking_is_switched_off_or_least(model: str, part: dict[str, Any]) -> None:
    pred, body = ask(model)
    assert part.items() <= body.items() and pred.answer == "7"
    assert (receipt(pred).effort, receipt(pred).reasoning_params) == ("none", part)


def test_the_steps_are_asked_for_where_thinking_is_off_and_only_there() -> None:
    prompts = [json.dumps(ask(model)[1]) for model in ("openai/gpt-5.6", "openai/gpt-5")]
    assert ["step by step" in prompt for prompt in prompts] == [True, False]


def test_what_cannot_be_switched_off_is_said() -> None:
    pred, _ = ask("openai/gpt-5")
    assert receipt(pred).reasoning_notes == ["GPT-5 has no effort none: minimal was sent"]


def test_a_model_that_does_not_think_is_asked_as_ever() -> None:
    lm = fake_lm("So.\nAnswer: [[7]]")
    with dspy.context(lm=lm):
        pred = NoThinking(COT)(question="3+4?")
    assert (pred.answer, receipt(pred).reasoning_notes) == ("7", []) and "step by step" in str(lm.prompts[0])
