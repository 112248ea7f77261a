"""The clients that LiteLLM's calls are sent with: in no history and no cache key, and closed with their loop."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

import tale_dspy
from tale_dspy.testing import ScriptedServer

Caller = Callable[[Any], Any]


def test_the_client_is_in_no_history_and_no_cache_key(call: Caller) -> None:
    with ScriptedServer("4") as server:
        lm = tale_dspy.LM("openai/x", api_base=server.url, api_key="k", num_retries=0)
        assert call(lm) == call(lm) == ["4"]
        assert server.stats.requests == 1
        assert [entry["cache_hit"] for entry in lm.history] == [False, True]
        assert all("client" not in entry["kwargs"] for entry in lm.history)


def test_an_event_loop_closes_its_clients(caplog: pytest.LogCaptureFixture) -> None:
    with ScriptedServer("4") as server:
        lm = tale_dspy.LM("openai/x", api_base=server.url, api_key="k", cache=False, num_retries=0)
        for _ in range(2):
            assert asyncio.run(lm.acall("2+2?")) == ["4"]
        del lm
    assert "Unclosed" not in caplog.text
