"""`batches.jsonl`: the batches a run planned, submitted and collected.

A run that was killed reads it and pays for nothing twice.

A line is written before anything is submitted (`planned`: name, requests, reserved dollars), when the provider has
named the batch (`submitted`), and when it has no answer left that the journal lacks (`collected`), was never submitted
(`lost`) or not taken (`refused`).
"""

import hashlib
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tale_dspy.errors import RunFolderError
from tale_dspy.protocols import JsonObject
from tale_dspy.runs.folder import JournalFolder, JournalKey

BATCHES_FILE = "batches.jsonl"
_ENDS = ("collected", "lost", "refused")

BatchEvent = Literal["planned", "submitted", "collected", "lost", "refused"]


@dataclass(frozen=True)
class PlannedRequest:
    """One request of a batch, as `batches.jsonl` knows it."""

    custom_id: str
    """`KEY-ATTEMPT`; at most 64 letters, digits and hyphens."""
    sample: str
    """Question, or draw of a search, that asks."""
    repeat: int

    @property
    def key(self) -> str:
        """The request, whichever attempt."""
        return self.custom_id.rpartition("-")[0]


@dataclass
class PlannedBatch:
    """A batch that is not collected yet."""

    name: str
    round: int
    planned_at: float
    """Seconds since the epoch."""
    requests: list[PlannedRequest]
    reserved_usd: float
    batch_id: str | None = None
    """The provider's; None until it is known."""
    unsettled: set[str] = field(default_factory=set)
    """Custom ids whose answer is not in the journal yet."""


def _read_plan(row: JsonObject) -> PlannedBatch:
    """Read a `planned` line.

    Raises:
        KeyError: If it lacks something.
        TypeError: If something in it is of another type.
        ValueError: If a request is no list of three.
    """
    requests = []
    for request in row["requests"]:
        custom_id, sample, repeat = request
        if not isinstance(request, list) or not isinstance(custom_id, str) or not isinstance(sample, str):
            raise TypeError(request)
        if type(repeat) is not int:
            raise TypeError(request)
        requests.append(PlannedRequest(custom_id, sample, repeat))
    number, planned_at, reserved_usd = row["round"], row["time"], row["reserved_usd"]
    if not isinstance(row["batch"], str) or type(number) is not int or number < 1:
        raise TypeError(row["batch"])
    if not isinstance(planned_at, int | float) or not isinstance(reserved_usd, int | float) or reserved_usd < 0:
        raise TypeError(reserved_usd)
    return PlannedBatch(row["batch"], number, planned_at, requests, reserved_usd)


def request_key(journal_key: JournalKey, number: int) -> str:
    """Hash a call's key in the journal and how many requests it made before."""
    text = "\0".join(map(str, (*journal_key, number)))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:40]


class BatchLog:
    """The batches of a run, read from and written to its folder.

    Args:
        folder: The run's.

    Raises:
        RunFolderError: If the file holds what this version does not write.

    Attributes:
        open: Batches that may hold answers the journal lacks, in the order in which they were planned.
        attempts: How often each request was sent, or may have been.
    """

    def __init__(self, folder: JournalFolder) -> None:
        self._folder = folder
        self.open: dict[str, PlannedBatch] = {}
        self._batches_of_round: Counter[int] = Counter()
        self.attempts: Counter[str] = Counter()
        self._used: set[str] = set()
        self._planned: dict[str, PlannedBatch] = {}
        for row in folder.rows_of(BATCHES_FILE):
            self._take(row)

    def _take(self, row: dict[str, Any]) -> None:
        try:
            event, name = row["event"], row["batch"]
            if event == "planned":
                batch = _read_plan(row)
                if name not in self._planned:  # a line may be doubled, by whoever copied the file
                    self._plan(batch)
            elif name not in self._planned or event not in ("submitted", *_ENDS):
                raise ValueError(event)
            elif event == "submitted":
                self._take_id(self._planned[name], row["batch_id"])
            elif name in self.open:
                self._end(self.open[name], event)
        except (KeyError, TypeError, ValueError, AttributeError) as e:
            raise RunFolderError(f"{BATCHES_FILE} holds a line that no version writes: {row!r:.80}") from e

    def _take_id(self, batch: PlannedBatch, batch_id: object) -> None:
        if not isinstance(batch_id, str) or not batch_id:
            raise TypeError(batch_id)
        if batch.batch_id != batch_id and (batch.batch_id is not None or batch.name not in self.open):
            raise ValueError(batch_id)  # a second id, or one of a batch that has ended without any
        batch.batch_id = batch_id

    @property
    def rounds(self) -> int:
        """Rounds so far, by all processes.

        A round that was planned and never submitted does not count.
        """
        return max(+self._batches_of_round, default=0)

    def plan(self, samples: Sequence[tuple[str, str, int]], round_number: int, reserved_usd: float) -> PlannedBatch:
        """Write down a batch that is about to be submitted.

        Args:
            samples: Key, sample id and repeat of each request.
            round_number: The round it belongs to, from 1.
            reserved_usd: Its worst case in US dollars; 0.0 where money is not capped.
        """
        requests = [PlannedRequest(self._new_id(key), sample, repeat) for key, sample, repeat in samples]
        batch = PlannedBatch(f"tale-{uuid.uuid4().hex}", round_number, time.time(), requests, reserved_usd)
        row: dict[str, Any] = {"round": round_number, "time": batch.planned_at, "reserved_usd": reserved_usd}
        row["requests"] = [[r.custom_id, r.sample, r.repeat] for r in requests]
        self._write("planned", batch, **row)
        self._plan(batch)
        return batch

    def _new_id(self, key: str) -> str:
        number = self.attempts[key] + 1
        while f"{key}-{number}" in self._used:  # an attempt that was planned and never submitted
            number += 1
        return f"{key}-{number}"

    def _plan(self, batch: PlannedBatch) -> None:
        self.open[batch.name] = batch
        self._planned[batch.name] = batch
        self._batches_of_round[batch.round] += 1
        batch.unsettled = {request.custom_id for request in batch.requests}
        self._used |= batch.unsettled
        self.attempts.update(request.key for request in batch.requests)

    def submitted(self, batch: PlannedBatch, batch_id: str) -> None:
        """Write down the provider's id of a batch."""
        batch.batch_id = batch_id
        self._write("submitted", batch, batch_id=batch_id)

    def forget(self, is_settled: Callable[[PlannedRequest], bool]) -> None:
        """Leave out the requests of earlier processes that were answered.

        Their answers are in the journal.
        """
        for batch in list(self.open.values()):
            for request in batch.requests:
                if is_settled(request):
                    self.settled(batch, request.custom_id)

    def settled(self, batch: PlannedBatch, custom_id: str) -> None:
        """Note that a request's answer is in the journal, or no longer needed."""
        batch.unsettled.discard(custom_id)
        if not batch.unsettled and batch.name in self.open:
            self.end(batch, "collected")

    def end(self, batch: PlannedBatch, event: Literal["collected", "lost", "refused"]) -> None:
        """Write down that nothing is to be had from a batch any more."""
        self._write(event, batch)
        self._end(batch, event)

    def _end(self, batch: PlannedBatch, event: str) -> None:
        if event not in _ENDS:
            raise ValueError(event)
        del self.open[batch.name]
        if event == "lost":
            self._batches_of_round[batch.round] -= 1
        if event != "collected":
            self.attempts.subtract(request.key for request in batch.requests)

    def _write(self, event: BatchEvent, batch: PlannedBatch, **row: Any) -> None:
        self._folder.append(BATCHES_FILE, {"event": event, "batch": batch.name, **row}, to_disk=True)


def forget_answered(log: BatchLog, folder: JournalFolder) -> None:
    """Leave out requests of earlier processes that have been answered.

    Their answers are in the journal.
    """
    journalled = {request_key(key, 0) for key in folder.journal}
    log.forget(lambda r: folder.is_done(r.sample, r.repeat) or r.key in journalled)


def refuse_open_batches(folder: JournalFolder) -> None:
    """Refuse to go on without the batch API while batches are with the provider.

    Their requests would be asked, and paid for, a second time.

    Raises:
        RunFolderError: If there are any whose answers are not in the journal.
    """
    if not (folder.path / BATCHES_FILE).exists():
        return
    log = BatchLog(folder)
    forget_answered(log, folder)
    if log.open:
        requests = sum(len(batch.unsettled) for batch in log.open.values())
        raise RunFolderError(
            f"{folder.path} has batches with the provider, whose answers to {requests} requests are paid for: give "
            "--batch, too, which collects them, or another folder to ask everything again"
        )
