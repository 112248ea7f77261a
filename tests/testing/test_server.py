import gc
import json
import re
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, RemoteDisconnected
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest

import tale_dspy.testing
from tale_dspy.errors import DataError, TaleError, UsageError
from tale_dspy.testing import SHARES, Faults, Reply, Request, ServerStats, count_words, draw, first_words
from tale_dspy.testing.problems import SolverReply, budget_of, kind_of, read_bank, word_problems
from tale_dspy.testing.server import MAX_BODY, MAX_HEAD, ScriptedServer, main

COT = "Q: {}\nPlease Give the response by strictly following this format: [[answer]].Let's think step by step:\n"
DIRECT = "Please answer the following question and give the answer directly without any reasoning process.\nQ: {}"
ESTIMATE = 'Task: estimate the minimum number of tokens required.\n\nQuestion: "{}"\n'


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> Any:
        return self.json["choices"][0]["message"]["content"]


def send(
    server: ScriptedServer, method: str, path: str, body: Any = None, timeout: float = 10, **headers: str
) -> Answer:
    address = urlsplit(server.url)
    connection = HTTPConnection(str(address.hostname), address.port, timeout=timeout)
    try:
        payload = body if body is None or isinstance(body, bytes) else json.dumps(body)
        connection.request(method, path, payload, headers)
        response = connection.getresponse()
        return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
    finally:
        connection.close()


def ask(server: ScriptedServer, prompt: str = "hello there", timeout: float = 10, **body: Any) -> Answer:
    messages = [{"role": "user", "content": prompt}]
    return send(server, "POST", "/v1/chat/completions", {"model": "m", "messages": messages, **body}, timeout)


def raw(server: ScriptedServer, *parts: bytes) -> bytes:
    """Send bytes as they are, and return all that comes until the server closes the connection."""
    address = urlsplit(server.url)
    with socket.create_connection((str(address.hostname), int(address.port or 0)), timeout=10) as client:
        for part in parts:
            client.sendall(part)
        received = b""
        while data := client.recv(65536):
            received += data
    return received


def request(prompt: str, *, kind: str | None = None, system: str = "", **body: Any) -> Request:
    kind = kind or kind_of(system, prompt)
    return Request(body, {}, prompt, system, [{"role": "user", "content": prompt}], 1, 0, kind, False)


@pytest.fixture
def echo() -> Iterator[ScriptedServer]:
    with ScriptedServer(lambda request: f"you said {request.prompt}") as running:
        yield running


# ---- replies


def test_a_string_is_the_reply_to_everything() -> None:
    with ScriptedServer("Answer: [[4]]") as server:
        assert ask(server, "1").text == ask(server, "2").text == "Answer: [[4]]"


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


def test_the_reply_function_sees_the_whole_request() -> None:
    seen: list[Request] = []
    messages = [
        {"role": "system", "content": "be good"},
        {"role": "developer", "content": "be brief"},
        {"role": "user", "content": "first"},
        {"role": "assistant", "content": None},
        {"role": "user", "content": [{"type": "text", "text": "last"}, {"type": "image_url"}, "odd"]},
        {"role": "tool", "content": 3},
    ]
    with ScriptedServer(lambda request: (seen.append(request), "ok")[1]) as server:
        for _ in range(2):
            ask(server, messages=messages)
    assert (seen[0].prompt, seen[0].system) == ("last", "be good\nbe brief")
    assert [(r.n, r.seen) for r in seen] == [(1, 0), (2, 1)]


def test_latency_and_delay_add_up() -> None:
    with ScriptedServer(Reply("x", delay=0.05), latency=0.05) as server:
        began = time.monotonic()
        ask(server)
        assert time.monotonic() - began >= 0.1
    assert server.stats.window_s >= 0.1


@pytest.mark.parametrize("text", ["", "\ud800 lone", "naïve 数学 🙂", "a\x00b", "  spaces  \n\n kept "])
def test_any_text_goes_through(text: str) -> None:
    with ScriptedServer(Reply(text)) as server:
        assert ask(server, f"prompt {text}").text == text


@pytest.mark.parametrize("reply", [None, 3, b"bytes"])
def test_a_wrong_return_value_is_a_500_and_raised_at_the_end(reply: Any) -> None:
    with pytest.raises(TypeError, match="must return a Reply or a str"), ScriptedServer(lambda _: reply) as server:
        assert ask(server).status == 500


def test_an_exception_of_the_reply_function_is_raised_at_the_end() -> None:
    def fail(request: Request) -> str:
        raise KeyError(request.prompt)

    with pytest.raises(KeyError, match="hello"), ScriptedServer(fail) as server:
        assert "KeyError" in ask(server).json["error"]["message"]
        assert server.stats.errors == 1


def test_an_exception_of_the_block_wins_over_that_of_the_reply_function() -> None:
    with pytest.raises(ZeroDivisionError), ScriptedServer(lambda _: None) as server:  # type: ignore[arg-type, return-value]
        ask(server)
        raise ZeroDivisionError


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


# ---- counting


def test_stats_count_every_answer_before_the_client_has_it(echo: ScriptedServer) -> None:
    for number in range(1, 6):
        ask(echo, f"question {number}")
        assert (echo.stats.answered, echo.stats.in_flight) == (number, 0)
    assert (echo.stats.prompt_tokens, echo.stats.completion_tokens) == (10, 20)


def test_stats_are_exact_under_concurrent_clients() -> None:
    faults = Faults(server_error=0.2, dropped=0.2, malformed=0.2)
    with ScriptedServer("one two three", faults=faults) as server, ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda number: outcome(server, f"q {number}"), range(400)))
    stats = server.stats
    assert stats.requests == 400 == stats.answered + stats.errors + stats.dropped + stats.malformed
    assert (stats.completion_tokens, stats.lost_tokens) == (3 * stats.answered, 3 * (stats.dropped + stats.malformed))
    assert sum(stats.by_fault.values()) == 400 - stats.answered
    assert all(50 < stats.by_fault[name] < 110 for name in ("server_error", "dropped", "malformed"))


def outcome(server: ScriptedServer, prompt: str, timeout: float = 10) -> str:
    try:
        answer = ask(server, prompt, timeout)
        return "answered" if answer.status == 200 and answer.json else "errors"
    except (RemoteDisconnected, ConnectionResetError):
        return "dropped"
    except TimeoutError:
        return "hung"
    except ValueError:
        return "malformed"


def test_waiting_requests_are_in_flight_together() -> None:
    with ScriptedServer("x", latency=0.2) as server, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: ask(server, str(number)), range(8)))
    assert (server.stats.max_in_flight, server.stats.in_flight, server.stats.connections) == (8, 0, 8)


def test_kinds_are_counted_apart(echo: ScriptedServer) -> None:
    ask(echo, "estimate the minimum number of tokens")
    ask(echo, "use less than 50 tokens")
    ask(echo, "use less than 50 tokens")
    kinds = echo.stats.by_kind
    assert {name: kind.requests for name, kind in kinds.items()} == {"estimate": 1, "budget": 2}
    assert kinds["budget"].completion_tokens == 14


def test_a_retry_is_a_repeat_after_a_failed_attempt() -> None:
    with ScriptedServer("x", faults=Faults(server_error=1.0)) as server:
        statuses = [ask(server, "same").status for _ in range(3)]
    assert statuses == [500, 200, 200]
    assert (server.stats.retries, server.stats.repeats) == (1, 2)


def test_a_client_that_leaves_has_abandoned_its_request() -> None:
    with ScriptedServer("lost words", latency=60) as server:
        assert outcome(server, "q", timeout=0.1) == "hung"
        until(lambda: server.stats.abandoned == 1)
        assert (server.stats.in_flight, server.stats.lost_tokens, server.stats.lost_prompt_tokens) == (0, 2, 1)


def until(condition: Callable[[], bool]) -> None:
    """Wait for what the server's thread is about to do."""
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0)


def test_reset_zeroes_everything_but_leaves_old_requests_on_the_old_counts(echo: ScriptedServer) -> None:
    ask(echo, "same")
    old = echo.stats
    echo.reset()
    ask(echo, "same")
    assert (old.requests, echo.stats.requests, echo.stats.repeats) == (1, 1, 0)
    assert [(request.n, request.seen) for request in echo.requests] == [(1, 0)]


def test_a_request_in_flight_at_a_reset_does_not_show_up_in_the_new_counts() -> None:
    with ScriptedServer("x", latency=0.3) as server, ThreadPoolExecutor(1) as pool:
        pending = pool.submit(ask, server)
        until(lambda: server.stats.in_flight == 1)
        server.reset()
        assert pending.result().status == 200
        assert server.stats.to_json() == ServerStats().to_json()


# ---- records


def test_requests_keep_bodies_and_headers_but_no_credentials(echo: ScriptedServer) -> None:
    secrets = {"Authorization": "Bearer sk-secret", "api-key": "sk-secret", "Cookie": "sk-secret", "X-Trace": "7"}
    body = {"messages": [{"role": "user", "content": "hi"}], "seed": 3}
    send(echo, "POST", "/chat/completions", body, **secrets)
    (kept,) = echo.requests
    assert (kept.body, kept.headers["x-trace"], kept.authorized) == (body, "7", True)
    assert "sk-secret" not in repr(vars(echo)) + repr(kept)


def test_a_request_without_a_key_is_not_authorized(echo: ScriptedServer) -> None:
    ask(echo)
    assert not echo.requests[0].authorized


@pytest.mark.parametrize(("record", "kept"), [(0, []), (2, ["b", "c"]), (9, ["a", "b", "c"])])
def test_only_the_last_requests_are_kept(record: int, kept: list[str]) -> None:
    with ScriptedServer("x", record=record) as server:
        for prompt in "abc":
            ask(server, prompt)
        assert [request.prompt for request in server.requests] == kept


# ---- faults


@pytest.mark.parametrize("fault", SHARES)
def test_a_fault_strikes_the_first_attempts_of_a_prompt_only(fault: str) -> None:
    with ScriptedServer("a b c d", faults=Faults(**{fault: 1.0}, tries=2)) as server:
        outcomes = [outcome(server, "q", timeout=0.2) for _ in range(3)]
    expected = {"rate_limited": "errors", "server_error": "errors", "null_content": "answered", "cut": "answered"}
    assert outcomes == [expected.get(fault, fault)] * 2 + ["answered"]
    assert server.stats.by_fault == {fault: 2}
    assert vars(server.stats)[outcomes[0]] == outcomes.count(outcomes[0])


@pytest.mark.parametrize(("fault", "lost"), [("dropped", 4), ("hung", 4), ("malformed", 4), ("server_error", 0)])
def test_lost_tokens_are_counted_apart(fault: str, lost: int) -> None:
    with ScriptedServer("a b c d", faults=Faults(**{fault: 1.0})) as server:
        outcome(server, "q", timeout=0.2)
    stats = server.stats
    assert (stats.lost_tokens, stats.lost_prompt_tokens) == (lost, lost // 4)
    assert (stats.completion_tokens, stats.prompt_tokens, stats.in_flight, stats.abandoned) == (0, 0, 0, 0)


def test_null_content_is_paid_for() -> None:
    with ScriptedServer("a b c d", faults=Faults(null_content=1.0)) as server:
        answer = ask(server)
    assert answer.text is None
    assert answer.json["usage"]["completion_tokens"] == server.stats.completion_tokens == 4


@pytest.mark.parametrize(("given", "tokens"), [(None, 2), (100, 50)])
def test_a_cut_reply_ends_half_way(given: int | None, tokens: int) -> None:
    with ScriptedServer(Reply("a b\nc d", completion_tokens=given), faults=Faults(cut=1.0)) as server:
        answer = ask(server)
    assert (answer.text, answer.json["choices"][0]["finish_reason"]) == ("a b", "length")
    assert server.stats.completion_tokens == tokens


@pytest.mark.parametrize(
    ("fault", "status", "kind", "code"),
    [
        ("unauthorized", 401, "invalid_request_error", "invalid_api_key"),
        ("bad_request", 400, "invalid_request_error", "invalid_value"),
        ("not_found", 404, "invalid_request_error", "model_not_found"),
        ("quota", 429, "insufficient_quota", "insufficient_quota"),
    ],
)
def test_a_switch_refuses_every_attempt(fault: str, status: int, kind: str, code: str) -> None:
    with ScriptedServer("x", faults=Faults(**{fault: True})) as server:
        answers = [ask(server) for _ in range(3)]
    assert {answer.status for answer in answers} == {status}
    error = answers[0].json["error"]
    assert (error["type"], error["code"]) == (kind, code)
    assert server.stats.errors == 3


@pytest.mark.parametrize(
    ("seconds", "header"), [(0, "0"), (2, "2"), (0.25, "0.25"), (86400, "86400"), (1e7, "10000000")]
)
def test_a_rate_limit_says_when_to_come_back(seconds: float, header: str) -> None:
    with ScriptedServer("x", faults=Faults(rate_limited=1.0, retry_after=seconds)) as server:
        answer = ask(server)
    assert (answer.status, answer.headers["retry-after"]) == (429, header)
    assert answer.json["error"]["code"] == "rate_limit_exceeded"


def test_shares_are_disjoint_and_of_about_the_asked_size() -> None:
    faults = Faults(dropped=0.3, hung=0.1, cut=0.2)
    struck = [faults.strike(request(f"q {n}"), f"q {n}") for n in range(2000)]
    assert statistics.fmean(fault == "dropped" for fault in struck) == pytest.approx(0.3, abs=0.04)
    assert statistics.fmean(fault is None for fault in struck) == pytest.approx(0.4, abs=0.04)
    assert struck == [faults.strike(request(f"q {n}"), f"q {n}") for n in range(2000)]
    assert struck != [Faults(dropped=0.3, hung=0.1, cut=0.2, seed=1).strike(request(""), f"q {n}") for n in range(2000)]


def test_faults_can_be_kept_to_some_prompts_and_to_all_attempts() -> None:
    with ScriptedServer("x", faults=Faults(server_error=1.0, tries=None, only="bad")) as server:
        assert [ask(server, prompt).status for prompt in ("good", "a bad one", "a bad one")] == [200, 500, 500]


# ---- HTTP


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/chat/completions", "/v1/chat/completions?api-version=1"])
def test_both_paths_are_completions(echo: ScriptedServer, path: str) -> None:
    body = {"messages": [{"role": "user", "content": "hi"}]}
    assert send(echo, "POST", path, body).text == "you said hi"


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/v1/chat/completions"), ("POST", "/v1/embeddings"), ("GET", "/"), ("PUT", "/reset"), ("OPTIONS", "*")],
)
def test_anything_else_is_a_404_in_json(echo: ScriptedServer, method: str, path: str) -> None:
    answer = send(echo, method, path)
    assert answer.status == 404
    assert path in answer.json["error"]["message"]
    assert (echo.stats.requests, echo.stats.other) == (0, 1)


def test_head_has_no_body(echo: ScriptedServer) -> None:
    answer = send(echo, "HEAD", "/v1/models")
    assert (answer.status, answer.body) == (404, b"")


@pytest.mark.parametrize("path", ["/v1/models", "/models"])
def test_the_models_are_listed(echo: ScriptedServer, path: str) -> None:
    assert [model["id"] for model in send(echo, "GET", path).json["data"]] == ["scripted"]


def test_the_models_need_the_key_as_well() -> None:
    with ScriptedServer("x", faults=Faults(unauthorized=True)) as server:
        assert send(server, "GET", "/v1/models").status == 401


def test_stats_and_reset_work_over_http(echo: ScriptedServer) -> None:
    ask(echo)
    stats = send(echo, "GET", "/stats").json
    assert (stats["answered"], stats["by_kind"]["cot"]["answered"], stats["in_flight"]) == (1, 1, 0)
    assert send(echo, "POST", "/reset").json == {"reset": True}
    assert send(echo, "GET", "/v1/stats").json["answered"] == 0


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
    address = urlsplit(echo.url)
    connection = HTTPConnection(str(address.hostname), address.port)
    for _ in range(3):
        connection.request("POST", "/v1/chat/completions", '{"messages": [{"role": "user", "content": "x"}]}')
        assert connection.getresponse().read()
    connection.close()
    assert (echo.stats.connections, echo.stats.answered) == (1, 3)


POST = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n"
BODY = b'{"messages": [{"role": "user", "content": "hi"}]}'


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


# ---- life


def test_stopping_closes_hung_and_idle_connections_at_once() -> None:
    server = ScriptedServer("x", faults=Faults(hung=1.0)).start()
    address = urlsplit(server.url)
    with ThreadPoolExecutor(1) as pool, socket.create_connection((str(address.hostname), int(address.port or 0))):
        pending = pool.submit(outcome, server, "q")
        until(lambda: server.stats.hung == 1 and server.stats.connections == 2)
        began = time.monotonic()
        server.stop()
        assert time.monotonic() - began < 1
        assert pending.result() == "dropped"
    assert (server.stats.hung, server.stats.abandoned, server.stats.in_flight) == (1, 0, 0)


def test_stopping_does_not_wait_for_a_client_that_does_not_read() -> None:
    with ScriptedServer("word " * 4_000_000) as server:
        address = urlsplit(server.url)
        client = socket.create_connection((str(address.hostname), int(address.port or 0)))
        client.sendall(POST + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY)
        until(lambda: server.stats.answered == 1)
    client.close()


def test_nothing_is_left_behind() -> None:
    before = threading.active_count()
    with ScriptedServer("x", latency=30, faults=Faults(hung=0.5)) as server:
        for number in range(10):
            outcome(server, str(number), timeout=0.02)
    gc.collect()  # an unclosed socket would warn here, and a warning is an error
    assert threading.active_count() == before
    with pytest.raises(ConnectionRefusedError):
        ask(server)


def test_a_server_can_be_started_again_and_stopped_twice() -> None:
    server = ScriptedServer("x")
    for _ in range(2):
        with server:
            assert ask(server).status == 200
            with pytest.raises(UsageError, match="runs already"):
                server.start()
        server.stop()
    assert server.stats.answered == 2


def test_a_reply_function_that_blocks_is_named_when_the_server_cannot_stop() -> None:
    release = threading.Event()
    server = ScriptedServer(lambda _: str(release.wait(30))).start()
    with ThreadPoolExecutor(1) as pool:
        pending = pool.submit(outcome, server, "q")
        until(lambda: server.stats.in_flight == 1)
        with pytest.raises(TaleError, match="reply function blocks"):
            server.stop()
        release.set()
        server.stop()
        assert pending.result() in ("answered", "dropped")


def test_a_port_in_use_is_named() -> None:
    with ScriptedServer("x") as server, pytest.raises(UsageError, match=r"port \d+ cannot be had"):
        ScriptedServer("x", port=int(urlsplit(server.url).port or 0)).start()


@pytest.mark.parametrize(
    "build",
    [
        lambda: ScriptedServer("x").url,
        lambda: ScriptedServer("x", latency=-1),
        lambda: ScriptedServer("x", latency=float("nan")),
        lambda: ScriptedServer("x", record=-1),
        lambda: ScriptedServer("x", port=70_000),
        lambda: Reply(status=99),
        lambda: Reply(completion_tokens=-1),
        lambda: Reply(delay=float("inf")),
        lambda: Reply(headers={"x": "a\r\nb: c"}),
        lambda: Faults(hung=1.5),
        lambda: Faults(hung=float("nan")),
        lambda: Faults(hung=0.6, cut=0.6),
        lambda: Faults(tries=0),
        lambda: Faults(retry_after=-1),
        lambda: SolverReply({" ": "1"}),
        lambda: SolverReply({}, wrong=2),
        lambda: word_problems(-1),
    ],
)
def test_impossible_arguments_are_refused(build: Callable[[], object]) -> None:
    with pytest.raises(UsageError):
        build()


def test_the_face_of_the_room_has_what_it_names() -> None:
    assert all(tale_dspy.testing.__getattr__(name) for name in ("ScriptedServer", "SolverReply", "word_problems"))
    assert tale_dspy.testing.ScriptedServer is ScriptedServer
    with pytest.raises(AttributeError, match="nothing"):
        tale_dspy.testing.__getattr__("nothing")


# ---- clients


@pytest.mark.parametrize("engine", ["auto", "litellm"])
def test_both_engines_of_dspy_agree_with_the_server(server: Any, engine: str) -> None:
    import dspy

    lm = dspy.LM("openai/scripted", api_base=server.url, api_key="test-key-123", engine=engine)
    with dspy.context(lm=lm, track_usage=True):
        question = next(iter(server.bank))
        prediction = dspy.ChainOfThought("question -> answer")(question=question)
    assert prediction.answer.strip().isdigit()
    (usage,) = prediction.get_lm_usage().values()
    assert usage["completion_tokens"] == server.stats.completion_tokens == len(lm.history[0]["outputs"][0].split())
    assert server.requests[0].authorized
    assert "test-key-123" not in repr(server.requests)


def test_the_lm_of_the_tests_keeps_its_cache_in_memory(lm: Any) -> None:
    import dspy

    assert lm("hello") == lm("hello")
    assert not dspy.cache.enable_disk_cache


# ---- the process


def test_the_server_runs_as_a_process_of_its_own() -> None:
    command = [sys.executable, "-W", "error", "-m", "tale_dspy.testing.server", "--problems", "3"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stderr
        port = int(process.stdout.readline().strip().removeprefix("http://127.0.0.1:").removesuffix("/v1"))
        connection = HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", "/stats")
        assert json.loads(connection.getresponse().read())["requests"] == 0
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        assert process.stderr.read() == ""
        connection.close()


def test_the_command_line_serves_a_bank(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bank.jsonl").write_text('{"question": "1+1?", "answer": "so\\n#### 2"}\n', encoding="utf-8")
    options = ["--bank", str(tmp_path / "bank.jsonl"), "--fault", "cut=0.5", "--fault", "hung=0.25"]
    assert main(options, until=lambda: None) == 0
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/v1\n", capsys.readouterr().out)


@pytest.mark.parametrize("options", [["--latency", "-1"], ["--problems", "-1"], ["--bank", "no-such-file"]])
def test_options_that_cannot_be_used_are_one_sentence(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(options, until=lambda: None) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("fault", ["nonsense=1", "cut=x", "cut"])
def test_a_fault_that_is_none_is_refused_by_the_parser(fault: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--fault", fault], until=lambda: None)
    assert "--fault" in capsys.readouterr().err


@pytest.mark.parametrize("line", ["{", "[]", '{"question": "q"}', '{"question": [], "answer": 1}', "\xff"])
def test_a_bank_with_a_broken_line_is_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / "bank.jsonl").write_text(line, encoding="latin-1")
    with pytest.raises(DataError, match=r"bank\.jsonl"):
        read_bank(tmp_path / "bank.jsonl")


# ---- the solver and its problems (problems.py)

BANK = {row["question"]: row["answer"] for row in word_problems(300)}
SOLVER = SolverReply(BANK)
QUESTION = next(q for q in BANK if SOLVER(request(COT.format(q))).text.endswith(f"[[{BANK[q]}]]"))  # type: ignore[union-attr]


def solve(form: str, question: str = QUESTION, **body: Any) -> str:
    return str(SOLVER(request(form.format(question), **body)).text)


def budgeted(budget: object) -> str:
    return COT.replace("step by step", f"step by step and use less than {budget} tokens")


@pytest.mark.parametrize(
    ("prompt", "kind"),
    [
        (ESTIMATE, "estimate"),
        ("Please give [[budget]]", "estimate"),
        (budgeted(50), "budget"),
        ("使用少于 50 tokens:", "budget"),
        (DIRECT, "direct"),
        ("only keep a minimum draft, with 5 words at most.", "draft"),
        ("Be concise.", "concise"),
        (COT, "cot"),
        ("", "cot"),
        (
            "Respond with the corresponding output fields, starting with the field `[[ ## token_budget ## ]]`",
            "estimate",
        ),
        ("Respond with a JSON object in the following order of fields: `answer`.", "direct"),
        ("Respond with a JSON object in the following order of fields: `reasoning`, then `answer`.", "cot"),
        ("[[ ## token_budget ## ]]\n30\n\nRespond with a JSON object: `reasoning`, then `answer`.", "budget"),
    ],
)
def test_the_kind_of_a_prompt_is_read_from_its_wording(prompt: str, kind: str) -> None:
    assert kind_of("", prompt) == kind


def test_an_instruction_in_the_system_message_decides_as_well() -> None:
    assert kind_of("Be concise.", COT) == "concise"


@pytest.mark.parametrize(
    ("prompt", "budget"),
    [
        ("use less than 50 tokens:", 50),
        ("Less Than 50 tokens ... less than 20 tokens", 20),
        ("at most -3 tokens", -3),
        ("use less than 12.5 tokens", None),
        ("tokens", None),
        ("less than 50 apples", None),
        (f"less than {'9' * 5000} tokens", int("9" * 18)),
    ],
)
def test_the_last_budget_of_a_prompt_counts(prompt: str, budget: int | None) -> None:
    assert budget_of(prompt) == budget


def test_the_estimate_is_a_number_in_the_papers_brackets() -> None:
    estimate = re.fullmatch(r"Budget: \[\[(\d+)]]", solve(ESTIMATE))
    assert estimate and 0.8 * SOLVER.need(QUESTION) - 1 <= int(estimate[1]) <= 1.8 * SOLVER.need(QUESTION) + 1


def test_a_chain_of_thought_is_two_and_a_half_to_five_times_the_need() -> None:
    assert 2.5 * SOLVER.need(QUESTION) - 1 <= count_words(solve(COT)) <= 5 * SOLVER.need(QUESTION) + 1


def test_the_elasticity_curve_falls_rebounds_and_fails() -> None:
    need, full = SOLVER.need(QUESTION), SOLVER.length(QUESTION, "cot")
    words = {budget: count_words(solve(budgeted(budget))) for budget in (-1, 0, need // 3, need, 2 * need, full, 9999)}
    assert words[-1] == words[0] > words[need // 3] > words[need]
    assert words[need] <= need
    assert words[2 * need] <= 2 * need
    assert words[full] == words[9999] == full
    assert solve(budgeted(need)).endswith(f"[[{BANK[QUESTION]}]]")
    assert not solve(budgeted(need // 3)).endswith(f"[[{BANK[QUESTION]}]]")


def test_shorter_kinds_are_shorter() -> None:
    lengths = [SOLVER.length(QUESTION, kind) for kind in ("direct", "draft", "concise", "cot")]
    assert lengths == sorted(lengths)
    assert count_words(solve(DIRECT)) == 2


@pytest.mark.parametrize(("form", "share"), [(COT, 0.05), (DIRECT, 0.6), (budgeted(9999), 0.05)])
def test_a_fixed_share_of_the_questions_is_answered_wrongly(form: str, share: float) -> None:
    wrong = [not solve(form, question).endswith(f"[[{gold}]]") for question, gold in BANK.items()]
    assert statistics.fmean(wrong) == pytest.approx(share, abs=0.06)


def test_the_same_prompt_gets_the_same_reply_and_another_seed_another() -> None:
    assert solve(COT) == str(SolverReply(BANK)(request(COT.format(QUESTION))).text)
    lengths = [[SolverReply(BANK, seed=seed).length(q, "cot") for q in BANK] for seed in (0, 1)]
    assert lengths[0] != lengths[1]


def test_choices_differ() -> None:
    requests = [request(COT.format(QUESTION)), Request(**{**vars(request(COT.format(QUESTION))), "choice": 1})]
    assert len({SOLVER(one).text for one in requests}) == 2
    wrong = [Request(**{**vars(request(COT.format(q))), "choice": 1}) for q in BANK]
    right = [str(SOLVER(one).text).endswith(f"[[{gold}]]") for one, gold in zip(wrong, BANK.values(), strict=True)]
    assert statistics.fmean(right) == pytest.approx(0.81, abs=0.08)


@pytest.mark.parametrize(
    ("gold", "wrong"), [("A", "B"), ("D", "A"), ("-1", "0"), ("1/2", "unknown"), ("unknown", "17")]
)
def test_a_wrong_answer_is_of_the_same_sort(gold: str, wrong: str) -> None:
    assert SolverReply({"Q?": gold}, wrong=1.0)(request("Q?")).text.endswith(f"[[{wrong}]]")  # type: ignore[union-attr]


def test_a_choice_question_is_answered_as_a_choice() -> None:
    reply = SolverReply({"Which?\nA. 1\nB. 2": "B"}, wrong=0.0)(request("Which?\nA. 1\nB. 2\nformat: [[choice]]"))
    assert str(reply.text).endswith("\nChoice: [[B]]")


def test_the_question_that_stands_last_and_is_longest_is_answered() -> None:
    solver = SolverReply({"1+1?": "2", "1+1? And 2+2?": "4", "Why?": "so"})
    assert solver.find("demo: Why?\n\n1+1? And 2+2? Think.") == "1+1? And 2+2?"
    assert solver.find("(1+1?) Why") == "1+1?"
    assert solver.find("nothing") is None


def test_an_unknown_question_gets_a_number() -> None:
    assert re.search(r"\nAnswer: \[\[\d+]]$", str(SolverReply({})(request("How many?")).text))


@pytest.mark.parametrize("cap", ["max_tokens", "max_completion_tokens"])
def test_the_solver_stops_at_the_allowance(cap: str) -> None:
    reply = SOLVER(request(COT.format(QUESTION), **{cap: 7}))
    assert (count_words(reply.text), reply.finish_reason) == (7, "length")
    assert SOLVER(request(COT.format(QUESTION), **{cap: 7000})).finish_reason == "stop"


@pytest.mark.parametrize("adapter", ["ChatAdapter", "JSONAdapter"])
@pytest.mark.parametrize("signature", ["question -> answer: int", "question, token_budget: int -> reasoning, answer"])
def test_the_layouts_of_dspy_parse(adapter: str, signature: str) -> None:
    import dspy

    program, form = dspy.Signature(signature), vars(dspy)[adapter]()
    system, user = form.format(program, [], {"question": QUESTION, "token_budget": 40})
    fields = form.parse(program, SOLVER(request(user["content"], system=system["content"])).text)
    assert fields.keys() == program.output_fields.keys()
    assert str(fields["answer"]).isdigit()


def test_word_problems_are_distinct_seeded_and_a_prefix_of_longer_lists() -> None:
    rows = word_problems(500, seed=3)
    assert rows[:40] == word_problems(40, seed=3) != word_problems(40)
    assert len({row["question"] for row in rows}) == 500
    assert {row["steps"] for row in rows} == {1, 2, 3, 4}
    assert all(re.fullmatch(r"\d+", row["answer"]) for row in rows)
    assert word_problems(0) == []


@pytest.mark.parametrize(
    ("pattern", "answer"),
    [
        (r"has (\d+) \w+ and gives (\d+)", lambda a, b: a - b),
        (r"fills (\d+) boxes with (\d+) .* keeps (\d+)", lambda a, b, c: a * b + c),
        (r"brings (\d+) .* keeps (\d+) .* \$(\d+) each", lambda a, b, c: (a - b) * c),
        (r"collects (\d+) .* loses (\d+) .* (\d+) friends\. .* would (\d+)", lambda a, b, c, d: (a - b) // c * d),
        (r"makes (\d+) .* next (\d+) .* makes (\d+) .* sells (\d+)", lambda a, b, c, d: a + b * (a + c) - d),
    ],
)
def test_the_answers_follow_from_the_questions(pattern: str, answer: Callable[..., int]) -> None:
    found = [(re.search(pattern, row["question"]), row["answer"]) for row in word_problems(500)]
    checked = [(answer(*map(int, match.groups())), int(gold)) for match, gold in found if match]
    assert len(checked) > 50
    assert all(ours == gold >= 0 for ours, gold in checked)


def test_every_question_of_the_banks_is_found_in_every_form() -> None:
    assert all(
        SOLVER.find(form.format(q)) == q for q in BANK for form in (COT, DIRECT, ESTIMATE, "[[ ## q ## ]]\n{}\n")
    )


@pytest.mark.parametrize(
    ("text", "count", "first"),
    [("a b c", 2, "a b"), ("  a\n b", 1, "  a"), ("a", 5, "a"), ("", 3, ""), ("a b", 0, ""), ("a b", -1, "")],
)
def test_first_words_keep_their_spacing(text: str, count: int, first: str) -> None:
    assert first_words(text, count) == first


def test_draws_are_even_and_independent() -> None:
    one, other = ([draw(str(n), salt) for n in range(3000)] for salt in ("a", "b"))
    assert statistics.fmean(one) == pytest.approx(0.5, abs=0.03)
    assert abs(statistics.correlation(one, other)) < 0.06
    assert draw("\ud800", "lone surrogate") < 1
