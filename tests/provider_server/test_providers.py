"""The recording server for all wire formats."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tale_dspy.testing import Reply
from tests.provider_server.providers import ProviderServer, SentRequest


@pytest.fixture
def provider() -> Iterator[ProviderServer]:
    with ProviderServer(lambda sent: Reply(f"{sent.provider} says 4")) as server:
        yield server


def post(url: str, body: Any) -> Any:
    with urlopen(Request(url, json.dumps(body).encode(), {"authorization": "Bearer sk-1"}), timeout=10) as answer:
        return json.loads(answer.read())


def test_each_provider_answers_in_its_own_format(provider: ProviderServer) -> None:
    chat = {"model": "gpt-4o", "messages": [{"role": "user", "content": "2+2?"}]}
    response = post(f"{provider.base('openai')}/chat/completions", chat)
    assert response["choices"][0]["message"]["content"] == "openai says 4"
    gemini = {"contents": [{"role": "user", "parts": [{"text": "2+2?"}]}]}
    response = post(f"{provider.base('gemini')}/models/gemini-2.5-pro:generateContent", gemini)
    assert response["candidates"][0]["content"]["parts"][0]["text"] == "gemini says 4"


def test_what_was_sent_is_kept_without_the_key(provider: ProviderServer) -> None:
    body = {"inferenceConfig": {"maxTokens": 9}, "messages": [{"role": "user", "content": [{"text": "2+2?"}]}]}
    post(f"{provider.base('bedrock')}/model/amazon.nova-2-lite-v1%3A0/converse", body)
    path = "/bedrock/model/amazon.nova-2-lite-v1%3A0/converse"
    assert provider.sent == [SentRequest("bedrock", "converse", path, "amazon.nova-2-lite-v1", "2+2?", body, ())]
    request = provider.sent[0].as_request()
    assert (request.body["max_tokens"], request.messages) == (9, [{"role": "user", "content": "2+2?"}])
    assert "sk-1" not in repr(provider.sent)
    provider.reset()
    assert provider.sent == []


def test_what_a_provider_refuses_is_answered_with_400_and_kept(provider: ProviderServer) -> None:
    body = {"model": "gpt-4o", "messages": [], "thinking": {"type": "enabled"}}
    with pytest.raises(HTTPError) as refused:
        post(f"{provider.base('openai')}/chat/completions", body)
    assert refused.value.code == 400
    assert "unknown field 'thinking'" in json.loads(refused.value.read())["error"]["message"]
    assert provider.sent[0].refusals == ("unknown field 'thinking'",)


def test_other_paths_are_those_of_the_scripted_server(provider: ProviderServer) -> None:
    with urlopen(f"{provider.url}/models", timeout=10) as answer:
        assert json.loads(answer.read())["data"][0]["id"] == "scripted"
    assert post(f"{provider.base('ollama')}/api/show", {"name": "x"})["capabilities"] == ["completion", "thinking"]
