"""A scripted backend behind the proxy: chat completions, Anthropic Messages, OpenAI Responses, each also streamed."""

import json
from collections.abc import Iterator
from typing import Any

from tale_dspy.testing import Reply, ScriptedServer
from tale_dspy.testing.wire import HttpMessage, WireAnswer, encode
from tests.provider_server.dialects import DIALECTS, dialect_of

Json = dict[str, Any]


class RecordingBackend(ScriptedServer):
    """Answers every format with one text, and keeps the bodies of `/messages` and `/responses` beside `requests`."""

    def __init__(self, text: str) -> None:
        super().__init__(text, record=4000)
        self.text = text
        self.bodies: list[Json] = []

    @property
    def last_body(self) -> Json:
        """The body of the last request but chat completions."""
        return self.bodies[-1]

    def _answer_page(self, message: HttpMessage) -> WireAnswer:
        dialect = dialect_of(message.path)
        if message.method != "POST" or dialect not in ("messages", "responses"):
            return super()._answer_page(message)
        body = json.loads(message.body)
        self.bodies.append(body)
        document = DIALECTS[dialect].document(body, Reply(self.text))
        if body.get("stream") is not True:
            return WireAnswer("other", body=encode(document))
        events = message_events(document) if dialect == "messages" else response_events(document)
        lines = b"".join(f"event: {e['type']}\n".encode() + b"data: " + encode(e) + b"\n\n" for e in events)
        return WireAnswer("other", body=lines, headers={"content-type": "text/event-stream"})


def message_events(document: Json) -> Iterator[Json]:
    """The events of a streamed message of Anthropic's, a word each."""
    (block,) = document["content"]
    usage = document["usage"]
    yield {"type": "message_start", "message": {**document, "content": [], "stop_reason": None}}
    yield {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    for delta in words(block["text"]):
        yield {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": delta}}
    yield {"type": "content_block_stop", "index": 0}
    yield {
        "type": "message_delta",
        "delta": {"stop_reason": document["stop_reason"], "stop_sequence": None},
        "usage": {"output_tokens": usage["output_tokens"]},
    }
    yield {"type": "message_stop"}


def response_events(document: Json) -> Iterator[Json]:
    """The events of a streamed response of OpenAI's, a word each."""
    item = document["output"][-1]
    place = {"item_id": item["id"], "output_index": 0, "content_index": 0}
    text = item["content"][0]["text"]
    open_item = {**item, "content": [], "status": "in_progress"}
    final = {**document, "output": [item]}
    events = [
        {"type": "response.created", "response": {**document, "output": [], "status": "in_progress", "usage": None}},
        {"type": "response.output_item.added", "output_index": 0, "item": open_item},
        {
            "type": "response.content_part.added",
            **place,
            "part": {"type": "output_text", "text": "", "annotations": []},
        },
        *({"type": "response.output_text.delta", **place, "delta": delta, "logprobs": []} for delta in words(text)),
        {"type": "response.output_text.done", **place, "text": text, "logprobs": []},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": final},
    ]
    for number, event in enumerate(events):
        yield {**event, "sequence_number": number}


def words(text: str) -> list[str]:
    """The words of a text, with the space behind each."""
    first, *rest = text.split(" ")
    return [first, *(f" {word}" for word in rest)]
