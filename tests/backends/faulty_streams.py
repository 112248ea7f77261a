"""What servers stream in place of a clean reply: one name each, with how it ends on both engines."""

from typing import Any, NamedTuple

from stream_server import CLEAN, DONE, ROLE, STOP, USAGE, chunk, event, text, usage


class Case(NamedTuple):
    """A stream, and what a user should get of it."""

    pieces: list[bytes]
    options: dict[str, Any] = {}  # noqa: RUF012  # of a named tuple
    output_tokens: int | None = 5
    thought: str | None = None
    prompt_tokens: int | None = 9
    finish_reason: str = "stop"
    reasoning: str = "Step é漢."


WHOLE = b"".join(CLEAN)
HEAD = CLEAN[:3]
_LONG = " ".join(map(str, range(20_000)))


def pieces_of(size: int, stream: bytes = WHOLE) -> list[bytes]:
    return [stream[start : start + size] for start in range(0, len(stream), size)]


def replaced(old: bytes, new: bytes) -> list[bytes]:
    return [piece.replace(old, new) for piece in CLEAN]


def counted(**counts: Any) -> list[bytes]:
    return [*HEAD, STOP, usage(**counts), DONE]


def thinking(*deltas: Any) -> list[bytes]:
    return [ROLE, *map(chunk, deltas), *CLEAN[1:]]


def whole_choice(**fields: Any) -> bytes:
    return event({"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "x", "choices": [fields]})


_TEXTS = ("Step é漢. ", "[[4]]")
_GROWING = [chunk({"content": t}, usage={**USAGE, "completion_tokens": n}) for t, n in zip(_TEXTS, (3, 5), strict=True)]
_NO_COUNT: dict[str, Any] = {"output_tokens": None, "prompt_tokens": None}
_MESSAGE = {"index": 0, "message": {"role": "assistant", "content": "".join(_TEXTS)}, "finish_reason": "stop"}
_BODY = event({"id": "1", "model": "x", "choices": [_MESSAGE], "usage": USAGE})[6:]

READ: dict[str, Case] = {
    # the bytes
    "clean": Case(CLEAN),
    "byte by byte": Case(pieces_of(1)),
    "cut inside characters and line ends": Case(pieces_of(7, WHOLE.replace(b"\n", b"\r\n"))),
    "one piece": Case([WHOLE]),
    "no space": Case(replaced(b"data: ", b"data:")),
    "carriage returns alone": Case(replaced(b"\n", b"\r")),
    "no empty lines": Case(replaced(b"\n\n", b"\n")),
    "byte order mark": Case([b"\xef\xbb\xbf", *CLEAN]),
    "two lines of data": Case(replaced(b', "object"', b',\ndata: "object"')),
    "not UTF-8": Case([ROLE, text("ab ").replace(b"ab", b"\xff"), *CLEAN[1:]], reasoning="\ufffd Step é漢."),
    "a long line": Case([ROLE, text(_LONG + " "), *CLEAN[1:]], reasoning=f"{_LONG} Step é漢."),
    "JSON by its type": Case(CLEAN, {"content_type": "application/json"}),
    "text by its type": Case(CLEAN, {"content_type": "text/plain"}),
    "a type in capitals": Case(CLEAN, {"content_type": "Text/Event-Stream"}),
    "a whole body": Case([_BODY], {"content_type": "application/json"}),
    # beside the events
    "comments": Case([b": PROCESSING\n\n", ROLE, b": ping\n\n", *CLEAN[1:], b":\n\n"]),
    "names and ids": Case([b"event: message\nid: 3\nretry: 100\n" + piece for piece in CLEAN]),
    "empty events": Case([ROLE, b"data:\n\n", b"data: \n\n", b"data: null\n\n", b"data: []\n\n", *CLEAN[1:]]),
    "a ping": Case([b"event: ping\ndata: {}\n\n", *CLEAN]),
    "filters first": Case([event({"id": "", "model": "", "prompt_filter_results": [{}], "choices": []}), *CLEAN]),
    # its end
    "no DONE": Case(CLEAN[:-1]),
    "no DONE, no last line end": Case([WHOLE[: -len(DONE)].rstrip()]),
    "spaces behind DONE": Case([*CLEAN[:-1], b"data: [DONE] \n\n"]),
    "no reason": Case([*HEAD, usage(), DONE]),
    "an odd reason": Case([*HEAD, chunk(finish="eos"), usage(), DONE]),
    "the reason with the text": Case([*CLEAN[:2], text("[[4]]", finish="stop"), usage(), DONE]),
    "text behind the reason": Case([*CLEAN[:2], STOP, text("[[4]]"), usage(), DONE]),
    "broken off behind the reason": Case([*HEAD, STOP], {"cut": True}, **_NO_COUNT),
    "broken off inside the counts": Case([*HEAD, STOP, usage()[:40]], {"cut": True}, **_NO_COUNT),
    "something behind DONE": Case([*CLEAN, b"data: {\n\ndata: x\n\nerror\n"]),
    # counts
    "no counts": Case([*HEAD, STOP, DONE], **_NO_COUNT),
    "neither reason nor counts": Case([*HEAD, DONE], **_NO_COUNT),
    "counts with the reason": Case([*HEAD, chunk(finish="stop", usage=USAGE), DONE]),
    "counts twice": Case([*HEAD, chunk(finish="stop", usage=USAGE), usage(), DONE]),
    "counts that grow": Case([*_GROWING, STOP, DONE]),
    "counts of null before": Case([*(text(t, usage=None) for t in _TEXTS), STOP, usage(), DONE]),
    "counts, then null": Case([*HEAD, chunk(finish="stop", usage=USAGE), chunk(choices=[], usage=None), DONE]),
    "counts as texts": Case(counted(completion_tokens="5", prompt_tokens="9")),
    "counts as floats": Case(counted(completion_tokens=5.0)),
    "a count below 0": Case(counted(completion_tokens=-5), output_tokens=None),
    "a count of null": Case(counted(completion_tokens=None), output_tokens=None),
    "counts a list": Case([*HEAD, STOP, chunk(choices=[], usage=[]), DONE], **_NO_COUNT),
    "details null": Case(counted(completion_tokens_details=None, prompt_tokens_details=None)),
    "counts without choices": Case([*HEAD, STOP, chunk(choices=None, usage=USAGE), DONE]),
    "counts of Groq": Case([*HEAD, chunk(finish="stop", x_groq={"id": "r", "usage": USAGE}), DONE]),
    # choices and deltas
    "another choice between": Case([text("B [[5]]", index=1), *HEAD, chunk(finish="stop", index=1), *CLEAN[3:]]),
    "no index": Case([*(whole_choice(delta={"content": t}) for t in _TEXTS), STOP, usage(), DONE]),
    "odd log probabilities": Case(
        [whole_choice(delta={"content": t}, logprobs={"content": t}) for t in _TEXTS] + CLEAN[3:]
    ),
    "delta null": Case([whole_choice(index=0, delta=None), *CLEAN]),
    "a message in place of a delta": Case([whole_choice(**_MESSAGE), usage(), DONE]),
    "text as parts": Case([chunk({"content": [{"type": "text", "text": t}]}) for t in _TEXTS] + CLEAN[3:]),
    "text as a number": Case([*CLEAN[:2], text("[["), chunk({"content": 4}), text("]]"), *CLEAN[3:]]),
    "thought": Case(thinking({"reasoning_content": "Hm "}, {"reasoning_content": "[[9]]"}), thought="Hm [[9]]"),
    "thought of OpenRouter": Case(thinking({"reasoning": "Hm", "reasoning_details": [{}]}), thought="Hm"),
    "thought twice": Case(thinking({"reasoning": "Hm", "reasoning_content": "Hm"}), thought="Hm"),
    "thought of Ollama": Case(thinking({"thinking": "Hm"}), thought="Hm"),
    "thought as parts": Case(thinking({"content": [{"type": "thinking", "thinking": "Hm"}]}), thought="Hm"),
    # the rest of an event
    "id a number": Case(replaced(b'"chatcmpl-1"', b"7")),
    "id null": Case(replaced(b'"chatcmpl-1"', b"null")),
    "time not finite": Case(replaced(b'"created": 1', b'"created": NaN')),
    "model null": Case(replaced(b'"model": "x"', b'"model": null')),
}

REFUSED: dict[str, tuple[list[bytes], dict[str, Any], str]] = {
    "an error between": ([*CLEAN[:2], event({"error": {"message": "overloaded"}}), DONE], {}, "overloaded"),
    "an error as text": ([*CLEAN[:2], event({"error": "overloaded"}), DONE], {}, "overloaded"),
    "an error by its name": ([*CLEAN[:2], b'event: error\ndata: {"message": "overloaded"}\n\n'], {}, "overloaded"),
    "an error as the body": ([b'{"error": "overloaded"}'], {"content_type": "application/json"}, "overloaded"),
    "an error as the reason": ([*CLEAN[:2], chunk(finish="error"), DONE], {}, "failed in the middle of the reply"),
    "an error outside events": ([*CLEAN[:2], b"overloaded\n"], {}, "ended before the reply did: overloaded"),
    "ended early": (HEAD, {}, "the stream ended before the reply did"),
    "ended inside a line": ([*CLEAN[:2], CLEAN[2][:40]], {}, "an event of the stream is no JSON"),
    "broken off": (CLEAN[:2], {"cut": True}, "[Cc]onnection|payload is not completed"),
    "a broken event": ([*CLEAN[:2], b'data: {"choices": [{\n\n', *CLEAN[2:]], {}, "an event of the stream is no JSON"),
    "empty": ([], {}, "the stream holds no event"),
    "DONE alone": ([DONE], {}, "the reply holds no choice"),
    "a page": ([b"<html>busy</html>"], {"content_type": "text/html"}, "the reply is no JSON: <html>busy"),
}
