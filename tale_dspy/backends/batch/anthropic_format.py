"""Anthropic's message batches: one body of requests, one file of results.

POST /v1/messages/batches, GET .../ID, GET .../ID/results (docs.claude.com/en/docs/build-with-claude/batch-processing).
A batch has no metadata: one that was submitted by a killed process is known by its requests' custom ids, which it shows
once it has ended.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Collection, Sequence
from datetime import datetime
from typing import Any

from tale_dspy.backends.batch.batch_http import BatchHTTP, result_row
from tale_dspy.backends.batch.client import (
    CLOCK_SKEW_S,
    NO_RESULT_STATUS,
    BatchLimits,
    BatchRequest,
    BatchResult,
    BatchStatus,
    fails_in_passing,
)
from tale_dspy.backends.batch.interception import HTTPReply

POLL_S = 5.0
"""Seconds between two looks at a batch that may be ours and has not ended."""
STATUS_OF_ERROR = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""HTTP status of each type of error, as Anthropic documents them."""


class AnthropicBatchClient:
    """A client of Anthropic's message batches.

    Args:
        messages_url: The address that an LM's calls go to, ending in `/messages`.
        http: Sends with the key of the LM.
        poll_s: Seconds between two looks at a batch that may be ours.
    """

    limits = BatchLimits(requests=100_000, bytes=256_000_000)

    def __init__(self, messages_url: str, http: BatchHTTP, poll_s: float = POLL_S) -> None:
        self._url = f"{messages_url.rstrip('/')}/batches"
        self._http = http
        self._poll_s = poll_s

    async def submit(self, name: str, requests: Sequence[BatchRequest]) -> str:
        """Create the batch; see `BatchClient`."""
        items = [b'{"custom_id": %s, "params": %s}' % (json.dumps(r.custom_id).encode(), r.body) for r in requests]
        body = b'{"requests": [%s]}' % b", ".join(items)
        before = await self._ids()
        return await self._http.create_batch(
            self._url,
            lambda: self.find(name, {r.custom_id for r in requests}, 0.0, before),
            ("enqueued", "in the processing queue"),
            content=body,
            headers={"content-type": "application/json"},
        )

    async def find(self, name: str, custom_ids: Collection[str], planned_at: float, others: Collection[str]) -> str:
        """Find a batch by the custom ids of its requests.

        It waits for batches of the same size to end, since only results show custom ids.
        """
        ids = set(custom_ids)
        async for batch in self._newest_first():
            if _created_at(batch) < planned_at - CLOCK_SKEW_S:
                break
            if batch["id"] not in others and sum(batch["request_counts"].values()) == len(ids):
                while (await self.status(batch["id"])).state == "running":
                    await asyncio.sleep(self._poll_s)
                async for result in self.results(batch["id"]):
                    if result.custom_id in ids:
                        return str(batch["id"])
                    break
        return ""

    async def status(self, batch_id: str) -> BatchStatus:
        """Ask how far a batch is; see `BatchClient`."""
        batch = await self._http.get(f"{self._url}/{batch_id}")
        return BatchStatus("ended" if batch.get("processing_status") == "ended" else "running")

    async def results(self, batch_id: str) -> AsyncIterator[BatchResult]:
        """Yield what the file of results holds; see `BatchClient`."""
        async for line in self._http.lines(f"{self._url}/{batch_id}/results"):
            if (row := result_row(line)) is not None:
                yield _result_of(row)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    async def _ids(self) -> set[str]:
        """Return the ids of the newest batches.

        None of them can be a batch that is submitted later.
        """
        page = await self._http.get(self._url, {"limit": "1000"})
        return {str(batch["id"]) for batch in page.get("data") or []}

    async def _newest_first(self) -> AsyncIterator[dict[str, Any]]:
        params = {"limit": "1000"}
        while True:
            page = await self._http.get(self._url, params)
            batches: list[dict[str, Any]] = page.get("data") or []
            for batch in batches:
                yield batch
            if not page.get("has_more") or not batches:
                return
            params["after_id"] = str(batches[-1]["id"])


def _created_at(batch: dict[str, Any]) -> float:
    return datetime.fromisoformat(batch["created_at"]).timestamp()


def _result_of(row: dict[str, Any]) -> BatchResult:
    custom_id = str(row.get("custom_id"))
    stated = row.get("result")
    result: dict[str, Any] = stated if isinstance(stated, dict) else {}
    if result.get("type") == "succeeded" and "message" in result:
        return BatchResult(custom_id, HTTPReply(200, json.dumps(result["message"]).encode()), False)
    if result.get("type") != "errored":  # expired or canceled
        error = {"type": "error", "error": {"type": "timeout_error", "message": f"the request {result.get('type')}"}}
        return BatchResult(custom_id, HTTPReply(NO_RESULT_STATUS, json.dumps(error).encode()), True)
    body: dict[str, Any] = result.get("error") or {}
    inner: dict[str, Any] = body.get("error") or body
    status = STATUS_OF_ERROR.get(str(inner.get("type")), 500)
    return BatchResult(custom_id, HTTPReply(status, json.dumps(body).encode()), fails_in_passing(status))
