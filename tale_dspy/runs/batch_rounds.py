"""The calls of a run, sent through a batch API in rounds.

They are gathered until none of its questions can go on.

Each LM call of the run waits here in the place of the wire (`backends.batch.interception`). Once every question that is
worked on waits for at least one call, all of them go into a round: written down in `batches.jsonl`, submitted, polled,
collected. The results wake the questions, whose next calls make the next round. A request that expired or failed in
passing goes into the next round, a bounded number of times; before that is sent its question may ask more in it
(`AskedQuestions.wait_for_calls`), so as not to be a round behind the others.
"""

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import NoReturn

from tale_dspy.backends.batch.client import BatchResult
from tale_dspy.backends.batch.interception import HTTPCall, HTTPReply
from tale_dspy.errors import BackendError, BatchWaiting, SpendCapReached
from tale_dspy.runs.batch_dispatch import BatchDispatcher, BatchedCall, WaitingRequest, waiting_sentence
from tale_dspy.runs.batch_log import BatchLog, PlannedBatch, forget_answered, request_key
from tale_dspy.runs.batch_questions import AskedQuestions, Asker
from tale_dspy.runs.folder import JournalFolder, JournalKey
from tale_dspy.runs.stopped import RunStopped

QUIET_S = 0.1
"""Seconds without a new call after which all that can be gathered is gathered."""
QUESTIONS_AT_ONCE = 10_000
"""Questions whose calls are gathered together; each waiting one takes some 50 kB."""


@dataclass
class CallSender:
    """Send the requests of one LM call through the rounds of its run.

    It is a `RequestSender`.
    """

    rounds: "BatchRounds"
    journal_key: JournalKey
    call: BatchedCall
    sent: int = 0
    """Requests so far: several choices may be one request each."""
    _answered: list[tuple[PlannedBatch, str]] = field(default_factory=list)

    async def __call__(self, http: HTTPCall) -> HTTPReply:
        """Wait for the result of a request."""
        key, self.sent = request_key(self.journal_key, self.sent), self.sent + 1
        sample, repeat = self.journal_key[0], self.journal_key[1]
        answer: asyncio.Future[HTTPReply] = asyncio.get_running_loop().create_future()
        request = WaitingRequest(key, sample, repeat, self.call, http, answer)
        reply = await self.rounds.wait_for(request)
        if request.place is not None:
            self._answered.append(request.place)
        return reply

    def settled(self) -> None:
        """Note that the answers are in the journal, or led to a reported error."""
        for batch, custom_id in self._answered:
            self.rounds.log.settled(batch, custom_id)
        self._answered.clear()


class BatchRounds:
    """The rounds of one run. Everything but `stop` belongs to one event loop.

    Args:
        folder: The run's; holds `batches.jsonl`.
        stop: Set when the run has ended.
        end: Ends the run at a fault of the whole batch API.
        wait_s: Seconds to wait for the provider, over all rounds of this process.
        attempts: How often a request is sent at most, by all processes.

    Attributes:
        questions: Those that are worked on.
        log: The batches.
    """

    def __init__(
        self,
        folder: JournalFolder,
        stop: threading.Event,
        end: Callable[[BackendError], NoReturn],
        wait_s: float,
        attempts: int,
    ) -> None:
        self._stop, self._end, self._attempts = stop, end, attempts
        self.questions = AskedQuestions()
        self.log = BatchLog(folder)
        forget_answered(self.log, folder)
        self._waiting: list[WaitingRequest] = []
        self._sent: list[WaitingRequest] = []
        """The requests of the round that is going on."""
        self._asked_by: dict[WaitingRequest, Asker] = {}
        self._failure: BaseException | None = None
        self._earlier = {r.key: (b, r.custom_id) for b in self.log.open.values() for r in b.requests}
        """Where the answer to a request is, that an earlier process had sent last."""
        self._unclaimed: dict[str, BatchResult] = {}
        """Results of earlier processes' requests that no question has asked for yet, by custom id."""
        self._dispatcher = BatchDispatcher(self.log, time.monotonic() + wait_s, self._deliver, self._unclaimed)
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> "BatchRounds":
        self._tasks = [asyncio.create_task(self._run_rounds()), asyncio.create_task(self._watch_stop())]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with suppress(asyncio.CancelledError):
                await task

    def waiting_message(self) -> str:
        """Say what the provider still works on."""
        return waiting_sentence(len(self.log.open))

    async def wait_for(self, request: WaitingRequest) -> HTTPReply:
        """Put a request into the next round, and wait for its result."""
        if self._failure is not None:
            raise self._failure
        with self.questions.waiting() as asker:
            self._waiting.append(request)
            self._asked_by[request] = asker
            try:
                return await request.answer
            except asyncio.CancelledError:
                if request in self._waiting:
                    self._waiting.remove(request)
                raise
            finally:
                self._landed(request)
                del self._asked_by[request]

    def delays(self, journal_key: JournalKey) -> int:
        """Return how many rounds an answered call has taken beyond one."""
        return max(0, self.log.attempts[request_key(journal_key, 0)] - 1)

    async def _run_rounds(self) -> None:
        try:
            while True:
                await self._until_blocked()
                if not self._delays_heard():
                    await self._round()
        except BatchWaiting as waiting:
            self._fail(waiting)
        except Exception as e:  # the boundary to the provider's batch API: whatever it is, it ends the run
            fault = e if isinstance(e, BackendError) else BackendError(f"the batch API failed: {type(e).__name__}: {e}")
            with suppress(RunStopped):
                self._end(fault)
            self._fail(RunStopped())

    async def _watch_stop(self) -> None:
        while not self._stop.is_set():
            await asyncio.sleep(QUIET_S)
        self._tasks[0].cancel()
        self._fail(RunStopped())

    def _fail(self, failure: BaseException) -> None:
        """End all calls that wait, and those to come."""
        self._failure = self._failure or failure
        for request in self._all_waiting():
            if not request.answer.done():
                request.answer.set_exception(self._failure)

    def _all_waiting(self) -> list[WaitingRequest]:
        return [*self._waiting, *self._sent]

    async def _until_blocked(self) -> None:
        """Wait until every question waits for a call.

        A short time without a further call must have passed as well.
        """
        while True:
            self.questions.changed = False
            await asyncio.sleep(QUIET_S)
            if self._waiting and not self.questions.changed and self.questions.all_blocked:
                return

    def _delays_heard(self) -> bool:
        """Tell questions which of their requests were sent before and failed.

        It returns whether a question has waited for that.
        """
        heard = False
        for request in self._waiting:
            # What an earlier process has sent last is not known to have failed.
            in_vain = self.log.attempts[request.key] - (request.key in self._earlier)
            if in_vain <= request.delays_counted:
                continue
            while request.delays_counted < in_vain:
                request.delays_counted += 1
                request.call.count_delay()
            heard = self._asked_by[request].hear_delay() or heard
        return heard

    async def _round(self) -> None:
        """Collect what an earlier process has sent, or else send all that waits."""
        self._sent, self._waiting = self._waiting, []
        for request in self._sent:
            request.in_flight = True
            self._asked_by[request].in_flight += 1
        fresh: list[WaitingRequest] = []
        earlier: dict[str, tuple[PlannedBatch, dict[str, WaitingRequest]]] = {}
        for request in self._sent:
            batch, custom_id = self._earlier.pop(request.key, (None, ""))
            if batch is None:
                fresh.append(request)
            elif custom_id in self._unclaimed:
                self._deliver(request, batch, self._unclaimed.pop(custom_id))
            else:
                self._hold(request)
                earlier.setdefault(batch.name, (batch, {}))[1][custom_id] = request
        if earlier or len(fresh) < len(self._sent):
            for request in fresh:
                self._put_back(request)
            for batch, requests in earlier.values():
                for request in await self._dispatcher.recover(batch, requests):
                    self._put_back(request)
        elif affordable := self._affordable(fresh):
            # In whatever order tasks came to wait, the same round makes the same batch.
            await self._dispatcher.send(sorted(affordable, key=lambda request: request.key))
        self._sent = []

    def _hold(self, request: WaitingRequest) -> None:
        """Reserve what an earlier process has sent.

        It is paid for, whatever the cap of this process.
        """
        with suppress(SpendCapReached):
            request.reserved_usd = request.call.reserve()

    def _affordable(self, requests: list[WaitingRequest]) -> list[WaitingRequest]:
        """Return those whose worst cases fit under the caps.

        The others wait until these are settled. Where none fits the cap is reached, and the first call ends the run
        with it.
        """
        affordable: list[WaitingRequest] = []
        reached: SpendCapReached | None = None
        for request in requests:
            try:
                request.reserved_usd = request.call.reserve()
                affordable.append(request)
            except SpendCapReached as e:
                if reached is None:
                    reached = e
                self._put_back(request)
        if reached is not None and not affordable:
            self._waiting.pop(0).answer.set_exception(reached)
        return affordable

    def _deliver(self, request: WaitingRequest, batch: PlannedBatch, result: BatchResult) -> None:
        """Give a request its result, or put it into the next round."""
        if result.send_again and self.log.attempts[request.key] < self._attempts:
            request.call.release()
            self.log.settled(batch, result.custom_id)
            self._put_back(request)
        elif not request.answer.done():
            request.place = (batch, result.custom_id)
            request.answer.set_result(result.reply)

    def _put_back(self, request: WaitingRequest) -> None:
        """Let a request wait for the next round, if it is still waited for."""
        if request in self._asked_by:
            self._landed(request)
            self._waiting.append(request)

    def _landed(self, request: WaitingRequest) -> None:
        self._asked_by[request].in_flight -= request.in_flight
        request.in_flight = False
