"""The batch endpoints of the scripted server, asked by hand."""

import json
from typing import Any

import httpx

from tale_dspy.testing.batches import BatchFaults, BatchServer


def submit(server: BatchServer, rows: list[dict[str, Any]]) -> httpx.Response:
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    files = {"file": ("a.jsonl", lines.encode(), "application/jsonl")}
    name = httpx.post(f"{server.url}/files", data={"purpose": "batch"}, files=files).json()["id"]
    return httpx.post(f"{server.url}/batches", json={"input_file_id": name, "endpoint": "/v1/chat/completions"})


def row(custom_id: str, model: str = "m") -> dict[str, Any]:
    body = {"model": model, "messages": [{"role": "user", "content": custom_id}]}
    return {"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions", "body": body}


def test_a_batch_is_answered_after_its_delay_and_each_answer_is_paid_once() -> None:
    with BatchServer("hi there", batch_faults=BatchFaults(delay=3600, doubled=1.0)) as server:
        batch = submit(server, [row("a"), row("b")]).json()
        assert batch["status"] == "in_progress"
        server.batch_faults = BatchFaults()
        batch = httpx.get(f"{server.url}/batches/{batch['id']}").json()
        lines = httpx.get(f"{server.url}/files/{batch['output_file_id']}/content").text.splitlines()
        assert batch["status"] == "completed" and [json.loads(line)["custom_id"] for line in lines] == [
            "a",
            "a",
            "b",
            "b",
        ]
        assert server.batch_stats.paid_calls == 2 and server.batch_stats.completion_tokens == 4


def test_what_providers_refuse_is_refused() -> None:
    with BatchServer("hi") as server:
        for rows in ([row("a"), row("a")], [row("a b")], [row("x" * 65)], [row("a"), row("b", "n")], []):
            assert submit(server, rows).status_code == 400
        assert server.batch_stats.batches == 0


def test_the_url_of_a_request_is_that_of_its_batch() -> None:
    with BatchServer("hi") as server:
        refused = submit(server, [{**row("a"), "url": "/v1/responses"}])
        assert refused.status_code == 400 and "must be /v1/chat/completions" in refused.text
