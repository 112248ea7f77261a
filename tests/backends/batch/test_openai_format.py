"""OpenAI's batch format against a server that speaks it."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from batch_requests import REQUESTS, round_trip, use_client

from tale_dspy.backends.batch.batch_http import BatchHTTP
from tale_dspy.backends.batch.client import BatchClient, OverTokenLimitError
from tale_dspy.backends.batch.openai_format import OpenAIBatchClient, _result_of
from tale_dspy.errors import BackendError
from tale_dspy.testing.batches import BatchFaults, BatchServer
from tale_dspy.testing.server import ScriptedServer


def with_client(server: ScriptedServer, use: Callable[[BatchClient], Awaitable[Any]]) -> Any:
    http = BatchHTTP({}, retry_after=0.01)
    return use_client(lambda: OpenAIBatchClient(server.url, "/chat/completions", http), use)


def test_each_request_comes_back_under_its_id() -> None:
    with BatchServer(lambda request: request.prompt) as server:
        _, state, results = with_client(server, round_trip)
    texts = {r.custom_id: json.loads(r.reply.body)["choices"][0]["message"]["content"] for r in results}
    assert state == "ended" and texts == {f"id-{i}": f"question {i}" for i in range(20)}


def test_expired_failed_and_refused_requests_are_distinguished() -> None:
    faults = BatchFaults(expired=0.3, failed=0.3, refused=0.3, doubled=0.5, shuffled=True)
    with BatchServer("4", batch_faults=faults) as server:
        results = with_client(server, round_trip)[2]
        kinds = {r.custom_id: (r.reply.status, r.send_again) for r in results}
        struck = server.batch_stats.by_fault
    assert sorted(kinds) == sorted(r.custom_id for r in REQUESTS) and len(results) > 20
    for kind, fault in (((599, True), "expired"), ((500, True), "failed"), ((400, False), "refused")):
        assert list(kinds.values()).count(kind) == struck[fault] > 0


def test_an_unclear_submission_is_found_and_not_repeated() -> None:
    with BatchServer("4", batch_faults=BatchFaults(unclear=1)) as server:
        results = with_client(server, round_trip)[2]
        assert len(results) == 20 and server.batch_stats.batches == 1


def test_a_batch_of_an_earlier_process_is_found_by_its_name() -> None:
    async def lost_and_found(client: BatchClient) -> Any:
        batch_id = await client.submit("tale-1", REQUESTS)
        return batch_id, await client.find("tale-1", (), 0.0, ()), await client.find("tale-2", (), 0.0, ())

    with BatchServer("4") as server:
        batch_id, found, other = with_client(server, lost_and_found)
    assert found == batch_id and other == ""


def test_a_batch_over_the_token_limit_says_so() -> None:
    async def refused(client: BatchClient) -> Any:
        return await client.status(await client.submit("tale-1", REQUESTS))

    with BatchServer("4", batch_faults=BatchFaults(token_limit=10)) as server:
        status = with_client(server, refused)
    assert status.state == "over_limit" and "Enqueued token limit" in status.detail
    assert not issubclass(OverTokenLimitError, BackendError)


def test_a_server_without_batches_is_named() -> None:
    with ScriptedServer("4") as server, pytest.raises(BackendError, match=f"{server.url}/files does not exist"):
        with_client(server, round_trip)


@pytest.mark.parametrize("response", [None, "busy", [], {"status_code": "200"}])
def test_a_result_without_a_response_is_sent_again(response: Any) -> None:
    assert _result_of({"custom_id": "a", "response": response}).send_again
