"""What a server of batches sends: lines of results, and their documents."""

from collections.abc import Mapping, Sequence
from typing import Any

from tale_dspy.protocols import JsonObject

Row = Mapping[str, Any]


def openai_row(custom_id: str, kind: str, document: Row) -> JsonObject:
    """Return a line of OpenAI's results.

    `kind` is `succeeded`, `failed`, `refused` or `expired`.
    """
    row: JsonObject = {"id": f"batch_req_{custom_id}", "custom_id": custom_id, "error": None}
    if kind == "expired":
        return {**row, "response": None, "error": {"code": "batch_expired", "message": "This request expired."}}
    status = {"succeeded": 200, "failed": 500, "refused": 400}[kind]
    body = document if kind == "succeeded" else {"error": {"message": "as scripted", "type": "server_error"}}
    return {**row, "response": {"status_code": status, "request_id": "req_1", "body": body}}


def anthropic_row(custom_id: str, kind: str, document: Row) -> JsonObject:
    """Return a line of Anthropic's results; `kind` as in `openai_row`."""
    if kind in ("succeeded", "expired"):
        result = {"type": kind} if kind == "expired" else {"type": kind, "message": document}
    else:
        name = "api_error" if kind == "failed" else "invalid_request_error"
        error = {"type": "error", "error": {"type": name, "message": "as scripted"}}
        result = {"type": "errored", "error": error}
    return {"custom_id": custom_id, "result": result}


def message_document(completion: Row) -> JsonObject:
    """Return a chat completion as Anthropic's message."""
    choice, usage = completion["choices"][0], completion["usage"]
    message = choice["message"]
    content: list[dict[str, Any]] = [{"type": "text", "text": message["content"] or ""}]
    if message.get("reasoning_content"):
        content.insert(0, {"type": "thinking", "thinking": message["reasoning_content"], "signature": "sig"})
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": completion["model"],
        "content": content,
        "stop_reason": "max_tokens" if choice["finish_reason"] == "length" else "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": usage["prompt_tokens"], "output_tokens": usage["completion_tokens"]},
    }


def response_document(completion: Row) -> JsonObject:
    """Return a chat completion as a response of OpenAI's Responses API."""
    choice, usage = completion["choices"][0], completion["usage"]
    is_cut = choice["finish_reason"] == "length"
    content: list[JsonObject] = [{"type": "output_text", "text": choice["message"]["content"] or "", "annotations": []}]
    message = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": content}
    details = usage.get("completion_tokens_details") or {"reasoning_tokens": 0}
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": completion["created"],
        "status": "incomplete" if is_cut else "completed",
        "incomplete_details": {"reason": "max_output_tokens"} if is_cut else None,
        "model": completion["model"],
        "output": [{"type": "reasoning", "id": "rs_1", "summary": []}, message],
        "usage": {
            "input_tokens": usage["prompt_tokens"],
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": usage["completion_tokens"],
            "output_tokens_details": details,
            "total_tokens": usage["total_tokens"],
        },
    }


def chat_messages(body: Row) -> Sequence[Mapping[str, Any]]:
    """Return the messages of a request to any API, as chat completion messages.

    Raises:
        KeyError: If it has none.
    """
    messages = body["input"] if "input" in body else body["messages"]
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    system = body.get("system") or body.get("instructions")  # stands beside the messages
    return [{"role": "system", "content": system}, *messages] if system else list(messages)
