"""Requests of LM calls are caught where their engine would send them, with the body that it would send."""

import asyncio
import json
from typing import Any

import pytest

import tale_dspy
from tale_dspy.backends.batch.interception import HTTPCall, HTTPReply, request_sender, use_request_sender
from tests.provider_server.providers import ProviderServer

MODELS = {"openai": "openai/gpt-5-mini", "anthropic": "anthropic/claude-sonnet-4-5"}


def caught(lm: Any, reply: HTTPReply) -> tuple[list[HTTPCall], Any]:
    calls: list[HTTPCall] = []

    async def keep(call: HTTPCall) -> HTTPReply:
        calls.append(call)
        return reply

    async def ask() -> Any:
        with use_request_sender(keep):
            return await lm.acall("hi", reasoning_effort="low")

    return calls, asyncio.run(ask())


@pytest.mark.parametrize("engine", ["auto", "litellm"])
@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_the_body_is_the_one_that_is_sent_without_a_batch(provider: str, engine: str) -> None:
    with ProviderServer("4") as server:
        base = server.base(provider) + ("/v1" if engine == "auto" and provider == "anthropic" else "")
        lm = tale_dspy.LM(MODELS[provider], api_base=base, api_key="k", engine=engine, cache=False, max_tokens=20000)
        asyncio.run(lm.acall("hi", reasoning_effort="low"))
        sent_request = server.sent[-1]
        kind = {"openai": "chat", "anthropic": "messages"}[provider]
        from tale_dspy.testing.messages import Reply
        from tests.provider_server.dialects import DIALECTS

        body = json.dumps(DIALECTS[kind].document(sent_request.body, Reply("5"))).encode()
        calls, outputs = caught(lm, HTTPReply(200, body))
        assert json.loads(calls[0].body) == sent_request.body and calls[0].url.endswith(sent_request.path)
        assert len(server.sent) == 1  # nothing went over the wire
    text = outputs[0]["text"] if isinstance(outputs[0], dict) else outputs[0]
    assert text == "5"


def test_an_error_status_is_the_error_of_the_call() -> None:
    lm = tale_dspy.LM("openai/gpt-4o-mini", api_base="http://127.0.0.1:9/v1", api_key="k", engine="auto", cache=False)
    with pytest.raises(Exception, match="as scripted") as error:
        caught(lm, HTTPReply(400, b'{"error": {"message": "as scripted", "type": "invalid_request_error"}}'))
    assert vars(error.value).get("status", 400) == 400


def test_outside_the_block_the_wire_is_used_again() -> None:
    async def none(call: HTTPCall) -> HTTPReply:
        return HTTPReply(200, b"")

    with use_request_sender(none):
        assert request_sender() is none
    assert request_sender() is None
