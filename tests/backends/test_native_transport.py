"""The transport beneath DSPy's engine."""

import pickle
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from dspy.lm15 import Config, ImagePart, Message, Request, TextPart

import tale_dspy
from tale_dspy.backends import native_transport
from tale_dspy.backends.native_transport import GuardedEngineStore, GuardedTransport, TextPlans
from tale_dspy.dspy_bridge import TransportReadTimeout
from tale_dspy.testing import Reply, ScriptedServer


def lm(url: str, **settings: Any) -> Any:
    return tale_dspy.LM("openai/x", api_base=url, api_key="k", engine="auto", cache=False, num_retries=0, **settings)


def request_of(text: str, **config: Any) -> Request:
    return Request(model="x", messages=(Message.user(text),), config=Config(**config))


def test_an_engine_sends_through_the_guard_from_its_first_request_on() -> None:
    body = b'{"choices": [{"message": {"content": 4}}]}'
    with ScriptedServer(Reply(raw_body=body)) as server:
        model = lm(server.url, timeout=7.0)
        assert model("2+2?") == ["4"]
        (engine,) = model._engine_store.values()
        assert isinstance(engine.router._transport, GuardedTransport)
        model.close()


@pytest.mark.parametrize(("seconds", "ends"), [(2.5, True), (9.0, False), (None, False)])
def test_a_stream_of_a_thread_ends_with_its_time(
    monkeypatch: pytest.MonkeyPatch, seconds: float | None, ends: bool
) -> None:
    """Each piece takes a second; the fourth would be the last."""
    event = b'data: {"choices": [{"index": 0, "delta": {"content": "a"}}]}\n\n'
    now = [0.0]

    class Slow:
        status, reason, headers, http_version = 200, "OK", [("content-type", "text/event-stream")], "1.1"

        def __iter__(self) -> Iterator[bytes]:
            for piece in (event, event, event, b"data: [DONE]\n\n"):
                now[0] += 1.0
                yield piece

        def close(self) -> None:
            pass

        def stream(self, request: object) -> "Slow":
            return self

    monkeypatch.setattr(native_transport.time, "monotonic", lambda: now[0])
    body = b'{"model": "x", "stream": true}'
    request: Any = SimpleNamespace(url="http://x/v1/chat/completions", body=body)
    chunks = iter(GuardedTransport(Slow(), seconds).stream(request))
    if ends:
        with pytest.raises(TransportReadTimeout, match=r"no whole reply within 2\.5 s"):
            list(chunks)
        assert now == [3.0]
    else:
        assert b"".join(chunks).count(b'"content"') == 3


def test_copies_share_the_store_and_a_pickled_lm_has_a_new_one() -> None:
    model = lm("http://127.0.0.1:9/v1")
    assert model.copy(temperature=0.5)._engine_store is model._engine_store
    assert isinstance(pickle.loads(pickle.dumps(model))._engine_store, GuardedEngineStore)


def test_a_proxy_of_the_environment_is_used_and_one_set_later_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with ScriptedServer(Reply("4")) as server:
        direct = lm(server.url)
        assert direct("2+2?") == ["4"]
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
        assert direct("2+2?") == ["4"]
        with pytest.raises(Exception, match=r"failed to connect to 127\.0\.0\.1:9"):
            lm(server.url)("2+2?")
        assert len(server.requests) == 2


def test_requests_of_text_are_planned_once_for_a_configuration() -> None:
    planned: list[Any] = []

    def plan(request: Any) -> str:
        planned.append(request)
        if request.config.seed == 13:
            raise ValueError("no seeds here")
        return f"plan {len(planned)}"

    plans = TextPlans(plan)
    first, other = request_of("2+2?"), request_of("3+3?")
    assert [plans(first), plans(other)] == ["plan 1", "plan 1"]
    assert plans(request_of("2+2?", seed=7)) == "plan 2"
    for _ in range(2):  # a refusal is never remembered
        with pytest.raises(ValueError, match="no seeds here"):
            plans(request_of("2+2?", seed=13))
    assert plans(first) == "plan 5"
    image = Message(role="user", parts=(TextPart("What is this?"), ImagePart(url="https://example.org/a.png")))
    image_request = Request(model="x", messages=(image,), config=first.config)
    assert [plans(image_request), plans(image_request)] == ["plan 6", "plan 7"]
    instruction = Message(role="developer", parts=(TextPart("Be short."),))
    steered = Request(model="x", messages=(instruction, Message.user("2+2?")), config=first.config)
    assert [plans(steered), plans(steered)] == ["plan 8", "plan 9"]
