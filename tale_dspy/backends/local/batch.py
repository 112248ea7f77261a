"""Rows that come and go while others are written: continuous batching of one model."""

from collections import deque
from typing import TYPE_CHECKING

from tale_dspy.backends.local.columns import Columns, Window
from tale_dspy.backends.local.decoders import Decoder
from tale_dspy.backends.local.requests import Job, Tongue
from tale_dspy.backends.local.sampling import choose
from tale_dspy.dspy_bridge import ProviderError

if TYPE_CHECKING:
    import torch


TOGETHER = 4
"""While many write, those that wait are let in when there are this many, or after as many steps: a prompt read alone
takes as long as a step of all (benchmarks/local.py: 5 to 10 % more tokens a second)."""


class Batch:
    """The rows of one model.

    A row that ends leaves at once; those that wait enter between two steps, their prompts read together. Only the
    worker's thread may touch it.

    Args:
        decoder: Runs the model.
        tongue: Its tokenizer.
        device: Where it is.
        width: Most rows at once.
    """

    def __init__(self, decoder: Decoder, tongue: Tongue, device: "torch.device", width: int) -> None:
        self._decoder = decoder
        self._tongue = tongue
        self._device = device
        self._width = width
        self._columns = Columns(device)
        self._waiting: deque[Job] = deque()
        self._rows: list[Job] = []
        """The jobs being written; the number of a job is that of its row in the table."""
        self._held = 0
        """Steps since somebody has waited."""

    def add(self, job: Job) -> None:
        """Let a job wait for its turn."""
        self._waiting.append(job)

    @property
    def busy(self) -> bool:
        """Whether there is anything to do."""
        return bool(self._rows or self._waiting)

    def step(self) -> None:
        """Write one token of every row, after those that wait have entered. Every error reaches all callers."""
        try:
            self._drop_cancelled()
            self._enter()
            if self._rows:
                if order := self._columns.sort():
                    self._rows = [self._rows[number] for number in order]
                window = self._columns.step()
                self._write([[job.written[-1]] for job in self._rows], window, self._rows)
        except Exception as e:  # the boundary of the model: whatever it is, those who wait must hear of it
            self._fail(e)

    def _drop_cancelled(self) -> None:
        for number in reversed([i for i, job in enumerate(self._rows) if job.future.cancelled()]):
            self._leave(number)

    def _enter(self) -> None:
        few = len(self._rows) <= 2 * TOGETHER
        if self._waiting and not few and len(self._waiting) < TOGETHER and self._held < TOGETHER:
            self._held += 1
            return
        self._held = 0
        group: list[Job] = []
        while self._waiting and len(self._rows) + len(group) < self._width:
            job = self._waiting.popleft()
            if not job.future.cancelled():
                group.append(job)
        if not group:
            return
        self._rows += group  # before anything can fail, so that they hear of it
        window = self._columns.enter([len(job.ids) for job in group])
        width = window.end - window.begin
        self._write([[0] * (width - len(job.ids)) + job.ids for job in group], window, group)

    def _write(self, ids: list[list[int]], window: Window, jobs: list[Job]) -> None:
        """Choose the next token of these jobs, and let those that end with it go."""
        import torch

        logits = self._decoder(torch.tensor(ids, device=self._device), window, self._columns)
        tokens = choose(logits, [(job.sampling, job.rng) for job in jobs])
        ended: list[tuple[int, Job, str | None]] = []
        for number, (job, token) in enumerate(zip(jobs, tokens, strict=True), window.rows.start):
            finish = None if token is None else self._tongue.push(job, token)
            if finish is not None or token is None:
                ended.append((number, job, finish))
        for number, job, finish in reversed(ended):
            # May fail: while the job is a row, it would hear of it.
            reply = self._tongue.reply(job, finish) if finish else _failed(ArithmeticError("its output is not finite"))
            self._leave(number)
            if finish is None:
                self._columns.wipe()
            _settle(job, reply)

    def _leave(self, number: int) -> None:
        self._columns.leave(number)
        last = self._rows.pop()
        if number < len(self._rows):
            self._rows[number] = last

    def _fail(self, error: Exception) -> None:
        """Tell all rows, and start over with an empty table; those that wait have done no harm."""
        jobs, self._rows = self._rows, []
        self._columns = Columns(self._device)
        for job in jobs:
            _settle(job, _failed(error))

    def abandon(self, error: Exception) -> None:
        """Tell all, those that wait too, and empty the table."""
        self._rows += self._waiting
        self._waiting.clear()
        self._fail(error)


def _failed(error: Exception) -> ProviderError:
    """What a caller is told; not to be tried again."""
    reason = str(error).strip().partition("\n")[0] or type(error).__name__
    told = ProviderError(f"the local model failed: {reason}", status=400)
    told.__cause__ = error
    return told


def _settle(job: Job, result: object) -> None:
    """Give a caller the result, unless he has gone."""
    if not job.future.set_running_or_notify_cancel():
        return
    if isinstance(result, Exception):
        job.future.set_exception(result)
    else:
        job.future.set_result(result)  # type: ignore[arg-type]
