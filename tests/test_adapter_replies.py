"""TaleAdapter reads replies back whatever their types: tool calls, JSON values, thoughts, and what is none of these."""

from typing import Any, Literal

import dspy
import pydantic
import pytest
from dspy.lm15 import ToolCallPart
from fake_lm import fake_lm, text_of, thinking
from signatures import make

from tale_dspy.adapter import TaleAdapter


def weather(city: str) -> str:
    """Tell the weather."""
    return f"sun in {city}"


class Act(dspy.Signature):
    question: str = dspy.InputField()
    tools: list[dspy.Tool] = dspy.InputField()
    calls: dspy.ToolCalls = dspy.OutputField()


def test_tool_calls_are_asked_for_and_read_as_chat_adapter_does() -> None:
    lm = fake_lm('[[ ## calls ## ]]\n{"tool_calls": [{"name": "weather", "args": {"city": "Bonn"}}]}')
    with dspy.context(lm=lm, adapter=TaleAdapter()):
        pred = dspy.Predict(Act)(question="Bonn?", tools=[dspy.Tool(weather)])
    assert pred.calls.tool_calls[0].args == {"city": "Bonn"}
    assert "weather" in lm.prompts[0]
    assert "[[ ## calls ## ]]" in lm.prompts[0]


def test_native_tool_calls_are_read() -> None:
    call = ToolCallPart("1", "weather", {"city": "Bonn"})
    with dspy.context(lm=fake_lm([call]), adapter=TaleAdapter(use_native_function_calling=True)):
        pred = dspy.Predict(Act)(question="Bonn?", tools=[dspy.Tool(weather)])
    assert pred.calls.tool_calls[0].args == {"city": "Bonn"}


def test_tool_calls_nobody_asked_for_are_no_reply() -> None:
    row = {"text": None, "tool_calls": [{"function": {"name": "f", "arguments": "[1"}}]}
    signature = dspy.Signature("question -> answer")
    assert TaleAdapter()._call_postprocess(signature, signature, [row], None, {}) == [{"answer": None}]


def test_a_broken_native_call_leaves_the_other_fields() -> None:
    signature = Act.append("note", dspy.OutputField(), type_=str)
    row = {"text": "Note: [[hm]]", "tool_calls": [{"function": {"arguments": "[1, 2]"}}]}
    value = TaleAdapter()._call_postprocess(signature.delete("calls"), signature, [row], None, {})[0]
    assert value == {"calls": None, "note": "hm"}


def test_react_works_under_it() -> None:
    step = "Next Thought: [[look]]\nNext Tool Name: [[{}]]\n[[ ## next_tool_args ## ]]\n{}"
    lm = fake_lm(step.format("weather", '{"city": "Bonn"}'), step.format("finish", "{}"), "Sun.\nAnswer: [[sun]]")
    with dspy.context(lm=lm, adapter=TaleAdapter()):
        pred = dspy.ReAct("question -> answer", tools=[weather])(question="Bonn?")
    assert pred.answer == "sun"
    assert "Observation 0: sun in Bonn" in lm.prompts[2]
    assert "without any reasoning" not in text_of(lm.fake.requests[2].messages[-1])


# ---- round trips


class Item(pydantic.BaseModel):
    name: str
    price: float | None = None


JSON_VALUES = [
    (str, '[[ ## answer ## ]]\nx [y] "z" ]]'),
    (str, ""),
    (str, "漢字\n😀"),
    (int, -5),
    (float, 1e-7),
    (bool, False),
    (Literal["yes", "no"], "no"),
    (list[str], ["[[ ## completed ## ]]", "", '"', "\n]]"]),
    (list[list[int]], [[1, 2], [3, 4]]),
    (dict[str, Any], {"a": [None, 1.5, True, "[["], "": {"\n": "\ud800"}}),
    (Item, Item(name="[[x]]\n", price=None)),
    (list[Item], [Item(name='"', price=2.5)]),
    (Item | None, Item(name="x")),
    (str | None, "null"),
    (str | None, None),
    (int | None, None),
    (dict[str, int] | None, None),
]


@pytest.mark.parametrize(("kind", "value"), JSON_VALUES, ids=range(len(JSON_VALUES)))
@pytest.mark.parametrize("name", ["answer", "result"])
def test_any_json_value_is_read_back_as_it_was_written(kind: Any, value: Any, name: str) -> None:
    signature = make(reasoning=str, **{name: kind})
    outputs = {"reasoning": "It may be [[3]], or\nAnswer: 4. No.", name: value}
    reply = TaleAdapter().format_assistant_message_content(signature, outputs)
    assert TaleAdapter().parse(signature, reply) == outputs


@pytest.mark.parametrize(("kind", "value"), JSON_VALUES, ids=range(len(JSON_VALUES)))
def test_a_value_beside_others_is_read_back_too(kind: Any, value: Any) -> None:
    signature = make(note=str, answer=kind, sub_total=float)
    outputs = {"note": "Answer: [[n", "answer": value, "sub_total": 7.5}
    reply = TaleAdapter().format_assistant_message_content(signature, outputs)
    assert TaleAdapter().parse(signature, reply) == outputs


def test_a_default_takes_the_place_of_what_cannot_be_read() -> None:
    fields = {
        "question": (str, dspy.InputField()),
        "n": (int, dspy.OutputField(default=3)),
        "m": (int, dspy.OutputField()),
    }
    assert TaleAdapter().parse(dspy.Signature(fields), "no idea") == {"n": 3, "m": None}


@pytest.mark.parametrize("reply", ["", "   ", "hm", "]]", thinking("so")], ids=str)
@pytest.mark.parametrize("kind", [str, int, dict[str, int]])
def test_an_unreadable_reply_is_none_and_never_asked_again(reply: Any, kind: Any) -> None:
    lm = fake_lm(reply)
    with dspy.context(lm=lm, adapter=TaleAdapter()):
        pred = dspy.Predict(make(reasoning=str, answer=kind))(question="Q")
    assert pred.answer is None
    assert len(lm.prompts) == 1


@pytest.mark.parametrize("field", [str, dspy.Reasoning])
@pytest.mark.parametrize(
    ("reply", "reasoning"),
    [
        ("Two.\nAnswer: [[2]]", "Two."),
        (thinking("natively", "Answer: [[2]]"), "natively"),
        ("the words reasoning_content\nAnswer: [[2]]", "the words reasoning_content"),
    ],
)
def test_the_reasoning_is_the_text_or_else_the_native_thought(field: Any, reply: Any, reasoning: str) -> None:
    with dspy.context(lm=fake_lm(reply), adapter=TaleAdapter()):
        pred = dspy.Predict(make(reasoning=field, answer=str))(question="Q")
    assert (str(pred.reasoning), pred.answer) == (reasoning, "2")
    assert isinstance(pred.reasoning, field)


def test_an_empty_reply_with_a_thought_keeps_the_thought() -> None:
    with dspy.context(lm=fake_lm(thinking("so")), adapter=TaleAdapter()):
        assert dict(dspy.Predict("question -> reasoning, answer")(question="Q")) == {"reasoning": "so", "answer": None}
