"""What servers send in place of a clean reply: one name each, as an OpenAI-compatible server sends it."""

import json
from typing import Any

from tale_dspy.testing import Reply

TEXT = "Step by step it is 4. Answer: [[4]]"
DROP: Any = object()
"""A field that is left out."""


def _merged(base: Any, changes: Any) -> Any:
    if not isinstance(base, dict) or not isinstance(changes, dict):
        return changes
    merged = {**base, **{k: _merged(base.get(k), v) for k, v in changes.items()}}
    return {k: v for k, v in merged.items() if v is not DROP}


def body(message: Any = None, choice: Any = None, **fields: Any) -> Reply:
    """Return a reply whose JSON differs from a clean one as said."""
    clean_choice: dict[str, Any] = {
        "index": 0,
        "message": {"role": "assistant", "content": TEXT},
        "finish_reason": "stop",
    }
    first = _merged(clean_choice, choice or {})
    if message is not None:
        first = _merged(first, {"message": message})
    clean: dict[str, Any] = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "x",
        "choices": [first],
        "usage": {"prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18},
    }
    return Reply(raw_body=json.dumps(_merged(clean, fields)).encode())


def cut(word: str) -> Reply:
    """Return half a reply that ended for a reason."""
    return body({"content": "Step by step it is"}, {"finish_reason": word})


def status(code: int, kind: str = "invalid_request_error", message: str = "no") -> Reply:
    """Return an error with a body as OpenAI writes it."""
    return Reply(status=code, raw_body=json.dumps({"error": {"message": message, "type": kind}}).encode())


REPLIES: dict[str, Reply] = {
    # finish words
    **{f"cut: {word}": cut(word) for word in ("length", "max_tokens", "MAX_TOKENS", "model_length")},
    **{f"cut: {word}": cut(word) for word in ("max_output_tokens", "max_completion_tokens", "LENGTH", "token_limit")},
    **{f"filtered: {word}": cut(word) for word in ("content_filter", "SAFETY", "content_filtered", "RECITATION")},
    **{f"filtered: {word}": cut(word) for word in ("PROHIBITED_CONTENT", "guardrail_intervened", "sensitive")},
    **{
        f"whole: {word}": body(choice={"finish_reason": word})
        for word in ("stop", "STOP", "end_turn", "eos", "eos_token", "stop_sequence", "COMPLETE", "something_new", "")
    },
    "filtered answer": body(choice={"finish_reason": "content_filter"}),
    "whole: null": body(choice={"finish_reason": None}),
    "whole: no finish_reason": body(choice={"finish_reason": DROP}),
    "failed: error": cut("error"),
    "failed: network_error": cut("network_error"),
    # no reply in a 200
    "no choices": body(choices=DROP),
    "choices null": body(choices=None),
    "choices empty": body(choices=[]),
    "choices an object": body(choices={"0": {}}),
    "choice null": body(choices=[None]),
    "choice empty": body(choices=[{}]),
    "choice a text": body(choices=["4"]),
    "message missing": body(choice={"message": DROP}),
    "message null": body(choice={"message": None}),
    "message a text": body(choice={"message": "4"}),
    "message a list": body(choice={"message": ["4"]}),
    "empty object": Reply(raw_body=b"{}"),
    "error object": Reply(raw_body=b'{"error": {"message": "upstream failed", "code": 502}}'),
    "error text": Reply(raw_body=b'{"error": "upstream failed"}'),
    "detail": Reply(raw_body=b'{"detail": "Not Found"}'),
    "null": Reply(raw_body=b"null"),
    "list": Reply(raw_body=b"[]"),
    "number": Reply(raw_body=b"7"),
    "string": Reply(raw_body=b'"busy"'),
    "nothing": Reply(raw_body=b""),
    "blank": Reply(raw_body=b" \n"),
    "html": Reply(raw_body=b"<html><body>busy</body></html>", headers={"Content-Type": "text/html"}),
    "half a JSON": Reply(raw_body=b'{"choices": [{"message": {"content": "Ans'),
    "no utf-8": Reply(raw_body=b'{"choices": \xff\xfe}'),
    "event stream": Reply(raw_body=b'data: {"choices": []}\n\ndata: [DONE]\n\n'),
    # odd content
    "content null": body({"content": None}),
    "content missing": body({"content": DROP}),
    "content empty": body({"content": ""}),
    "content blank": body({"content": " \n"}),
    "content an integer": body({"content": 4}),
    "content a float": body({"content": 4.0}),
    "content true": body({"content": True}),
    "content an object": body({"content": {"text": TEXT}}),
    "content a list of text": body({"content": [{"type": "text", "text": TEXT}]}),
    "content two texts": body({"content": [{"type": "text", "text": TEXT[:12]}, {"type": "text", "text": TEXT[12:]}]}),
    "content thinking and text": body(
        {
            "content": [
                {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
                {"type": "text", "text": TEXT},
            ]
        }
    ),
    "content a list of nothing": body({"content": []}),
    "content a list of strings": body({"content": [TEXT]}),
    "refusal": body({"content": None, "refusal": "I cannot help with that."}),
    "lone surrogate": Reply(
        raw_body=body({"content": "SURROGATE" + TEXT}).raw_body.replace(b"SURROGATE", b"\\ud800")  # type: ignore[union-attr]
    ),
    "role missing": body({"role": DROP}),
    "role a user": body({"role": "user"}),
    "tool calls null": body({"tool_calls": None}),
    "reasoning null": body({"reasoning_content": None}),
    "reasoning only": body({"content": None, "reasoning_content": "It is 4."}),
    "annotations": body({"annotations": [{"type": "url_citation"}]}),
    # odd surroundings
    "model a number": body(model=7),
    "model null": body(model=None),
    "model a list": body(model=["x"]),
    "model missing": body(model=DROP),
    "id null": body(id=None),
    "id a number": body(id=7),
    "created a text": body(created="now"),
    "object missing": body(object=DROP),
    "index missing": body(choice={"index": DROP}),
    "logprobs NaN": Reply(
        raw_body=body(choice={"logprobs": {"content": []}}).raw_body.replace(b'"content": []', b'"content": NaN')
    ),  # type: ignore[union-attr]
    "two choices": body(
        choices=[
            {"index": i, "message": {"role": "assistant", "content": TEXT}, "finish_reason": "stop"} for i in range(2)
        ]
    ),
    # odd usage
    "usage missing": body(usage=DROP),
    "usage null": body(usage=None),
    "usage empty": body(usage={"prompt_tokens": DROP, "completion_tokens": DROP, "total_tokens": DROP}),
    "usage a text": body(usage="9 tokens"),
    "usage a list": body(usage=[9, 9]),
    "usage texts": body(usage={"prompt_tokens": "9", "completion_tokens": "9", "total_tokens": "18"}),
    "usage NaN": Reply(raw_body=body(usage={"completion_tokens": 777}).raw_body.replace(b"777", b"NaN")),  # type: ignore[union-attr]
    "usage negative": body(usage={"completion_tokens": -9}),
    "usage a float": body(usage={"completion_tokens": 9.0}),
    "usage null counts": body(usage={"prompt_tokens": None, "completion_tokens": None, "total_tokens": None}),
    "usage details null": body(usage={"completion_tokens_details": None}),
    "usage details a text": body(usage={"completion_tokens_details": "none"}),
    "usage with other names": body(
        usage={"prompt_tokens": DROP, "completion_tokens": DROP, "input_tokens": 9, "output_tokens": 9}
    ),
    "usage with thinking beside the counts": body(usage={"reasoning_tokens": 5}),
    "usage thinking a list": body(usage={"completion_tokens_details": {"reasoning_tokens": [5]}}),
    "usage cost NaN": Reply(raw_body=body(usage={"cost": 777}).raw_body.replace(b"777", b"NaN")),  # type: ignore[union-attr]
    "usage tools a text": body(usage={"server_tool_use": {"web_search_requests": "x"}}),
    # odd extras, which no answer needs
    **{
        f"extra: {name} {value!r}": body({name: value})
        for name, value in (
            ("thinking_blocks", ["hm"]),
            ("provider_specific_fields", "x"),
            ("tool_calls", "f"),
            ("tool_calls", [None]),
            ("tool_calls", [{"id": None}]),
            ("function_call", "f"),
            ("audio", {"id": "a"}),
            ("images", ["x"]),
        )
    },
    "extra: logprobs of texts": body(choice={"logprobs": {"content": ["x"]}}),
    "extra: a cost of LiteLLM's": body(_hidden_params={"response_cost": 5}),
    "content a list of thinking behind the text": body(
        {"content": [{"type": "text", "text": TEXT}, {"type": "reasoning", "text": "or [[5]]"}]}
    ),
    "content a list of values": body({"content": [{"type": "text", "text": {"value": TEXT}}]}),
    "error beside a choice": body(error="upstream failed"),
    # statuses
    **{f"status {code}": status(code) for code in (400, 403, 404, 409, 413, 422, 429, 451, 498, 499, 500, 503, 529)},
    "status 204": Reply(status=204, raw_body=b""),
    "status 206": Reply(status=206, raw_body=body().raw_body),
    "status 302 to nowhere": Reply(status=302, raw_body=b"", headers={"Location": "http://127.0.0.1:9/"}),
    "status 503 without a body": Reply(status=503, raw_body=b""),
    "status 500 html": Reply(status=500, raw_body=b"<html>", headers={"Content-Type": "text/html"}),
}

OUTCOMES: dict[str, tuple[str, int]] = {
    **{name: ("truncated", 1) for name in REPLIES if name.startswith("cut:")},
    **{name: ("unreadable", 1) for name in REPLIES if name.startswith("filtered:")},
    "filtered answer": ("truncated", 1),
    **{
        name: ("correct", 1)
        for name in REPLIES
        if name.startswith(
            ("whole:", "extra:", "usage", "model", "id", "content a list", "content thinking", "content two")
        )
    },
    **dict.fromkeys(
        (
            "content an integer",
            "content a float",
            "content an object",
            "lone surrogate",
            "role missing",
            "role a user",
            "tool calls null",
            "reasoning null",
            "annotations",
            "created a text",
            "object missing",
            "index missing",
            "logprobs NaN",
            "two choices",
            "status 206",
        ),
        ("correct", 1),
    ),
    **dict.fromkeys(
        (
            "content null",
            "content missing",
            "content empty",
            "content blank",
            "content a list of nothing",
            "refusal",
            "reasoning only",
        ),
        ("empty", 1),
    ),
    **{f"status {code}": ("error", 1) for code in (400, 403, 404, 413, 422, 451)},
    "status 302 to nowhere": ("error", 1),
}
"""Outcome of a question and requests sent with one retry; every other reply is sent again and ends in `error`."""
