"""The turns of a conversation in every wire format, and those a provider refuses."""

from typing import Any

import pytest

from tests.provider_server.turns import ChatTurn, turn_refusals, turns_of

USER = {"role": "user", "content": "2+2?"}
SAID = {"role": "assistant", "content": "hm"}
BODIES: dict[str, dict[str, Any]] = {
    "chat": {"messages": [{"role": "developer", "content": "be brief"}, USER, SAID]},
    "messages": {"system": [{"type": "text", "text": "be brief"}], "messages": [USER, SAID]},
    "responses": {"instructions": "be brief", "input": [USER, {"type": "reasoning"}, SAID]},
    "gemini": {
        "systemInstruction": {"parts": [{"text": "be brief"}]},
        "contents": [{"role": "user", "parts": [{"text": "2+2?"}]}, {"role": "model", "parts": [{"text": "hm"}]}],
    },
}


@pytest.mark.parametrize("dialect", BODIES)
def test_the_turns_are_found_in_every_format(dialect: str) -> None:
    assert [(t.role, t.text) for t in turns_of(dialect, BODIES[dialect])] == [
        ("system", "be brief"),
        ("user", "2+2?"),
        ("assistant", "hm"),
    ]


def test_a_text_alone_is_the_users_turn() -> None:
    assert turns_of("responses", {"input": "2+2?"}) == [ChatTurn("user", "2+2?")]


def refused(provider: str, dialect: str, *messages: dict[str, Any]) -> list[str]:
    return list(turn_refusals(provider, dialect, {"input" if dialect == "responses" else "messages": list(messages)}))


@pytest.mark.parametrize(
    ("provider", "dialect", "messages", "said"),
    [
        ("anthropic", "messages", [USER, SAID], "the last turn is the assistant's"),
        ("anthropic", "messages", [SAID, USER], "the first turn must be the user's"),
        ("openai", "chat", [USER, {"role": "assistant", "content": " "}, USER], "the assistant's turn is empty"),
        ("openai", "chat", [{"role": "robot", "content": "hm"}, USER], "role 'robot'"),
        ("vllm", "chat", [USER, USER], "turns must alternate"),
        ("openai", "responses", [USER, {"role": "assistant", "content": [{"type": "input_text", "text": "hm"}]}, USER],
         "an assistant's part is output_text"),
        ("openai", "responses", [{"role": "user", "content": [{"type": "output_text", "text": "hm"}]}],
         "a user's part is input_text"),
    ],
)  # fmt: skip
def test_a_conversation_that_a_provider_refuses_is_refused(
    provider: str, dialect: str, messages: list[dict[str, Any]], said: str
) -> None:
    assert any(said in message for message in refused(provider, dialect, *messages))


def test_a_thought_between_two_questions_is_taken_by_all() -> None:
    for provider, dialect in (("anthropic", "messages"), ("vllm", "chat"), ("openai", "responses")):
        assert refused(provider, dialect, USER, SAID, USER) == []
    assert refused("openai", "chat", USER, USER) == refused("openai", "chat") == []
