import json
import re
from http.client import HTTPConnection
from typing import Any

import pytest
from serving import BODY, POST, Answer, address, ask, raw, send

from tale_dspy.testing import Reply, ScriptedServer
from tale_dspy.testing.wire import MAX_BODY, MAX_HEAD

# ---- replies


def test_the_body_has_the_shape_of_openai(echo: ScriptedServer) -> None:
    body = ask(echo).json
    assert body["object"] == "chat.completion"
    assert body["model"] == "m"
    message = {"role": "assistant", "content": "you said hello there"}
    assert body["choices"] == [{"index": 0, "message": message, "finish_reason": "stop"}]
    assert body["usage"] == {"prompt_tokens": 2, "completion_tokens": 4, "total_tokens": 6}


def test_reasoning_is_a_field_and_counted_in_the_completion() -> None:
    with ScriptedServer(Reply("four", reasoning="two and two")) as server:
        body = ask(server).json
    assert body["choices"][0]["message"]["reasoning_content"] == "two and two"
    assert body["usage"]["completion_tokens"] == 4
    assert body["usage"]["completion_tokens_details"] == {"reasoning_tokens": 3}


def test_given_counts_replace_the_words() -> None:
    with ScriptedServer(Reply("a b", completion_tokens=7, prompt_tokens=9, cached_prompt_tokens=5)) as server:
        usage = ask(server).json["usage"]
    assert (usage["completion_tokens"], usage["prompt_tokens"]) == (7, 9)
    assert usage["prompt_tokens_details"] == {"cached_tokens": 5}
    assert (server.stats.completion_tokens, server.stats.prompt_tokens) == (7, 9)


def test_a_reply_without_usage_stays_out_of_the_totals() -> None:
    with ScriptedServer(Reply("a b c", usage=False)) as server:
        assert "usage" not in ask(server).json
    assert (server.stats.completion_tokens, server.stats.unreported_tokens, server.stats.answered) == (0, 3, 1)


def test_snapshot_header_finish_reason_and_tool_calls_are_sent() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    reply = Reply(None, model="m-2024", headers={"X-Left": "3"}, finish_reason="tool_calls", tool_calls=[call])
    with ScriptedServer(reply) as server:
        answer = ask(server)
    assert answer.json["model"] == "m-2024"
    assert answer.headers["x-left"] == "3"
    assert answer.json["choices"][0]["finish_reason"] == "tool_calls"
    assert answer.json["choices"][0]["message"] == {"role": "assistant", "content": None, "tool_calls": [call]}


def test_another_status_is_an_error_in_the_shape_of_openai() -> None:
    with ScriptedServer(Reply("overloaded", status=529, headers={"retry-after": "2"})) as server:
        answer = ask(server)
    assert (answer.status, answer.headers["retry-after"]) == (529, "2")
    assert answer.json["error"]["message"] == "overloaded"
    assert (server.stats.errors, server.stats.answered, server.stats.lost_tokens) == (1, 0, 0)


def test_a_raw_body_goes_out_as_it_is_and_counts_as_malformed() -> None:
    with ScriptedServer(Reply("two words", raw_body=b"\xff<html>")) as server:
        assert ask(server).body == b"\xff<html>"
    assert (server.stats.malformed, server.stats.answered, server.stats.lost_tokens) == (1, 0, 2)


def test_a_header_of_the_reply_replaces_the_servers_own() -> None:
    with ScriptedServer(Reply("x", headers={"Content-Type": "text/odd", "CONTENT-LENGTH": "9"})) as server:
        answer = ask(server)
    assert (answer.headers["content-type"], answer.text) == ("text/odd", "x")


def test_a_raw_body_with_an_error_status_is_an_error() -> None:
    with ScriptedServer(Reply(status=502, raw_body=b"<html>bad gateway")) as server:
        assert ask(server)[::2] == (502, b"<html>bad gateway")
    assert server.stats.errors == 1


def test_every_choice_is_asked_for_and_billed() -> None:
    with ScriptedServer(lambda request: f"choice {request.choice}") as server:
        body = ask(server, n=3).json
    assert [choice["message"]["content"] for choice in body["choices"]] == ["choice 0", "choice 1", "choice 2"]
    assert body["usage"]["completion_tokens"] == server.stats.completion_tokens == 6
    assert server.stats.requests == 1


@pytest.mark.parametrize("text", ["", "\ud800 lone", "naïve 数学 🙂", "a\x00b", "  spaces  \n\n kept "])
def test_any_text_goes_through(text: str) -> None:
    with ScriptedServer(Reply(text)) as server:
        assert ask(server, f"prompt {text}").text == text


# ---- streaming


def events(answer: Answer) -> list[Any]:
    lines = answer.body.decode().split("\n\n")
    assert lines[-2:] == ["data: [DONE]", ""]
    return [json.loads(line.removeprefix("data: ")) for line in lines[:-2]]


def test_a_stream_sends_the_text_in_pieces_and_the_usage_if_asked() -> None:
    with ScriptedServer(Reply(" two  words\n", reasoning="hm")) as server:
        answer = ask(server, stream=True, stream_options={"include_usage": True})
    assert answer.headers["content-type"] == "text/event-stream"
    deltas = [event["choices"][0]["delta"] for event in events(answer)[:-1]]
    assert "".join(delta.get("content", "") for delta in deltas) == " two  words\n"
    assert "".join(delta.get("reasoning_content", "") for delta in deltas) == "hm"
    assert events(answer)[-1]["usage"]["completion_tokens"] == server.stats.completion_tokens == 3


def test_a_stream_without_usage_stays_out_of_the_totals() -> None:
    with ScriptedServer("two words") as server:
        assert all("usage" not in event for event in events(ask(server, stream=True)))
    assert (server.stats.completion_tokens, server.stats.unreported_tokens) == (0, 2)


def test_a_stream_interleaves_no_choices_and_ends_each() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    with ScriptedServer(Reply(None, tool_calls=[call], finish_reason="tool_calls")) as server:
        choices = [event["choices"][0] for event in events(ask(server, stream=True, n=2))]
    assert [c["finish_reason"] for c in choices] == [None, None, "tool_calls"] * 2
    assert choices[4]["delta"] == {"tool_calls": [{"index": 0, **call}]}


# ---- requests


def test_head_has_no_body(echo: ScriptedServer) -> None:
    answer = send(echo, "HEAD", "/v1/models")
    assert (answer.status, answer.body) == (404, b"")


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"", "JSON"),
        (b"{", "JSON"),
        (b"\xff\xfe", "JSON"),
        (b"[" * 100_000, "JSON"),
        (b"{}", "must hold messages"),
        (b"[]", "list of one or more objects"),
        (b'{"messages": []}', "list of one or more objects"),
        (b'{"messages": "hi"}', "list of one or more objects"),
        (b'{"messages": [1]}', "list of one or more objects"),
        (b'{"messages": [{}], "n": 0}', "n must be an integer"),
        (b'{"messages": [{}], "n": true}', "n must be an integer"),
        (b'{"messages": [{}], "n": "2"}', "n must be an integer"),
        (b'{"messages": [{}], "model": 4}', "model must be a string"),
    ],
)
def test_a_body_that_cannot_be_read_is_a_400(echo: ScriptedServer, body: bytes, complaint: str) -> None:
    answer = send(echo, "POST", "/v1/chat/completions", body)
    assert answer.status == 400
    assert complaint in answer.json["error"]["message"]
    assert (echo.stats.requests, echo.stats.errors, echo.stats.by_kind) == (1, 1, {})


def test_a_connection_is_kept_alive(echo: ScriptedServer) -> None:
    connection = HTTPConnection(*address(echo))
    for _ in range(3):
        connection.request("POST", "/v1/chat/completions", '{"messages": [{"role": "user", "content": "x"}]}')
        assert connection.getresponse().read()
    connection.close()
    assert (echo.stats.connections, echo.stats.answered) == (1, 3)


def test_pipelined_requests_are_answered_in_order(echo: ScriptedServer) -> None:
    one = POST + b"Content-Length: %d\r\n" % len(BODY)
    received = raw(echo, one + b"\r\n" + BODY + one + b"Connection: close\r\n\r\n" + BODY)
    assert re.findall(rb'"id":"(.*?)"', received) == [b"chatcmpl-1", b"chatcmpl-2"]


def test_a_request_in_single_bytes_is_read(echo: ScriptedServer) -> None:
    whole = POST + b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(BODY) + BODY
    assert b"you said hi" in raw(echo, *(whole[i : i + 1] for i in range(len(whole))))


def test_a_chunked_body_is_read(echo: ScriptedServer) -> None:
    head = POST + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    chunks = b"5;name=x\r\n" + BODY[:5] + b"\r\n" + b"%X\r\n" % (len(BODY) - 5) + BODY[5:] + b"\r\n"
    assert b"you said hi" in raw(echo, head, chunks, b"0\r\nTrailer: 1\r\n\r\n")


def test_a_client_that_waits_for_100_continue_gets_it(echo: ScriptedServer) -> None:
    head = POST + b"Expect: 100-continue\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(BODY)
    assert raw(echo, head, BODY).startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK")


def test_http_1_0_is_closed_after_the_reply(echo: ScriptedServer) -> None:
    assert b"connection: close" in raw(echo, b"GET /v1/models HTTP/1.0\r\n\r\n")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET / HTTP/2\r\n\r\n", b"400"),
        (POST + b"Content-Length: -1\r\n\r\n", b"400"),
        (POST + b"Content-Length: \xb2\r\n\r\n", b"400"),
        (POST + b"Content-Length: %d\r\n\r\n" % (MAX_BODY + 1), b"413"),
        (POST + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n", b"400"),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % (MAX_BODY + 1), b"413"),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * MAX_HEAD, b"431"),
    ],
)
def test_bytes_that_are_no_request_get_an_answer_and_the_connection_is_closed(
    echo: ScriptedServer, sent: bytes, status: bytes
) -> None:
    assert raw(echo, sent).startswith(b"HTTP/1.1 " + status)
    assert ask(echo).status == 200
    assert (echo.stats.requests, echo.stats.other) == (1, 1)
