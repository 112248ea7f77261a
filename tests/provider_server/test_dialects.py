"""The wire formats: where the prompt stands, and how counts are laid out."""

from typing import Any

import pytest

from tale_dspy.testing import Reply
from tests.provider_server.dialects import DIALECTS, dialect_of

REPLY = Reply("four", reasoning="two and two", completion_tokens=10, finish_reason="length")
SAID: dict[str, dict[str, Any]] = {
    "responses": {"input": [{"role": "user", "content": [{"type": "input_text", "text": "2+2?"}]}]},
    "gemini": {"contents": [{"role": "user", "parts": [{"text": "2+2?"}]}]},
}
CHAT = {"messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "2+2?"}]}


@pytest.mark.parametrize("name", DIALECTS)
def test_the_prompt_is_what_the_user_said_last(name: str) -> None:
    assert DIALECTS[name].prompt(SAID.get(name, CHAT)) == "2+2?"
    assert DIALECTS[name].prompt({}) == ""


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/openai/v1/chat/completions", "chat"),
        ("/openai/responses", "responses"),
        ("/anthropic/v1/messages", "messages"),
        ("/gemini/models/gemini-2.5-pro:generateContent", "gemini"),
        ("/ollama/api/chat", "ollama"),
        ("/bedrock/model/x/converse", "converse"),
        ("/ollama/api/show", None),
    ],
)
def test_a_path_tells_the_format(path: str, name: str | None) -> None:
    assert dialect_of(path) == name


@pytest.mark.parametrize(
    ("name", "place", "count"),
    [
        ("chat", ("usage", "completion_tokens"), 10),
        ("chat", ("usage", "completion_tokens_details", "reasoning_tokens"), 3),
        ("responses", ("usage", "output_tokens_details", "reasoning_tokens"), 3),
        ("responses", ("incomplete_details", "reason"), "max_output_tokens"),
        ("messages", ("usage", "output_tokens"), 10),
        ("messages", ("usage", "output_tokens_details", "thinking_tokens"), 3),
        ("messages", ("stop_reason",), "max_tokens"),
        ("gemini", ("usageMetadata", "candidatesTokenCount"), 7),  # thoughts are counted beside them
        ("gemini", ("usageMetadata", "thoughtsTokenCount"), 3),
        ("ollama", ("eval_count",), 10),
        ("ollama", ("message", "thinking"), "two and two"),
        ("converse", ("usage", "outputTokens"), 10),
    ],
)
def test_each_format_says_the_same_in_its_own_way(name: str, place: tuple[str, ...], count: Any) -> None:
    document: Any = DIALECTS[name].document(SAID.get(name, CHAT), REPLY)
    for part in place:
        document = document[part]
    assert document == count


@pytest.mark.parametrize("name", DIALECTS)
def test_a_reply_of_nothing_but_thinking_has_no_text(name: str) -> None:
    document = DIALECTS[name].document(SAID.get(name, CHAT), Reply(None, reasoning="hm"))
    assert "'text': ''" not in str(document)
    assert "None" not in str(document.get("content", ""))
