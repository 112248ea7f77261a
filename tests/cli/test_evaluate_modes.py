"""`tale eval --mode`: how budgets are sent, and what the summary tells of it."""

from collections.abc import Callable
from typing import Any

import pytest

Tale = Callable[..., Any]


def test_a_cap_is_sent_and_reported(tale: Tale, task_flags: list[str], server: Any) -> None:
    output = tale("eval", "budget:30", "--mode", "cap", *task_flags, "--limit", 2, "--json").json
    assert {r.body["max_completion_tokens"] for r in server.requests} == {30}
    assert output["modes"] == {"cap": 2}
    assert output["reasoning_notes"] == {}
    assert output["adherence_mean"] == pytest.approx(output["output_tokens_mean"] / 30)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("tale-ep", "--mode", "native"), "no reasoning control of openai/scripted is known; use mode prompt or cap"),
        (("tale-ep", "--mode", "fast"), "--mode must be one of auto, prompt, native, cap, got 'fast'"),
        (("direct", "--mode", "cap"), "--mode says how a budget is sent, and direct sends none"),
        (("cot", "--mode", "cap"), "VanillaCoT has no number of tokens to send by mode cap: its modes are auto and"),
    ],
)
def test_a_mode_that_cannot_be_had_is_said_before_anything_is_asked(
    tale: Tale, task_flags: list[str], server: Any, args: tuple[str, ...], said: str
) -> None:
    result = tale("eval", *args, *task_flags)
    assert result.code == 2
    assert said in result.sentence
    assert server.requests == []


def test_the_control_of_a_server_of_ones_own_is_sent(tale: Tale, task_flags: list[str], server: Any) -> None:
    flags = ["--mode", "native", "--server", "sglang", "--limit", 1, "--json"]
    output = tale("eval", "budget:30", *task_flags, *flags).json
    assert server.requests[0].body["custom_params"] == {"thinking_budget": 30}
    assert output["modes"] == {"native": 1}
    assert "server must be one of" in tale("eval", "budget:30", *task_flags, "--server", "tgi").sentence
