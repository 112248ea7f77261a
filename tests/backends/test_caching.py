"""DSPy's cache keys, and the hash a request is known by in a journal."""

from typing import Any

import dspy
import pydantic
import pytest
from dspy.lm15 import Config, Message, Request

import tale_dspy
from tale_dspy.backends.caching import request_hash, with_thoughts_apart
from tale_dspy.testing import Reply, ScriptedServer

MODEL = "openai/x"
MESSAGES = [{"role": "user", "content": "q"}]


@pytest.mark.parametrize(
    "config",
    [
        {"api_base": "http://elsewhere"},
        {"base_url": "http://elsewhere"},
        {"timeout": 5},
        {"cache": False},
        {"num_retries": 9},
        {"temperature": None},
    ],
)
def test_what_decides_no_reply_is_not_hashed(config: dict[str, Any]) -> None:
    assert request_hash(MODEL, MESSAGES, config) == request_hash(MODEL, MESSAGES, {})


class Short(pydantic.BaseModel):
    answer: str


class Long(pydantic.BaseModel):
    answer: str
    proof: str


@pytest.mark.parametrize(
    ("model", "request_", "config"),
    [
        ("openai/y", MESSAGES, {}),
        (MODEL, "q", {}),
        (MODEL, [{"role": "system", "content": "q"}], {}),
        (MODEL, MESSAGES, {"temperature": 0.5}),
        (MODEL, MESSAGES, {"temperature": 0}),
        (MODEL, MESSAGES, {"rollout_id": 1}),
        (MODEL, MESSAGES, {"n": 2}),
        (MODEL, MESSAGES, {"response_format": Short}),
        (MODEL, MESSAGES, {"response_format": Long}),
        (MODEL, MESSAGES, {"extra_body": {"min_p": 0.1}}),
    ],
)
def test_what_decides_a_reply_is_hashed(model: str, request_: Any, config: dict[str, Any]) -> None:
    others = [(MODEL, MESSAGES, {}), (MODEL, MESSAGES, {"response_format": dict})]
    assert request_hash(model, request_, config) not in [request_hash(*other) for other in others]


def test_two_schemas_of_one_name_are_distinguished() -> None:
    one, two = (pydantic.create_model("Answer", **{name: (str, ...)}) for name in ("a", "b"))  # type: ignore[call-overload]
    assert request_hash("m", "q", {"response_format": one}) != request_hash("m", "q", {"response_format": two})


def test_a_hash_is_the_same_in_every_process() -> None:
    class Thing:
        pass

    config = {"stop": {"b", "a"}, "thing": Thing(), "text": "\ud800"}
    assert request_hash(MODEL, MESSAGES, config) == request_hash(MODEL, MESSAGES, {**config, "thing": Thing()})
    assert request_hash(MODEL, MESSAGES, {"temperature": 0.5}) == "d4bab17aaaf3ff31dc34de9f25c338f0"


def test_an_explicit_request_is_hashed_by_its_content() -> None:
    def of(text: str) -> str:
        return request_hash(MODEL, Request(model=MODEL, messages=(Message.user(text),), config=Config()), {})

    assert of("a") == of("a") != of("b")


@pytest.mark.parametrize(
    ("output", "split"),
    [
        ("Answer: [[4]]", "Answer: [[4]]"),
        ("<think>hm</think>[[4]]", {"text": "[[4]]", "reasoning_content": "hm"}),
        ("hm</think>[[4]]", {"text": "[[4]]", "reasoning_content": "hm"}),
        ("<think>hm and then", {"text": "", "reasoning_content": "hm and then"}),
        (
            {"text": "[THINK]b[/THINK]4", "reasoning_content": "a"},
            {"text": "4", "reasoning_content": "a\nb"},
        ),
        ({"text": None, "tool_calls": []}, {"text": None, "tool_calls": []}),
    ],
)
def test_thinking_in_the_text_goes_where_native_thinking_goes(output: Any, split: Any) -> None:
    assert with_thoughts_apart([output]) == [split]


@pytest.mark.parametrize("engine", ["litellm", "auto"])
@pytest.mark.parametrize(
    ("text", "finish", "outcome"),
    [
        ("<think>3? no</think>\nAnswer: [[4]]", "stop", "correct"),
        ("3? no</think>Answer: [[4]]", "stop", "correct"),
        ("<think>is it [[4]]? or", "length", "empty"),
    ],
)
def test_both_engines_keep_thinking_out_of_the_answer(engine: str, text: str, finish: str, outcome: str) -> None:
    with ScriptedServer(Reply(text, finish_reason=finish)) as server:
        lm = tale_dspy.LM("openai/x", api_base=server.url, api_key="k", engine=engine, cache=False)
        examples = [dspy.Example(question="2+2?", answer="4").with_inputs("question")]
        (record,) = tale_dspy.evaluate(tale_dspy.VanillaCoT("question -> answer"), examples, lm=lm).records
    assert record.outcome == outcome
