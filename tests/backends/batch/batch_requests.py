"""What the tests of both batch formats share: twenty requests, and one use of a client that is closed again."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from tale_dspy.backends.batch.client import BatchClient, BatchRequest, BatchResult


def body(text: str) -> bytes:
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": text}]}, indent=1).encode()


REQUESTS = [BatchRequest(f"id-{i}", body(f"question {i}")) for i in range(20)]
IDS = {request.custom_id for request in REQUESTS}


def use_client(client: Callable[[], BatchClient], use: Callable[[BatchClient], Awaitable[Any]]) -> Any:
    """Make a client within an event loop, use it and close it."""

    async def run() -> Any:
        opened = client()
        try:
            return await use(opened)
        finally:
            await opened.close()

    return asyncio.run(run())


async def round_trip(client: BatchClient) -> tuple[str, str, list[BatchResult]]:
    """Submit the requests, and return the batch's id, its state and its results."""
    batch_id = await client.submit("tale-1", REQUESTS)
    state = (await client.status(batch_id)).state
    return batch_id, state, [result async for result in client.results(batch_id)]
