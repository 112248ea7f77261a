"""Clients of a scripted server, and requests made without one."""

import json
import socket
import time
from collections.abc import Callable
from http.client import HTTPConnection, RemoteDisconnected
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from tale_dspy.testing import Request, ScriptedServer
from tale_dspy.testing.problems import kind_of

POST = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n"
BODY = b'{"messages": [{"role": "user", "content": "hi"}]}'
"""The head, without its length, and the body of a completion asked for by hand."""


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


def address(server: ScriptedServer) -> tuple[str, int]:
    url = urlsplit(server.url)
    return str(url.hostname), int(url.port or 0)


def send(
    server: ScriptedServer, method: str, path: str, body: Any = None, timeout: float = 10, **headers: str
) -> Answer:
    connection = HTTPConnection(*address(server), timeout=timeout)
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


def raw(server: ScriptedServer, *parts: bytes) -> bytes:
    """Send bytes as they are, and return all that comes until the server closes the connection."""
    with socket.create_connection(address(server), timeout=10) as client:
        for part in parts:
            client.sendall(part)
        received = b""
        while data := client.recv(65536):
            received += data
    return received


def request(prompt: str, *, kind: str | None = None, system: str = "", **body: Any) -> Request:
    kind = kind or kind_of(system, prompt)
    return Request(body, {}, prompt, system, [{"role": "user", "content": prompt}], 1, 0, kind, False)


def until(condition: Callable[[], bool]) -> None:
    """Wait for what the server's thread is about to do."""
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0)
