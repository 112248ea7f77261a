"""Anthropic's message batches against a server that speaks them."""

import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from batch_requests import IDS, REQUESTS, round_trip, use_client

from tale_dspy.backends.batch.anthropic_format import AnthropicBatchClient
from tale_dspy.backends.batch.batch_http import BatchHTTP
from tale_dspy.backends.batch.client import BatchClient, OverTokenLimitError
from tale_dspy.testing.batches import BatchFaults, BatchServer


def with_client(server: BatchServer, use: Callable[[BatchClient], Awaitable[Any]]) -> Any:
    http = BatchHTTP({}, retry_after=0.01)
    return use_client(lambda: AnthropicBatchClient(f"{server.url}/messages", http, poll_s=0.02), use)


def test_each_request_comes_back_under_its_id() -> None:
    with BatchServer(lambda request: request.prompt, batch_faults=BatchFaults(shuffled=True)) as server:
        _, state, results = with_client(server, round_trip)
    texts = {r.custom_id: json.loads(r.reply.body)["content"][0]["text"] for r in results}
    assert state == "ended" and texts == {f"id-{i}": f"question {i}" for i in range(20)}


def test_expired_failed_and_refused_requests_are_distinguished() -> None:
    with BatchServer("4", batch_faults=BatchFaults(expired=0.3, failed=0.3, refused=0.3)) as server:
        results = with_client(server, round_trip)[2]
        struck = server.batch_stats.by_fault
    kinds = [(r.reply.status, r.send_again) for r in results]
    for kind, fault in (((599, True), "expired"), ((500, True), "failed"), ((400, False), "refused")):
        assert kinds.count(kind) == struck[fault] > 0


def test_an_unclear_submission_is_found_by_its_ids_once_it_has_ended() -> None:
    with BatchServer("4", batch_faults=BatchFaults(unclear=1, delay=0.1)) as server:
        batch_id = with_client(server, lambda client: client.submit("tale-1", REQUESTS))
        assert server.batch_stats.batches == 1
        found_id = with_client(server, lambda client: client.find("tale-1", IDS, time.time(), ()))
        known = with_client(server, lambda client: client.find("tale-1", IDS, time.time(), {batch_id}))
        others = with_client(server, lambda client: client.find("tale-1", {f"x{i}" for i in IDS}, time.time(), ()))
        later = with_client(server, lambda client: client.find("tale-1", IDS, time.time() + 10_000, ()))
    assert (found_id, known, others, later) == (batch_id, "", "", "")


def test_a_full_queue_asks_for_smaller_batches() -> None:
    with BatchServer("4", batch_faults=BatchFaults(token_limit=10)) as server, pytest.raises(OverTokenLimitError):
        with_client(server, round_trip)
