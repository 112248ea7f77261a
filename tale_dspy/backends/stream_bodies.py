"""Repair streamed chat completions, so that both engines read them alike.

Servers stream one reply in many ways: events without the empty line between them, text as a list of parts, counts that
are texts, an end without a reason, an error in place of text. LiteLLM and DSPy's engine each stumble over others, and
LiteLLM takes a stream that broke off for a whole reply and counts tokens by itself where the server counted none. Here
the bytes of a stream are rewritten event by event before either engine sees them, by the same rules as a whole body
(`tale_dspy.backends.reply_bodies`).
"""

import json
import re
from collections.abc import Iterator, Mapping

from tale_dspy.backends.finish_reasons import normalize_finish_reason
from tale_dspy.backends.reply_bodies import (
    BrokenBodyError,
    are_logprobs,
    body_excerpt,
    choices_asked,
    content_parts,
    model_name,
    repair_chat_body,
    repair_usage,
    thought_text,
)
from tale_dspy.protocols import JsonObject

_LINE_END = re.compile(rb"\r\n|\n|\r(?=[^\n])")  # a carriage return at the end may be half of one
_DONE = b"[DONE]"
_MAX_TEXT = 2_000
"""Characters of text in one event that is longer than `_MAX_EVENT`."""
_MAX_EVENT = 32_000
"""Bytes: DSPy's engine refuses a line of more than 64 KiB."""
_MAX_LINE = 64 << 20
"""Bytes of a line, beyond which a stream is refused: it may never end."""

_THOUGHTS = ("reasoning_content", "reasoning", "thinking")
_NO_COUNTS = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
"""The counts of a stream that states none: `tale_dspy.accounting.calls` books a text of no tokens as unknown."""


def asks_for_stream(request: bytes) -> bool:
    """Return whether the body of a request asks for a stream."""
    if b'"stream"' not in request:
        return False
    body = json.loads(request)
    return isinstance(body, dict) and body.get("stream") is True


class StreamRepair:
    """The repair of one stream, fed with its bytes as they come.

    Args:
        request: The body of the request.
    """

    def __init__(self, request: bytes) -> None:
        self._choices = max(choices_asked(request), 1)
        self._unread = bytearray()  # a line that has not ended
        self._data: list[bytes] = []  # the lines of an event that has not ended
        self._outside: list[bytes] = []  # lines of no event: all of a reply that is no stream, else the first
        self._is_error = False  # whether the data belong to `event: error`
        self._head: JsonObject = {"id": "", "object": "chat.completion.chunk", "created": 0}
        self._begun, self._ended = set[int](), set[int]()  # choices, by their index
        self._has_event = self._has_counts = self._is_done = False

    @property
    def is_whole(self) -> bool:
        """Whether each choice of the reply has ended.

        A connection that breaks then loses no text.
        """
        return self._is_done or (bool(self._begun) and self._begun <= self._ended)

    def feed(self, piece: bytes) -> bytes:
        """Return the events that end within a piece of the stream, repaired.

        Nothing behind `[DONE]` is returned.

        Raises:
            BrokenBodyError: If an event is no JSON or reports an error, or a line does not end.
        """
        if self._is_done:
            return b""
        looked_through = max(len(self._unread) - 1, 0)  # a carriage return may be the last byte
        self._unread += piece
        if _LINE_END.search(self._unread, looked_through) is None:
            if len(self._unread) > _MAX_LINE:
                raise BrokenBodyError(f"a line of the stream is longer than {_MAX_LINE} bytes")
            return b""
        *lines, unread = _LINE_END.split(bytes(self._unread))
        self._unread = bytearray(unread)
        return b"".join(event for line in lines for event in self._read_line(line))

    def finish(self) -> bytes:
        """Return what is left to send at the end of the stream.

        Raises:
            BrokenBodyError: If it ended before the reply did, or was none.
        """
        if self._is_done:
            return b""
        try:
            last = [*self._read_line(bytes(self._unread.rstrip(b"\r"))), *self._read_line(b"")]
        except BrokenBodyError:
            if not self.is_whole:  # what broke off is behind the text
                raise
            last = []
        outside = b"\n".join(self._outside)
        if not self._has_event:
            last = [*self._whole_reply(outside)]
        elif not self.is_whole:
            said = f": {body_excerpt(outside)}" if outside else ""
            raise BrokenBodyError(f"the stream ended before the reply did{said}")
        return b"".join([*last, *self._last_events()])

    def _whole_reply(self, body: bytes) -> Iterator[bytes]:
        """Stream a reply that came as one body."""
        if not body.strip():
            raise BrokenBodyError("the stream holds no event")
        reply = json.loads(repair_chat_body(body, self._choices))
        choices = [{**choice, "delta": choice["message"]} for choice in reply["choices"]]
        yield from self._repair_event({**reply, "object": "chat.completion.chunk", "choices": choices}, b"")

    def _read_line(self, line: bytes) -> Iterator[bytes]:
        """Yield the event that a line ends."""
        if self._is_done:
            return
        name, _, value = line.removeprefix(b"\xef\xbb\xbf").partition(b":")
        if not line.strip():
            yield from self._read_event()
            self._is_error = False
        elif name == b"data":
            self._data.append(value.strip())
            if len(self._data) == 1:  # servers that write no empty line between events have one line for each
                yield from self._read_event(is_complete=False)
        elif name == b"event":
            self._is_error = value.strip() == b"error"
        elif name not in (b"", b"id", b"retry") and not (self._has_event and self._outside):
            self._outside.append(line)

    def _read_event(self, *, is_complete: bool = True) -> Iterator[bytes]:
        """Yield the event of the lines so far; nothing if more of them may come."""
        data = b"\n".join(self._data).strip()
        if data in (b"", _DONE):
            if data:
                self._has_event = True
                yield from self._last_events()
            self._data.clear()
            return
        try:
            not_finite: list[str] = []  # `NaN` and `Infinity`, which are no JSON, become null
            data = data.decode("utf-8", "replace").encode()
            document = json.loads(data, parse_constant=not_finite.append)
        except (ValueError, RecursionError):
            if not is_complete:
                return
            raise BrokenBodyError(f"an event of the stream is no JSON: {body_excerpt(data)}") from None
        self._data.clear()
        self._has_event = True
        if self._is_error or (isinstance(document, dict) and document.get("error")):
            raise BrokenBodyError(f"the stream reports an error: {body_excerpt(data)}")
        if isinstance(document, dict):
            yield from self._repair_event(document, b"" if not_finite else data)

    def _repair_event(self, document: JsonObject, data: bytes) -> Iterator[bytes]:
        rows = document.get("choices")
        choices = [_repair_delta(row) for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
        choices = [choice for choice in choices if choice["index"] < self._choices]
        groq = document.get("x_groq")
        stated = document if document.get("usage") or not isinstance(groq, Mapping) else groq
        usage = repair_usage(dict(stated)).get("usage")
        repaired = {**self._head, **{k: v for k, v in document.items() if k != "usage"}, "choices": choices}
        if usage is not None:
            repaired["usage"] = {**_NO_COUNTS, **usage}
        elif "usage" in document:
            repaired["usage"] = None
        if document.get("model") is not None:
            repaired["model"] = model_name(document["model"])
        if not isinstance(document.get("id", ""), str):
            repaired["id"] = str(document["id"] or "")
        if not isinstance(document.get("created", 0), int):
            repaired["created"] = 0
        self._head = {name: repaired[name] for name in ("id", "object", "created", "model") if name in repaired}
        self._begun |= {choice["index"] for choice in choices}
        self._ended |= {choice["index"] for choice in choices if choice["finish_reason"]}
        self._has_counts = self._has_counts or usage is not None
        is_same = bool(data) and repaired == document
        event = b"data: " + data.replace(b"\n", b" ") + b"\n\n" if is_same else event_bytes(repaired)
        if len(event) > _MAX_EVENT:
            yield from self._long_texts(choices)
            event = event_bytes(repaired)
        yield event

    def _long_texts(self, choices: list[JsonObject]) -> Iterator[bytes]:
        """Yield long texts in events of their own; the last piece of each stays."""
        for choice in choices:
            delta = choice["delta"]
            for name in ("reasoning_content", "content"):
                text = delta.get(name) or ""
                names = [n for n in (name, "reasoning") if n in delta and (n == name or name == "reasoning_content")]
                while len(text) > _MAX_TEXT:
                    piece = dict.fromkeys(names, text[:_MAX_TEXT])
                    part = {"index": choice["index"], "delta": piece, "finish_reason": None}
                    yield event_bytes({**self._head, "choices": [part]})
                    text = text[_MAX_TEXT:]
                    delta |= dict.fromkeys(names, text)

    def _last_events(self) -> Iterator[bytes]:
        """Yield the end of a stream, with a reason and counts where it had none."""
        if self._is_done:
            return
        if not self._begun:
            raise BrokenBodyError("the reply holds no choice")
        if without_end := sorted(self._begun - self._ended):
            ends = [{"index": index, "delta": {}, "finish_reason": "stop"} for index in without_end]
            yield event_bytes({**self._head, "choices": ends})
        if not self._has_counts:
            yield event_bytes({**self._head, "choices": [], "usage": _NO_COUNTS})
        self._is_done = True
        yield b"data: " + _DONE + b"\n\n"


def event_bytes(document: JsonObject) -> bytes:
    """Return an event of a stream as it is sent."""
    return b"data: " + json.dumps(document).encode() + b"\n\n"


def _repair_delta(row: JsonObject) -> JsonObject:
    """Return a choice of an event as OpenAI would have written it.

    Text and thought are texts, and the reason for the end is one of OpenAI's words.

    Raises:
        BrokenBodyError: If the provider failed, or the content is no text.
    """
    reason = normalize_finish_reason(row.get("finish_reason"), row.get("native_finish_reason"))
    if reason == "error":
        raise BrokenBodyError(f"the provider failed in the middle of the reply: finish_reason {row['finish_reason']}")
    delta = next((dict(d) for d in (row.get("delta"), row.get("message")) if isinstance(d, dict)), {})
    text, thought = content_parts(delta.get("content"))
    names = [name for name in _THOUGHTS[:2] if name in delta]  # LiteLLM reads the one or the other, by the provider
    stated = [delta.pop(name, None) for name in _THOUGHTS]
    thoughts = [said if isinstance(said, str) else thought_text(said) for said in stated]
    thought = next((said for said in thoughts if said), thought)
    if thought:
        delta |= dict.fromkeys(("reasoning_content", *names), thought)
    if "content" in delta:
        delta["content"] = text
    calls = delta.get("tool_calls")
    if calls is not None and not (isinstance(calls, list) and all(isinstance(call, dict) for call in calls)):
        del delta["tool_calls"]
    index = row.get("index")
    choice = {k: v for k, v in row.items() if k != "message"} | {"delta": delta, "finish_reason": reason}
    choice["index"] = index if isinstance(index, int) else 0
    if not are_logprobs(row.get("logprobs")):
        del choice["logprobs"]
    return choice
