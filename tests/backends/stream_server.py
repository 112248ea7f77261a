"""A loopback server that streams bytes as given, each piece as a chunk of its own, and what real servers stream."""

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

DONE = b"data: [DONE]\n\n"
USAGE = {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14}


class StreamServer(ThreadingHTTPServer):
    """Answers each POST with the pieces of a stream."""

    daemon_threads = True

    def __init__(self, pieces: Sequence[bytes], *, content_type: str = "text/event-stream", cut: bool = False) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.pieces, self.content_type, self.cut = pieces, content_type, cut
        self.requests: list[dict[str, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: StreamServer

    def do_POST(self) -> None:
        self.server.requests.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        self.send_response(200)
        self.send_header("content-type", self.server.content_type)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for piece in self.server.pieces:
            self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            self.wfile.flush()
        if self.server.cut:
            self.close_connection = True
        else:
            self.wfile.write(b"0\r\n\r\n")

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def stream_server(pieces: Sequence[bytes], **options: Any) -> Iterator[StreamServer]:
    """Run a server for the length of a block."""
    with StreamServer(pieces, **options) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def event(document: object) -> bytes:
    """Return one event of a stream."""
    return b"data: " + json.dumps(document, ensure_ascii=False).encode() + b"\n\n"


def chunk(delta: object = None, *, finish: str | None = None, index: int = 0, **fields: Any) -> bytes:
    """Return one event with a delta."""
    choice = {"index": index, "delta": {} if delta is None else delta, "finish_reason": finish}
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "x"}
    return event({**head, "choices": [choice], **fields})


def text(content: str, **options: Any) -> bytes:
    """Return one event with text."""
    return chunk({"content": content}, **options)


def usage(**counts: Any) -> bytes:
    """Return the last event of a stream: counts and no choice."""
    return chunk(choices=[], usage={**USAGE, **counts})


ROLE = chunk({"role": "assistant", "content": ""})
STOP = chunk(finish="stop")
CLEAN = [ROLE, text("Step é漢. "), text("[[4]]"), STOP, usage(), DONE]
