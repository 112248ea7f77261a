"""Clients that follow no redirect and bound a reply, on both engines, in threads and event loops."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import dspy
import pytest
from redirects import two_origins

import tale_dspy

KEYED = {
    "openai": "openai/x",
    "anthropic": "anthropic/claude-3-5-haiku-latest",
    "gemini": "gemini/gemini-2.0-flash",
    "mistral": "mistral/x",
    "deepseek": "deepseek/x",
    "hosted_vllm": "hosted_vllm/x",
    "ollama_chat": "ollama_chat/x",
}

Caller = Callable[[Any], Any]


@contextmanager
def dripping(interval: float) -> Iterator[tuple[str, list[int]]]:
    """Serve replies that come byte by byte; yield the address and the bytes of the replies that came whole."""
    body = json.dumps({"choices": [{"message": {"content": "4"}}]}).encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    stop = threading.Event()
    whole: list[int] = []
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.05)

    def drip(connection: socket.socket) -> None:
        with connection:
            try:
                connection.recv(65536)
                connection.sendall(head)
                for byte in body:
                    if stop.wait(interval):
                        return
                    connection.sendall(bytes([byte]))
            except OSError:
                return
            whole.append(len(body))

    def accept() -> None:
        while not stop.is_set():
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            threading.Thread(target=drip, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1", whole
    finally:
        stop.set()
        thread.join()
        listener.close()


@pytest.mark.parametrize("engine", ["litellm", "auto"])
@pytest.mark.parametrize("interval", [0.1, 5.0], ids=["drips", "hangs"])
def test_a_timeout_bounds_a_whole_reply(interval: float, engine: str, call: Caller) -> None:
    # 0.1 s: each byte comes in time, all of them take 5 s.
    with dripping(interval) as (url, whole):
        settings: dict[str, Any] = {"timeout": 0.5, "num_retries": 0, "cache": False, "engine": engine}
        with pytest.raises(dspy.LMError):
            call(tale_dspy.LM("openai/x", api_base=url, api_key="k", **settings))
        assert whole == []


@pytest.mark.parametrize("engine", ["litellm", "auto"])
@pytest.mark.parametrize("model", KEYED.values(), ids=KEYED.keys())
def test_no_redirect_carries_key_or_prompt_elsewhere(model: str, engine: str, call: Caller) -> None:
    with two_origins() as (server, other):
        settings: dict[str, Any] = {"num_retries": 0, "cache": False, "timeout": 5.0, "engine": engine}
        lm = tale_dspy.LM(model, api_base=server.url, api_key="secret", **settings)
        with pytest.raises(dspy.LMError):
            call(lm)
        assert (other.requests, server.requests > 0) == (0, True)


@pytest.mark.parametrize("model", ["openai/x", "mistral/x"])
def test_user_and_password_in_an_address_are_sent(model: str, call: Caller) -> None:
    with two_origins() as (server, _):
        address = server.url.replace("//", "//user:pass@")
        lm = tale_dspy.LM(model, api_base=address, api_key="secret", num_retries=0, cache=False)
        with pytest.raises(dspy.LMError):
            call(lm)
        assert server.authorization == "Basic dXNlcjpwYXNz"
