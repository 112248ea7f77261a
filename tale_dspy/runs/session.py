"""One LM call inside a run.

It is replayed if it was paid before, else reserved, sent, retried, journalled and booked.

The engine copies the program and puts in the place of each LM a shallow copy of a class of its own (`run_lm`), which
hands every call to the run's `Session`. Nothing of the user's is touched.
"""

import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, NoReturn

import dspy

from tale_dspy.accounting.calls import Call, CallListener, call_from_entry, current_role
from tale_dspy.accounting.ledger import Ledger
from tale_dspy.accounting.reservation import RESERVED_TOKENS
from tale_dspy.accounting.tracking import possibly_billed
from tale_dspy.backends import attempts
from tale_dspy.backends.attempts import AttemptObserver, LMRequest
from tale_dspy.backends.batch.interception import use_request_sender
from tale_dspy.backends.caching import is_cached, request_hash
from tale_dspy.backends.output_limit import max_output_tokens
from tale_dspy.backends.prices import BATCH_PRICE_SHARE
from tale_dspy.backends.redaction import redact
from tale_dspy.backends.retry import classify_error
from tale_dspy.errors import BackendError
from tale_dspy.protocols import JsonObject, LanguageModel
from tale_dspy.runs.batch_rounds import BatchRounds, CallSender
from tale_dspy.runs.folder import JournalFolder, JournalKey
from tale_dspy.runs.question_sample import QuestionSample
from tale_dspy.runs.stopped import RunStopped

recorded_entries: ContextVar[list[JsonObject] | None] = ContextVar("tale_dspy_entries", default=None)
"""Where DSPy's history entries of the call in progress go; None outside of one."""


MAX_REFUSALS = 8
"""Calls that may be refused (403, 404) before anything was answered, until the run is given up."""
_USAGE = ("prompt_tokens", "output_tokens", "reasoning_tokens", "cached_prompt_tokens")


@dataclass
class _PendingCall(AttemptObserver):
    """A call on its way: what it is known by, and how it is sent."""

    session: "Session"
    lm: LanguageModel
    prompt: object
    messages: object
    kwargs: JsonObject
    config: JsonObject
    sample: QuestionSample
    key: str
    occurrence: int
    attempt: int = 0
    reservation: int | None = None
    started: float = 0.0
    may_wait: bool = True
    """Whether a reservation may wait for other calls: not in an event loop."""
    entries: list[JsonObject] = field(default_factory=list)
    """What DSPy records of the attempt."""

    @property
    def journal_key(self) -> JournalKey:
        """What the journal knows the call by."""
        return self.sample.id, self.sample.repeat, self.key, self.occurrence

    def reserve(self) -> float:
        """Hold the most a call costs in a batch, and return it in US dollars.

        A call that is held already is not held twice.
        """
        return self.session.reserve_for_batch(self)

    def release(self) -> None:
        """Give the reservation back: nothing was billed."""
        self.session.release(self, possibly_billed=False)

    def count_delay(self) -> None:
        """Note that a batch brought no answer: the call takes another round."""
        self.sample.delays += 1

    def before_attempt(self) -> None:
        self.session.start_attempt(self)

    def after_failure(self, error: Exception) -> None:
        self.session.book_failure(self, error)


class Session:
    """What all calls of a run share: the journal, the ledger and the stop event.

    Args:
        folder: Where answers are journalled; None for a run that is not written.
        ledger: Books every call and holds the caps.
        retries: Further attempts of a call that failed in passing.
        stop: Set when the run has ended; a waiting call then gives up.

    Attributes:
        answered: Set once any call was answered, by the provider, the cache or the journal.
        fatal: A fault of the whole run, such as a wrong key, that ended it.
        batches: The rounds of a run that goes through a batch API; None for one that does not.
    """

    def __init__(self, folder: JournalFolder | None, ledger: Ledger, retries: int, stop: threading.Event) -> None:
        self.folder = folder
        self.ledger = ledger
        self.retries = retries
        self.stop = stop
        self.answered = threading.Event()
        self.fatal: BackendError | None = None
        self.batches: BatchRounds | None = None
        self._journal: Mapping[JournalKey, dict[str, Any]] = {}
        self._refusals = 0
        self._lock = threading.Lock()
        self._settings: dict[str, str] = {}

    def load_journal(self) -> None:
        """Read what was answered before for questions that are not finished."""
        if self.folder is not None:
            self._journal = self.folder.journal

    def call(self, lm: Any, send: Callable[..., Any], request: tuple[Any, Any], kwargs: JsonObject) -> Any:
        """Answer one synchronous call of an LM."""
        if self.batches is not None:
            self.end(
                BackendError(f"{lm.model} was called without await, and so cannot wait for a batch: leave --batch")
            )
        pending = self._prepare_call(lm, request, kwargs)
        if (row := self._replay_call(pending)) is not None:
            return row
        with self._record_calls(pending):
            lm_request = LMRequest(*request, pending.kwargs)
            outputs = attempts.call(lm, send, lm_request, retries=self.retries, observer=pending, sleep=self.stop.wait)
        return self._on_answer(pending, outputs)

    async def acall(
        self, lm: Any, send: Callable[..., Awaitable[Any]], request: tuple[Any, Any], kwargs: JsonObject
    ) -> Any:
        """Answer one asynchronous call of an LM."""
        pending = self._prepare_call(lm, request, kwargs)
        if (row := self._replay_call(pending)) is not None:
            return row
        pending.may_wait = False
        lm_request = LMRequest(*request, pending.kwargs)
        if self.batches is not None:
            return await self._answer_by_batch(
                CallSender(self.batches, pending.journal_key, pending), pending, send, lm_request
            )
        with self._record_calls(pending):
            outputs = await attempts.acall(lm, send, lm_request, retries=self.retries, observer=pending)
        return self._on_answer(pending, outputs)

    async def _answer_by_batch(
        self, sender: CallSender, pending: _PendingCall, send: Callable[..., Awaitable[Any]], request: LMRequest
    ) -> Any:
        """Answer a call through a round of batches.

        It is sent again after a passing failure.
        """
        try:
            with self._record_calls(pending), use_request_sender(sender):
                outputs = await attempts.acall(pending.lm, send, request, retries=0, observer=pending)
        except Exception:
            sender.settled()
            raise
        answer = self._on_answer(pending, outputs, batch=sender.sent > 0)
        sender.settled()
        return answer

    @contextmanager
    def _record_calls(self, pending: _PendingCall) -> Iterator[None]:
        """Catch what DSPy records of a call.

        The run ends here if the error would meet every other call, too.
        """
        token = recorded_entries.set(pending.entries)
        try:
            yield
        except Exception as error:
            self._end_if_fatal(pending, error)
            raise
        except BaseException:
            self.release(pending, possibly_billed=True)
            raise
        finally:
            recorded_entries.reset(token)

    def _prepare_call(self, lm: LanguageModel, request: tuple[Any, Any], kwargs: JsonObject) -> _PendingCall:
        sample: QuestionSample = dspy.settings.get("tale_sample") or QuestionSample("-", 0)
        config = {**lm.kwargs, **kwargs}
        key = self._request_key(lm.model, request[1] or request[0], config)
        call_settings = dict(kwargs)
        if sample.repeat:  # a cached reply of another draw is no repeat
            rollout = config.get("rollout_id")
            call_settings["rollout_id"] = f"{'' if rollout is None else rollout}#{sample.repeat}"
        if self.ledger.capped and max_output_tokens(config) is None:
            name = "max_completion_tokens" if "max_completion_tokens" in lm.kwargs else "max_tokens"
            call_settings[name] = RESERVED_TOKENS
        return _PendingCall(
            self, lm, *request, call_settings, {**config, **call_settings}, sample, key, sample.occurrence(key)
        )

    def _request_key(self, model: str, request: Any, config: JsonObject) -> str:
        """Hash a request.

        The settings, which are the same for most calls of a run, are hashed once.
        """
        settings = f"{model}{config!r}"
        if settings not in self._settings:
            self._settings[settings] = request_hash(model, None, config)
        return request_hash(self._settings[settings], request, {})

    def _replay_call(self, p: _PendingCall) -> list[Any] | None:
        row = self._journal.get(p.journal_key)
        if row is None:
            return None
        fields = {**row, **row["usage"], "text": row["reply"], "cost_usd": row["cost"]}
        call = Call.from_json({**fields, "role": current_role(), "replayed": True, "latency_s": None})
        self.answered.set()
        if self.batches is not None:
            p.sample.delays += self.batches.delays(p.journal_key)
        self.ledger.book(call)
        self.publish(call)
        return list(row.get("outputs", [row["reply"]]))

    def start_attempt(self, p: _PendingCall) -> None:
        """Reserve the worst case of an attempt that is about to be sent."""
        if self.stop.is_set():
            raise RunStopped
        p.attempt += 1
        p.entries = []  # a new list: an earlier attempt that was given up may still be recorded
        recorded_entries.set(p.entries)
        if self.ledger.capped and self.batches is None:

            def cached() -> bool:
                return is_cached(p.lm, p.prompt, p.messages, p.kwargs, asynchronous=not p.may_wait)

            p.reservation = self.ledger.reserve(p.lm, p.messages or p.prompt, p.config, wait=p.may_wait, cached=cached)
        p.started = time.perf_counter()

    def reserve_for_batch(self, p: _PendingCall) -> float:
        """Reserve the worst case of a call in a batch; return it in US dollars."""
        if self.ledger.capped and p.reservation is None:
            request = p.messages or p.prompt
            share = BATCH_PRICE_SHARE
            p.reservation = self.ledger.reserve(p.lm, request, p.config, wait=False, price_share=share)
        return 0.0 if p.reservation is None else self.ledger.reserved_usd(p.reservation)

    def book_failure(self, p: _PendingCall, error: Exception) -> None:
        """Give the reservation of a failed attempt back, and journal it."""
        billed = possibly_billed(error)
        self.release(p, possibly_billed=billed)
        row = {
            "error": type(error).__name__,
            "message": redact(str(error))[:500],
            "paid": None if billed else False,
        }
        self._write_call(p, row)

    def _end_if_fatal(self, p: _PendingCall, error: Exception) -> None:
        """End the run at an error that every other question would meet, too.

        A refusal (403, 404) may be of this question alone; it ends the run if it meets `MAX_REFUSALS` calls before
        anything was answered.
        """
        refused = isinstance(error, dspy.LMError) and error.status in (403, 404)
        with self._lock:
            self._refusals += refused
        if classify_error(error) == "run" or (
            refused and self._refusals >= MAX_REFUSALS and not self.answered.is_set()
        ):
            self.end(BackendError(f"{p.lm.model} refuses the request: {sentence(error)}"))

    def end(self, error: BackendError) -> NoReturn:
        """End the run for all questions.

        The exception passes the user's program, which may catch any `Exception`.
        """
        self.fatal = self.fatal or error
        self.stop.set()
        raise RunStopped from error

    def release(self, p: _PendingCall, *, possibly_billed: bool) -> None:
        """Give the reservation of a call back; one that may be billed stays spent."""
        if p.reservation is not None:
            self.ledger.release(p.reservation, possibly_billed=possibly_billed)
            p.reservation = None

    def _on_answer(self, p: _PendingCall, outputs: Any, *, batch: bool = False) -> Any:
        seconds = time.perf_counter() - p.started
        if p.entries:
            call = self.ledger.priced(call_from_entry(p.entries[-1], latency_s=seconds))
        else:  # an LM class that records no history
            text = outputs[0] if outputs and isinstance(outputs[0], str) else None
            call = Call(role=current_role(), model=p.lm.model, text=text, usage_source="unknown", latency_s=seconds)
        if batch and not call.cached:
            call = self.ledger.priced(call.through_batch())
        try:
            self._write_call(p, {"error": None}, call, outputs)
        finally:
            if p.reservation is not None:
                self.ledger.settle(p.reservation, call)
            else:
                self.ledger.book(call)
        if not self.answered.is_set():
            self.answered.set()
        self.publish(call)
        return outputs

    def _write_call(self, p: _PendingCall, row: JsonObject, call: Call | None = None, outputs: Any = None) -> None:
        """Journal one attempt, before its answer is used."""
        if self.folder is None:
            return
        sample = p.sample
        line = {"id": sample.id, "repeat": sample.repeat, "key": p.key, "step": p.occurrence}
        line |= {"attempt": p.attempt, **row}
        if call is not None:
            fields = call.to_json()
            line |= {"paid": not call.cached, "reply": fields.pop("text"), "cost": fields.pop("cost_usd")}
            line["usage"] = {name: fields.pop(name) for name in _USAGE}
            line |= fields
            if outputs != [call.text]:
                line["outputs"] = outputs
        try:
            self.folder.append("calls.jsonl", line)
        except BackendError as e:
            self.end(e)

    def publish(self, call: Call) -> None:
        """Book a call on its question, and hand it to every listener.

        DSPy's history, which is off inside a run, would do the same.
        """
        sample: QuestionSample | None = dspy.settings.get("tale_sample")
        if sample is not None:
            sample.calls.append(call)
        for module in dspy.settings.caller_modules or []:
            if isinstance(module, CallListener):
                module.add(call)


def sentence(error: Exception) -> str:
    """Return the first line of an error without the model, which callers name."""
    lines = redact(str(error)).strip().splitlines() or [type(error).__name__]
    return lines[0].rpartition("] ")[2][:300]
