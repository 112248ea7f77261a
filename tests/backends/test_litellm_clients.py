"""The clients that LiteLLM's calls are sent with: in no history and no cache key, and closed with their loop."""

import asyncio
import ssl
from collections.abc import Callable
from typing import Any

import dspy
import httpx
import litellm
import pytest
from redirects import two_origins

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


def test_a_key_is_that_of_the_time_of_the_call(call: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = []
    with two_origins() as (server, _):
        lm = tale_dspy.LM("openai/x", api_base=server.url, num_retries=0, cache=False)
        for key in ("first", "second"):
            monkeypatch.setenv("OPENAI_API_KEY", key)
            with pytest.raises(dspy.LMError):
                call(lm)
            sent.append(server.authorization)
    assert sent == ["Bearer first", "Bearer second"]


def test_an_http_client_given_to_litellm_is_used(call: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[httpx.Request] = []

    async def note(request: httpx.Request) -> None:
        sent.append(request)

    with ScriptedServer("4") as server:
        lm = tale_dspy.LM("openai/x", api_base=server.url, api_key="k", num_retries=0, cache=False)
        assert call(lm) == ["4"]
        monkeypatch.setattr(litellm, "client_session", httpx.Client(event_hooks={"request": [sent.append]}))
        monkeypatch.setattr(litellm, "aclient_session", httpx.AsyncClient(event_hooks={"request": [note]}))
        assert call(lm) == ["4"]
    assert len(sent) == 1


@pytest.mark.parametrize("model", ["openai/x", "mistral/x"])
def test_the_client_certificate_of_litellm_is_shown(model: str, call: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", lambda context, path, *rest, **options: shown.append(path))
    monkeypatch.setenv("SSL_CERTIFICATE", "client.pem")
    with ScriptedServer("4") as server:
        assert call(tale_dspy.LM(model, api_base=server.url, api_key="k", cache=False)) == ["4"]
    assert set(shown) == {"client.pem"}
