import gc
import json
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from serving import BODY, POST, address, ask, outcome, send, until

import tale_dspy.testing
from tale_dspy.errors import TaleError, UsageError
from tale_dspy.testing import Faults, Reply, Request, ScriptedServer
from tale_dspy.testing.server import main

# ---- replies


def test_a_string_is_the_reply_to_everything() -> None:
    with ScriptedServer("Answer: [[4]]") as server:
        assert ask(server, "1").text == ask(server, "2").text == "Answer: [[4]]"


def test_the_reply_function_sees_the_whole_request() -> None:
    requests: list[Request] = []
    messages = [
        {"role": "system", "content": "be good"},
        {"role": "developer", "content": "be brief"},
        {"role": "user", "content": "first"},
        {"role": "assistant", "content": None},
        {"role": "user", "content": [{"type": "text", "text": "last"}, {"type": "image_url"}, "odd"]},
        {"role": "tool", "content": 3},
    ]
    with ScriptedServer(lambda request: (requests.append(request), "ok")[1]) as server:
        for _ in range(2):
            ask(server, messages=messages)
    assert (requests[0].prompt, requests[0].system) == ("last", "be good\nbe brief")
    assert [(r.n, r.seen) for r in requests] == [(1, 0), (2, 1)]


def test_latency_and_delay_add_up() -> None:
    with ScriptedServer(Reply("x", delay=0.05), latency=0.05) as server:
        ask(server)
    assert server.stats.window_s >= 0.1


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


# ---- pages


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


# ---- life


def test_stopping_closes_hung_and_idle_connections_at_once() -> None:
    server = ScriptedServer("x", faults=Faults(hung=1.0)).start()
    with ThreadPoolExecutor(1) as pool, socket.create_connection(address(server)):
        pending = pool.submit(outcome, server, "q")
        until(lambda: server.stats.hung == 1 and server.stats.connections == 2)
        server.stop()  # else the client would wait 10 s and say "hung"
        assert pending.result() == "dropped"
    assert (server.stats.hung, server.stats.abandoned, server.stats.in_flight) == (1, 0, 0)


def test_stopping_does_not_wait_for_a_client_that_does_not_read() -> None:
    with ScriptedServer("word " * 4_000_000) as server:
        client = socket.create_connection(address(server))
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
            with pytest.raises(UsageError, match="is running already"):
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
    with ScriptedServer("x") as server, pytest.raises(UsageError, match=r"port \d+ cannot be used"):
        ScriptedServer("x", port=address(server)[1]).start()


@pytest.mark.parametrize(
    "build",
    [
        lambda: ScriptedServer("x").url,
        lambda: ScriptedServer("x", latency=-1),
        lambda: ScriptedServer("x", latency=float("nan")),
        lambda: ScriptedServer("x", record=-1),
        lambda: ScriptedServer("x", port=70_000),
    ],
)
def test_impossible_arguments_are_refused(build: Callable[[], object]) -> None:
    with pytest.raises(UsageError):
        build()


def test_the_face_of_the_room_has_what_it_names() -> None:
    face = tale_dspy.testing
    assert all(name in vars(face) or face.__getattr__(name) for name in face.__all__)
    assert face.ScriptedServer is ScriptedServer
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
