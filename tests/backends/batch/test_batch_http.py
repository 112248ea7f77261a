"""Requests to batch APIs: sent again where that is safe, cut at newlines alone, refused in one sentence."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from tale_dspy.backends.batch.batch_http import BatchHTTP, UnclearSendError, result_row
from tale_dspy.errors import BackendError
from tale_dspy.testing.server import ScriptedServer
from tale_dspy.testing.wire import HttpMessage, WireAnswer


class Pages(ScriptedServer):
    """Answers each request with the next page."""

    pages: Iterator[WireAnswer]
    seen: list[HttpMessage]

    def _answer_page(self, message: HttpMessage) -> WireAnswer:
        self.seen.append(message)
        return next(self.pages)


def asked(pages: list[WireAnswer], request: Any) -> tuple[list[HttpMessage], Any]:
    async def run(url: str) -> Any:
        http = BatchHTTP({"authorization": "Bearer k", "content-length": "7"}, retry_after=0.01)
        try:
            return await request(http, f"{url}/batches")
        finally:
            await http.close()

    server = Pages()
    server.pages, server.seen = iter(pages), []
    with server:
        return server.seen, asyncio.run(run(server.url))


def test_what_fails_in_passing_is_sent_again_with_the_key() -> None:
    pages = [WireAnswer("other", 500), WireAnswer("other", 429), WireAnswer("other", body=b'{"id": 1}')]
    requests, value = asked(pages, lambda http, url: http.get(url))
    assert value == {"id": 1} and len(requests) == 3
    assert {m.headers["authorization"] for m in requests} == {"Bearer k"}


@pytest.mark.parametrize(
    ("status", "sentence"),
    [(404, "this address has no batch API"), (403, r"refuses the batch \(status 403\)"), (302, "redirects")],
)
def test_what_is_refused_is_one_sentence(status: int, sentence: str) -> None:
    with pytest.raises(BackendError, match=sentence):
        asked([WireAnswer("other", status)], lambda http, url: http.get(url))


def test_a_submission_is_not_repeated_blindly() -> None:
    with pytest.raises(UnclearSendError):
        asked([WireAnswer("other", 502)], lambda http, url: http.send_once(url, json={}))
    requests, reply = asked([WireAnswer("other", 429)], lambda http, url: http.send_once(url, json={}))
    assert reply.status_code == 429 and len(requests) == 1


def test_lines_are_cut_at_newlines_alone() -> None:
    async def lines(http: BatchHTTP, url: str) -> list[bytes]:
        return [line async for line in http.lines(url)]

    body = "a\u2028b\r\n\nc\x0bd".encode()
    assert asked([WireAnswer("other", 500), WireAnswer("other", body=body)], lines)[1] == [
        "a\u2028b\r".encode(),
        b"",
        b"c\x0bd",
    ]


@pytest.mark.parametrize(
    "line", [b"", b" \n", b'{"custom_id": "a", "resp', b"[1]", b"null", b"\xff\xfe{", b"[" * 100_000]
)
def test_a_broken_line_of_results_is_no_row(line: bytes) -> None:
    assert result_row(line) is None
    assert result_row(b'{"custom_id": "a"}') == {"custom_id": "a"}
