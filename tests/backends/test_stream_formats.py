"""Streams of Anthropic's Messages end alike on both engines; streams of other formats are left alone."""

import asyncio
import json
from typing import Any

import dspy
import pytest
from stream_server import stream_server

import tale_dspy
from tale_dspy.accounting.calls import record_calls
from tale_dspy.backends import attempts
from tale_dspy.backends.stream_bodies import StreamRepair
from tale_dspy.backends.stream_formats import MessageStreamRepair, stream_repair

pytestmark = pytest.mark.filterwarnings("ignore:Accessing the 'model_:DeprecationWarning")  # LiteLLM's own streams


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "retry_delay", lambda *_: 0.0)


def event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields}, ensure_ascii=False)}\n\n".encode()


def text(part: str) -> bytes:
    return event("content_block_delta", index=0, delta={"type": "text_delta", "text": part})


def end(usage: Any) -> bytes:
    return event("message_delta", delta={"stop_reason": "end_turn", "stop_sequence": None}, usage=usage)


START = event(
    "message_start",
    message={"id": "m", "type": "message", "role": "assistant", "model": "x", "content": [], "stop_reason": None}
    | {"usage": {"input_tokens": 9, "output_tokens": 1}},
)
TEXTS = [
    event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
    event("ping"),
    text("Step é漢. "),
    text("[[4]]"),
    event("content_block_stop", index=0),
]
STOP = event("message_stop")
CLEAN = [START, *TEXTS, end({"output_tokens": 5}), STOP]
WHOLE = b"".join(CLEAN)
READ = {
    "clean": CLEAN,
    "in pieces": [WHOLE[i : i + 3] for i in range(0, len(WHOLE), 3)],
    "no names": [piece.partition(b"\n")[2] for piece in CLEAN],
    "no message_stop": CLEAN[:-1],
    "all counts at the end": [START, *TEXTS, end({"input_tokens": 9, "output_tokens": 5}), STOP],
    "a count of null": [START, *TEXTS, end({"input_tokens": None, "output_tokens": 5}), STOP],
    "a count of 0 that was more": [START, *TEXTS, end({"input_tokens": 0, "output_tokens": 5}), STOP],
    "broken off behind the reason": [START, *TEXTS, end({"output_tokens": 5}), STOP[:40]],
}
REFUSED = {
    "ended early": (CLEAN[:4], "the stream ended before the reply did"),
    "ended behind the text": (CLEAN[:6], "the stream ended before the reply did"),
    "an error": ([*CLEAN[:4], event("error", error={"type": "overloaded_error", "message": "busy"})], "busy"),
    "a broken event": ([*CLEAN[:4], b'data: {"type": "con\n\n', *CLEAN[4:]], "an event of the stream is no JSON"),
    "empty": ([], "the stream holds no event"),
    "a page": ([b"<html>busy</html>"], "the stream holds no event: <html>busy"),
}


def ask(url: str, engine: str) -> Any:
    async def last() -> Any:
        program = dspy.streamify(tale_dspy.VanillaCoT("question -> answer"))
        *_, prediction = [value async for value in program(question="2+2?")]
        return prediction

    base = url.removesuffix("/v1")
    lm = tale_dspy.LM("anthropic/x", api_base=base, api_key="k", engine=engine, cache=False, num_retries=0)
    with dspy.context(lm=lm):
        return asyncio.run(last())


@pytest.mark.parametrize("engine", ["litellm", "auto"])
@pytest.mark.parametrize("name", READ)
def test_a_message_is_read_with_both_counts(name: str, engine: str) -> None:
    with stream_server(READ[name]) as server, record_calls() as calls:
        prediction = ask(server.url, engine)
    assert (prediction.reasoning, prediction.answer) == ("Step é漢.", "4")
    assert [(call.prompt_tokens, call.output_tokens) for call in calls] == [(9, 5)]


@pytest.mark.parametrize("engine", ["litellm", "auto"])
@pytest.mark.parametrize("name", REFUSED)
def test_a_message_that_is_not_whole_is_refused(name: str, engine: str) -> None:
    pieces, message = REFUSED[name]
    failure = pytest.raises(Exception, match=message)
    with stream_server(pieces) as server, record_calls() as calls, failure:
        ask(server.url, engine)
    assert calls == []


@pytest.mark.parametrize(
    ("path", "stream", "kind"),
    [
        ("/v1/chat/completions", True, StreamRepair),
        ("/v1/messages", True, MessageStreamRepair),
        ("/v1/messages", False, None),
        ("/v1/completions", True, None),
        ("/v1/responses", True, None),
        ("/v1/messages/batches", True, None),
    ],
)
def test_the_repair_is_that_of_the_format(path: str, stream: bool, kind: Any) -> None:
    repair = stream_repair(path, json.dumps({"stream": stream}).encode())
    assert (None if repair is None else type(repair)) is kind
