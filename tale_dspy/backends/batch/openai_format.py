"""OpenAI's batch API.

A file of requests goes up, files of results and errors come down.

POST /files, POST /batches, GET /batches/ID, GET /files/ID/content (platform.openai.com/docs/guides/batch). Azure, Groq
and a LiteLLM proxy speak it, too.
"""

import json
from collections.abc import AsyncIterator, Collection, Sequence
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

MARK = "tale_batch"
"""Key of a batch's metadata under which it says which of ours it is."""
_PAGE = "100"


class OpenAIBatchClient:
    """A client of OpenAI's batch API.

    Args:
        base_url: The address that an LM's calls go to, without the endpoint.
        endpoint: What is asked for, `/chat/completions` or `/responses`.
        http: Sends with the key of the LM.
    """

    limits = BatchLimits(requests=50_000, bytes=200_000_000)

    def __init__(self, base_url: str, endpoint: str, http: BatchHTTP) -> None:
        self._base = base_url.rstrip("/")
        self._endpoint = f"/v1{endpoint}"
        self._http = http

    async def submit(self, name: str, requests: Sequence[BatchRequest]) -> str:
        """Upload the requests, and create the batch; see `BatchClient`."""
        lines = b"".join(self._line(request) for request in requests)
        files = {"file": (f"{name}.jsonl", lines, "application/jsonl")}
        uploaded = await self._http.send_safely(f"{self._base}/files", data={"purpose": "batch"}, files=files)
        created = {
            "input_file_id": uploaded["id"],
            "endpoint": self._endpoint,
            "completion_window": "24h",
            "metadata": {MARK: name},
        }
        return await self._http.create_batch(
            f"{self._base}/batches",
            lambda: self.find(name, (), 0.0, ()),
            ("enqueued", "token_limit"),
            json=created,
        )

    async def find(self, name: str, custom_ids: Collection[str], planned_at: float, others: Collection[str]) -> str:
        """Find a batch by its metadata; see `BatchClient`."""
        params = {"limit": _PAGE}
        while True:
            page = await self._http.get(f"{self._base}/batches", params)
            batches: list[dict[str, Any]] = page.get("data") or []
            for batch in batches:
                if (batch.get("metadata") or {}).get(MARK) == name:
                    return str(batch["id"])
            oldest = batches[-1].get("created_at") if batches else None
            if not page.get("has_more") or not batches or (oldest or 0.0) < planned_at - CLOCK_SKEW_S:
                return ""
            params["after"] = str(batches[-1]["id"])

    async def status(self, batch_id: str) -> BatchStatus:
        """Ask how far a batch is; see `BatchClient`."""
        batch = await self._http.get(f"{self._base}/batches/{batch_id}")
        state = batch.get("status")
        if state in ("completed", "expired", "cancelled"):
            return BatchStatus("ended")
        if state != "failed":
            return BatchStatus("running")
        errors = (batch.get("errors") or {}).get("data") or []
        detail = "; ".join(str(error.get("message") or error.get("code")) for error in errors)[:300]
        limited = any(error.get("code") == "token_limit_exceeded" for error in errors)
        return BatchStatus("over_limit" if limited else "failed", detail)

    async def results(self, batch_id: str) -> AsyncIterator[BatchResult]:
        """Yield what the output file and the error file hold; see `BatchClient`."""
        batch = await self._http.get(f"{self._base}/batches/{batch_id}")
        for name in ("output_file_id", "error_file_id"):
            if not batch.get(name):
                continue
            async for line in self._http.lines(f"{self._base}/files/{batch[name]}/content"):
                if (row := result_row(line)) is not None:
                    yield _result_of(row)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    def _line(self, request: BatchRequest) -> bytes:
        body = request.body if b"\n" not in request.body else json.dumps(json.loads(request.body)).encode()
        head = json.dumps({"custom_id": request.custom_id, "method": "POST", "url": self._endpoint})
        return b'%s, "body": %s}\n' % (head[:-1].encode(), body)


def _result_of(row: dict[str, Any]) -> BatchResult:
    custom_id = str(row.get("custom_id"))
    stated = row.get("response")
    response: dict[str, Any] = stated if isinstance(stated, dict) else {}
    status = response.get("status_code")
    if not isinstance(status, int):  # expired or cancelled before it was sent to the model
        return BatchResult(
            custom_id, HTTPReply(NO_RESULT_STATUS, json.dumps({"error": row.get("error")}).encode()), True
        )
    reply = HTTPReply(status, json.dumps(response.get("body")).encode())
    return BatchResult(custom_id, reply, fails_in_passing(status))
