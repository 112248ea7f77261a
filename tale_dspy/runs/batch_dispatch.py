"""One round of batches: planned, submitted in parts, polled and collected.

The parts are of a size that the provider takes, and are written down before they are submitted.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from tale_dspy.backends.batch.choosing import batch_client, batch_group
from tale_dspy.backends.batch.client import BatchClient, BatchRequest, BatchResult, NotFoundError, OverTokenLimitError
from tale_dspy.backends.batch.interception import HTTPCall, HTTPReply
from tale_dspy.errors import BackendError, BatchWaiting
from tale_dspy.runs.batch_log import BATCHES_FILE, BatchLog, PlannedBatch

logger = logging.getLogger(__name__)

FIRST_POLL_S, LONGEST_POLL_S = 0.2, 30.0
"""Seconds between two looks at the batches in flight, at first and after a while; each wait is half as long again."""
_ENVELOPE_BYTES = 200
"""Bytes of a request's line beside its body, at most."""
_EXPIRED = HTTPReply(599, b'{"error": {"type": "server_error", "message": "the batch brought no result for it"}}')


class BatchedCall(Protocol):
    """What a batch must know of the LM call that one of its requests belongs to."""

    def reserve(self) -> float:
        """Hold the worst case of the call, and return it in US dollars.

        A call whose worst case is held already is not held twice.
        """
        ...

    def release(self) -> None:
        """Give the reservation back: nothing was billed."""
        ...

    def count_delay(self) -> None:
        """Note that a batch brought no answer: the call takes another round."""
        ...


@dataclass(eq=False)
class WaitingRequest:
    """A request that waits for its result."""

    key: str
    """Its hash, the same for each attempt."""
    sample: str
    repeat: int
    call: BatchedCall
    http: HTTPCall
    answer: "asyncio.Future[HTTPReply]"
    reserved_usd: float = 0.0
    place: tuple[PlannedBatch, str] | None = None
    """The batch and the custom id that brought the answer."""
    delays_counted: int = 0
    """How many rounds without an answer its question knows of."""
    in_flight: bool = False
    """Whether it is in the round that is going on."""

    @property
    def size(self) -> int:
        """Bytes it takes in a batch."""
        return len(self.http.body) + _ENVELOPE_BYTES


@dataclass(eq=False)
class _InFlight:
    batch: PlannedBatch
    client: BatchClient
    requests: dict[str, WaitingRequest]
    """By custom id."""


@dataclass
class BatchDispatcher:
    """Sends the requests of a round, and hands each result on.

    Args:
        log: Where batches are written down before they are submitted.
        deadline: `time.monotonic()` at which waiting is given up.
        deliver: Takes a request with its result.
        unclaimed: Gets the results of requests that nobody waits for, by custom id.
    """

    log: BatchLog
    deadline: float
    deliver: Callable[[WaitingRequest, PlannedBatch, BatchResult], None]
    unclaimed: dict[str, BatchResult]
    _one_at_a_time: bool = field(default=False, init=False)
    """Whether the provider refused a batch for the tokens enqueued: the next waits until those before have ended."""

    async def send(self, requests: Sequence[WaitingRequest]) -> None:
        """Send requests as one round, and wait for the results.

        Raises:
            BackendError: If the provider refuses a batch.
            BatchWaiting: If the deadline passes before all have ended; all were submitted.
        """
        groups: dict[object, list[WaitingRequest]] = {}
        for request in requests:
            groups.setdefault(batch_group(request.http), []).append(request)
        clients = {id(group): batch_client(group[0].http) for group in groups.values()}
        number = self.log.rounds + 1
        parts = deque((clients[id(g)], part) for g in groups.values() for part in _parts(g, clients[id(g)]))
        logger.warning(
            "round %d: %s in %s%s",
            number,
            _number_of(len(requests), "request", "requests"),
            _number_of(len(parts), "batch", "batches"),
            _worst_case(requests),
        )
        try:
            await self._work_off(parts, [], number)
        finally:
            for client in clients.values():
                await client.close()

    async def recover(self, batch: PlannedBatch, requests: dict[str, WaitingRequest]) -> list[WaitingRequest]:
        """Collect a batch of an earlier process.

        Returns:
            The requests, if the batch was never submitted; none if it was collected.
        """
        client = batch_client(next(iter(requests.values())).http)
        try:
            if batch.batch_id is None:
                others = {b.batch_id for b in self.log.open.values() if b.batch_id is not None}
                ids = {request.custom_id for request in batch.requests}
                batch_id = await client.find(batch.name, ids, batch.planned_at, others)
                if not batch_id:
                    self.log.end(batch, "lost")
                    return list(requests.values())
                self.log.submitted(batch, batch_id)
            await self._work_off(deque(), [_InFlight(batch, client, requests)], batch.round)
        finally:
            await client.close()
        return []

    async def _work_off(
        self, parts: "deque[tuple[BatchClient, list[WaitingRequest]]]", flying: list[_InFlight], number: int
    ) -> None:
        pause = FIRST_POLL_S
        while parts or flying:
            while parts and not (self._one_at_a_time and flying):
                client, part = parts.popleft()
                batch = await self._submitted(client, part, number)
                if batch is None:
                    self._put_back(parts, client, part, alone=not flying)
                else:
                    flying.append(batch)
            for one in list(flying):
                with _known(one.batch):
                    status = await one.client.status(str(one.batch.batch_id))
                if status.state == "running":
                    continue
                flying.remove(one)
                if status.state == "ended":
                    await self._collect(one)
                    continue
                self.log.end(one.batch, "refused")
                if status.state == "failed":
                    raise BackendError(f"the provider refuses batch {one.batch.batch_id}: {status.detail}")
                self._put_back(parts, one.client, list(one.requests.values()), alone=not flying)
            if flying:
                if time.monotonic() >= self.deadline:
                    raise BatchWaiting(waiting_sentence(len(flying)))
                await asyncio.sleep(min(pause, max(0.0, self.deadline - time.monotonic())))
                pause = min(1.5 * pause, LONGEST_POLL_S)

    async def _submitted(self, client: BatchClient, part: list[WaitingRequest], number: int) -> _InFlight | None:
        """Write a batch down and submit it; None if too many tokens are enqueued."""
        reserved = sum(request.reserved_usd for request in part)
        batch = self.log.plan([(r.key, r.sample, r.repeat) for r in part], number, reserved)
        ids = [request.custom_id for request in batch.requests]
        bodies = [BatchRequest(i, request.http.body) for i, request in zip(ids, part, strict=True)]
        try:
            batch_id = await client.submit(batch.name, bodies)
        except OverTokenLimitError:
            self.log.end(batch, "refused")
            return None
        self.log.submitted(batch, batch_id)
        return _InFlight(batch, client, dict(zip(ids, part, strict=True)))

    def _put_back(
        self,
        parts: "deque[tuple[BatchClient, list[WaitingRequest]]]",
        client: BatchClient,
        part: list[WaitingRequest],
        *,
        alone: bool,
    ) -> None:
        """Queue requests again that were refused for their tokens.

        They are halved if no other batch can be the reason.
        """
        self._one_at_a_time = True
        if not alone:
            parts.appendleft((client, part))
            return
        if len(part) == 1:
            raise BackendError("the provider's limit on enqueued tokens takes not even one request: continue later")
        half = len(part) // 2
        parts.extendleft([(client, part[half:]), (client, part[:half])])

    async def _collect(self, one: _InFlight) -> None:
        """Hand on the results of a batch.

        Each request gets one result; a good one is preferred to an error.
        """
        results: dict[str, BatchResult] = {}
        with _known(one.batch):
            async for result in one.client.results(str(one.batch.batch_id)):
                before = results.get(result.custom_id)
                if before is None or (before.reply.status != 200 and result.reply.status == 200):
                    results[result.custom_id] = result
        for request in one.batch.requests:
            finished = results.get(request.custom_id) or BatchResult(request.custom_id, _EXPIRED, True)
            waiting = one.requests.get(request.custom_id)
            if waiting is None:
                self.unclaimed[request.custom_id] = finished
            else:
                self.deliver(waiting, one.batch, finished)


@contextmanager
def _known(batch: PlannedBatch) -> Iterator[None]:
    """Say what can be done about a batch that the provider knows no more.

    Its requests are not sent again unasked: with another key they may be paid for already.
    """
    try:
        yield
    except NotFoundError as e:
        raise BackendError(
            f"the provider does not know batch {batch.batch_id} or its results, which it took before: it is of another "
            "key, project or address, or was deleted (after some 30 days); to ask its requests again, and pay for them "
            f"again, delete the lines of {batch.name} from {BATCHES_FILE}"
        ) from e


def waiting_sentence(batches: int) -> str:
    """Say that a run is left while batches are being worked on."""
    count = _number_of(batches, "batch is", "batches are")
    return f"{count} with the provider: the same command collects the answers and continues"


def _number_of(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"


def _parts(requests: Sequence[WaitingRequest], client: BatchClient) -> Iterator[list[WaitingRequest]]:
    """Cut requests into parts within the limits of one batch."""
    part: list[WaitingRequest] = []
    size = 0
    for request in requests:
        if part and (len(part) == client.limits.requests or size + request.size > client.limits.bytes):
            yield part
            part, size = [], 0
        part.append(request)
        size += request.size
    yield part


def _worst_case(requests: Sequence[WaitingRequest]) -> str:
    usd = sum(request.reserved_usd for request in requests)
    return f", at most ${usd:.4f}" if usd else ""
