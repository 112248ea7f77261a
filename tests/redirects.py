"""Two origins on loopback: the first sends every request on to the second."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class CountingServer(ThreadingHTTPServer):
    """A server that counts requests whatever their path."""

    daemon_threads = True
    location: str | None = None
    requests = 0
    authorization: str | None = None
    """What the last request was authorized by."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: CountingServer

    def do_POST(self) -> None:
        self.server.requests += 1
        self.server.authorization = self.headers.get("Authorization")
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(307 if self.server.location else 404)
        if self.server.location:
            self.send_header("Location", self.server.location + self.path)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST

    def log_message(self, *args: object) -> None:
        """Write nothing."""


@contextmanager
def two_origins() -> Iterator[tuple[CountingServer, CountingServer]]:
    """Serve both; yield the first, which redirects, and the other."""
    with CountingServer(("127.0.0.1", 0), _Handler) as first, CountingServer(("127.0.0.1", 0), _Handler) as other:
        first.location = other.url
        threads = [threading.Thread(target=server.serve_forever, args=(0.05,)) for server in (first, other)]
        for thread in threads:
            thread.start()
        try:
            yield first, other
        finally:
            for server, thread in zip((first, other), threads, strict=True):
                server.shutdown()
                thread.join()
