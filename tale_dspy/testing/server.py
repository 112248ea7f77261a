"""A scripted OpenAI-compatible server on the loopback interface.

It answers chat completions with what a function says, breaks what `Faults` says, and counts exactly what it sent, so
that a test or a benchmark can hold a client's own figures against it. It is not a model, and not a web server for
anything else: it speaks as much HTTP/1.1 as provider clients do, and binds to 127.0.0.1 alone.

    POST /v1/chat/completions, POST /chat/completions    a completion, also with stream=true and n > 1
    GET  /v1/models, GET /models                         the one model
    GET  /stats                                          `ServerStats` as JSON
    POST /reset                                          all counts to zero

As a process of its own it prints its URL on one line: `python -m tale_dspy.testing.server --port 0 --latency 0.1`.
"""

import argparse
import asyncio
import math
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from tale_dspy.errors import TaleError, UsageError
from tale_dspy.testing.faults import SHARES, Faults, spoil
from tale_dspy.testing.messages import Reply, Request
from tale_dspy.testing.problems import SolverReply, read_bank, word_problems
from tale_dspy.testing.request_log import RequestLog, RequestStats, ServerStats
from tale_dspy.testing.wire import (
    ERRORS,
    MAX_HEAD,
    HTTPError,
    HttpMessage,
    WireAnswer,
    compose,
    encode,
    error_answer,
    parse_body,
    read_message,
    refusal,
    response_bytes,
)

ReplyFunction = Callable[[Request], Reply | str]

HOST = "127.0.0.1"
STOP_S = 2.0
"""Seconds that starting and stopping may take; only a reply function that blocks takes longer."""

_CHAT_PATHS = {"/v1/chat/completions", "/chat/completions"}


class _WatchedConnection(asyncio.StreamReaderProtocol):
    """Streams that end the conversation as soon as the client leaves.

    This also works while the client waits for an answer.
    """

    def __init__(self, server: "ScriptedServer") -> None:
        super().__init__(asyncio.StreamReader(limit=MAX_HEAD), self._open_connection)
        self._server = server
        self._conversation: asyncio.Task[None]
        self.writer: asyncio.StreamWriter

    def _open_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self._conversation = asyncio.create_task(self._server._serve_connection(reader, writer))
        self._server._open.add(self)

    def eof_received(self) -> bool:
        super().eof_received()
        return False  # a client that closed its side has left: close ours, which ends in connection_lost

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._conversation.cancel()
        self._server._open.discard(self)


class ScriptedServer:
    """An OpenAI-compatible server on 127.0.0.1 whose replies a function writes.

    It runs in a daemon thread from `start` to `stop`, or inside a `with` block. The function is called in that thread,
    once for each choice asked for, and must not block. If it raises, the client gets a 500 and leaving the block raises
    its exception. Tokens are words, cut at white space, unless a `Reply` says otherwise.

    Args:
        reply: What to answer: a function of the request, or one reply for everything.
        latency: Seconds before each reply, errors included.
        faults: What goes wrong.
        record: How many of the last requests `requests` keeps; 0 for benchmarks.
        port: The port; 0 takes a free one.

    Raises:
        UsageError: If `latency` or `record` is negative or `port` is none.

    Example:
        >>> with ScriptedServer("Answer: [[4]]", faults=Faults(rate_limited=1.0)) as server:
        ...     url = server.url
        >>> server.stats.requests
        0
    """

    def __init__(
        self,
        reply: ReplyFunction | Reply | str = "",
        *,
        latency: float = 0.0,
        faults: Faults = Faults(),  # noqa: B008  (frozen)
        record: int = 10_000,
        port: int = 0,
    ) -> None:
        if not 0 <= latency < math.inf or record < 0:
            raise UsageError(f"latency and record must be 0 or more, not {latency} and {record}")
        if not 0 <= port <= 65535:
            raise UsageError(f"port must be between 0 and 65535, not {port}")
        self.latency = latency
        self.faults = faults
        self.failure: Exception | None = None
        """The first exception that the reply function raised."""
        self._reply = reply
        self._record = record
        self._port = port
        self._log = RequestLog(record)
        self._open: set[_WatchedConnection] = set()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop
        self._stopping: asyncio.Event

    @property
    def url(self) -> str:
        """The base URL for clients; of a stopped server, where it was.

        It raises UsageError before the first start.
        """
        if not self._port:
            raise UsageError("the server has no URL before it is started")
        return f"http://{HOST}:{self._port}/v1"

    @property
    def stats(self) -> ServerStats:
        """The live counts since the last reset."""
        return self._log.stats

    @property
    def requests(self) -> list[Request]:
        """The last requests, oldest first.

        Requests whose body could not be read are missing.
        """
        return list(self._log.requests)

    def reset(self) -> None:
        """Reset all counts and memories.

        Requests in flight are booked on the counts they began with.
        """
        self._log = RequestLog(self._record)

    def start(self) -> Self:
        """Listen, and return at once: clients may connect from here on.

        Raises:
            UsageError: If the server is running already or the port cannot be used.
        """
        if self._thread is not None:
            raise UsageError("the server is running already")
        try:
            listener = socket.create_server((HOST, self._port), backlog=1024)
        except OSError as e:
            raise UsageError(f"port {self._port} cannot be used: {e}") from e
        self._port = listener.getsockname()[1]
        started: Future[None] = Future()
        self._thread = threading.Thread(
            target=asyncio.run, args=(self._serve_forever(listener, started),), daemon=True, name="scripted-server"
        )
        self._thread.start()
        started.result(STOP_S)
        return self

    def stop(self) -> None:
        """Close all connections, answered or not, and end the thread.

        A stopped server is left as it is.

        Raises:
            TaleError: If a reply function blocks the thread for longer than two seconds.
        """
        if self._thread is None:
            return
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(STOP_S)
        if self._thread.is_alive():
            raise TaleError(f"the server did not stop within {STOP_S} s: its reply function blocks")
        self._thread = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if self.failure is not None and error is None:
            raise self.failure

    async def _serve_forever(self, listener: socket.socket, started: "Future[None]") -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        server = await self._loop.create_server(lambda: _WatchedConnection(self), sock=listener)
        started.set_result(None)
        await self._stopping.wait()
        server.close()
        while self._open:
            for connection in self._open:
                connection.writer.transport.abort()
            await asyncio.sleep(0)  # connection_lost comes in the next round of the loop

    async def _serve_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection one after the other."""
        self._log.stats.connections += 1
        try:
            while True:
                message = await read_message(reader, writer)
                if message.method == "POST" and message.path in _CHAT_PATHS:
                    answer = await self._delayed_answer(message)
                else:
                    answer = self._answer_page(message)
                if answer.outcome == "dropped":
                    writer.transport.abort()
                    return
                writer.write(response_bytes(answer, message.keep_alive, with_body=message.method != "HEAD"))
                if not message.keep_alive:
                    return
        except HTTPError as e:
            self._log.stats.other += 1
            writer.write(response_bytes(error_answer(e.status, str(e)), keep_alive=False))
        except asyncio.IncompleteReadError:
            pass  # the client closed the connection between two requests
        finally:
            writer.close()

    async def _delayed_answer(self, message: HttpMessage) -> WireAnswer:
        """Return the answer to a completion when it is due, counted."""
        log = self._log
        request_stats = RequestStats(log.stats)
        try:
            answer = self._decide_answer(log, request_stats, message)
            if answer.outcome == "hung":
                request_stats.count(answer)
                await asyncio.Event().wait()  # until the client leaves or the server stops
            request_stats.expect(answer)
            if self.latency + answer.delay > 0:
                await asyncio.sleep(self.latency + answer.delay)
            request_stats.count(answer)
            return answer
        finally:
            request_stats.leave()

    def _decide_answer(self, log: RequestLog, request_stats: RequestStats, message: HttpMessage) -> WireAnswer:
        """Work out the answer to a completion."""
        try:
            body, key = parse_body(message.body)
        except UsageError as e:
            return error_answer(400, str(e))
        request = log.admit(request_stats, message, body, key)
        fault = self.faults.always() or self.faults.strike(request, key)
        if fault is not None:
            log.stats.by_fault[fault] = log.stats.by_fault.get(fault, 0) + 1
        if fault in ERRORS:
            return refusal(fault, self.faults.retry_after)
        try:
            replies = [self._ask_reply_function(replace(request, choice=i)) for i in range(body.get("n") or 1)]
            answer = compose(request, [spoil(fault, reply) for reply in replies])
        except Exception as e:  # the boundary to the caller's script: it must not end the server, and is raised at exit
            self.failure = self.failure or e
            return error_answer(500, f"the reply function failed: {type(e).__name__}: {e}", "server_error")
        if fault in ("dropped", "hung"):
            return replace(answer, outcome=fault)
        if fault == "malformed" and answer.outcome == "answered":
            return replace(answer, outcome=fault, body=answer.body[: len(answer.body) // 2])
        return answer

    def _ask_reply_function(self, request: Request) -> Reply:
        reply = self._reply(request) if callable(self._reply) else self._reply
        if isinstance(reply, str):
            return Reply(reply)
        if isinstance(reply, Reply):
            return reply
        raise TypeError(f"a reply function must return a Reply or a str, not {type(reply).__name__}")

    def _answer_page(self, message: HttpMessage) -> WireAnswer:
        """Answer everything that is not a completion."""
        stats = self._log.stats
        stats.other += 1
        page = (message.method, message.path.removeprefix("/v1"))
        if page == ("GET", "/models") and self.faults.unauthorized:
            return refusal("unauthorized")
        if page == ("GET", "/models"):
            model = {"id": "scripted", "object": "model", "created": 0, "owned_by": "tale-dspy"}
            return WireAnswer("other", body=encode({"object": "list", "data": [model]}))
        if page == ("GET", "/stats"):
            return WireAnswer("other", body=encode(stats.to_json()))
        if page == ("POST", "/reset"):
            self.reset()
            return WireAnswer("other", body=encode({"reset": True}))
        return error_answer(404, f"there is nothing at {message.method} {message.path}", code="unknown_url")


def _parse_share(text: str) -> tuple[str, float]:
    name, _, share = text.partition("=")
    if name not in SHARES:
        raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(SHARES)}")
    return name, float(share)


def _until_signalled() -> Callable[[], object]:
    """Begin to listen for SIGINT and SIGTERM, and return what waits for one."""
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    return ended.wait


def main(argv: Sequence[str] | None = None, until: Callable[[], object] | None = None) -> int:
    """Serve the scripted solver as a process of its own.

    It ends when it is interrupted or terminated.

    Args:
        argv: The command line; None takes the process's.
        until: Returns when the server is to end; None waits for SIGINT or SIGTERM.

    Returns:
        0, or 2 for options that cannot be used.
    """
    description = "Serve the scripted solver until it is interrupted."
    parser = argparse.ArgumentParser(prog="python -m tale_dspy.testing.server", description=description)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each reply")
    parser.add_argument("--bank", type=Path, help="a .jsonl of question and answer; without it, word problems")
    parser.add_argument("--problems", type=int, default=40, help="how many word problems")
    parser.add_argument("--seed", type=int, default=0, help="of the word problems, the solver and the faults")
    parser.add_argument("--record", type=int, default=0, help="how many requests to keep in memory")
    parser.add_argument(
        "--fault", type=_parse_share, action="append", default=[], metavar="NAME=SHARE", help=", ".join(SHARES)
    )
    parser.add_argument("--tries", type=int, default=1, help="how many attempts of a struck prompt fail")
    parser.add_argument("--retry-after", type=float, default=0.0, help="seconds named with a 429")
    args = parser.parse_args(argv)
    until = until or _until_signalled()  # before the address is printed, to which an answer may be a signal
    try:
        rows = word_problems(args.problems, args.seed)
        bank = read_bank(args.bank) if args.bank else {row["question"]: row["answer"] for row in rows}
        faults = Faults(**dict(args.fault), tries=args.tries, retry_after=args.retry_after, seed=args.seed)
        reply = SolverReply(bank, seed=args.seed)
        with ScriptedServer(reply, latency=args.latency, faults=faults, record=args.record, port=args.port) as server:
            sys.stdout.write(f"{server.url}\n")
            sys.stdout.flush()
            until()
    except UsageError as e:
        sys.stderr.write(f"{e}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
