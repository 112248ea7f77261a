"""Continuous batching of one model: rows join and leave between two steps."""

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from tale_dspy.backends.local.decoders import RowDecoder
from tale_dspy.backends.local.kv_cache import CacheSlice, KVCache, SharedPrefix
from tale_dspy.backends.local.prefixes import PrefixStore
from tale_dspy.backends.local.prompt_tokenizer import GeneratedReply, GenerationJob, PromptTokenizer
from tale_dspy.backends.local.sampling import choose_tokens
from tale_dspy.dspy_bridge import ProviderError
from tale_dspy.errors import first_line

if TYPE_CHECKING:
    import torch


ENTER_TOGETHER = 4
"""While many write, those that wait enter when there are this many, or after as many steps: a prompt read alone takes
as long as a step of all (benchmarks/local.py: 5 to 10 % more tokens a second)."""
PREFILL_TOKENS = 1024
"""Tokens that are read in one forward, unless a single prompt has more: beyond, arithmetic is the limit anyway."""


class ContinuousBatch:
    """The rows of one model.

    A row that ends leaves at once; those that wait enter between two steps. Their prompts are read in groups of similar
    length, and what many of them begin with is read once. Only the worker's thread may touch a batch.

    Args:
        decoder: Runs the model.
        tokenizer: Of the model.
        device: Where it is.
        width: Most rows at once.
        stopped: Whether the step under way is to end now.
    """

    def __init__(
        self,
        decoder: RowDecoder,
        tokenizer: PromptTokenizer,
        device: "torch.device",
        width: int,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self._decoder = decoder
        self.tokenizer = tokenizer
        self._device = device
        self._width = width
        self._stopped = stopped
        self._cache = KVCache(device, stopped)
        self._prefixes = PrefixStore()
        self._waiting: deque[GenerationJob] = deque()
        self._rows: list[GenerationJob] = []
        """The jobs being written; the number of a job is that of its row in the cache."""
        self._steps_waited = 0
        """Steps since a job has waited."""

    def add(self, job: GenerationJob) -> None:
        """Let a job wait for its turn."""
        self._waiting.append(job)

    @property
    def busy(self) -> bool:
        """Whether there is anything to do."""
        return bool(self._rows or self._waiting)

    def step(self) -> int:
        """Write one token of every row, after waiting jobs have joined.

        Every error reaches all callers.

        Returns:
            How many rows got a token, or 0 where prompts were read, too, so that the time says nothing of a step.
        """
        try:
            self._drop_cancelled()
            entered = self._admit_jobs()
            rows = len(self._rows)
            if rows:
                self._write_tokens([[job.written[-1]] for job in self._rows], self._cache.step(), self._rows)
            return 0 if entered else rows
        except Exception as e:  # the boundary of the model: whatever it is, those who wait must hear of it
            self._fail_rows(e)
            return 0

    def _drop_cancelled(self) -> None:
        for number in reversed([i for i, job in enumerate(self._rows) if job.future.cancelled()]):
            self._remove_row(number)

    def _admit_jobs(self) -> bool:
        """Read the prompts of waiting jobs, as far as there are free rows.

        It returns whether any job joined.
        """
        # Reading prompts stops all rows for a forward pass: with many rows at work, jobs wait for each other, at most
        # `ENTER_TOGETHER` steps, so that one pass serves several.
        few = len(self._rows) <= 2 * ENTER_TOGETHER
        if self._waiting and not few and len(self._waiting) < ENTER_TOGETHER and self._steps_waited < ENTER_TOGETHER:
            self._steps_waited += 1
            return False
        self._steps_waited = 0
        entering: list[GenerationJob] = []
        while self._waiting and len(self._rows) + len(entering) < self._width:
            job = self._waiting.popleft()
            if not job.future.cancelled():
                entering.append(job)
        entered = bool(entering)
        # The longest first: rows that are in already are moved if a longer one comes.
        entering.sort(key=lambda job: -len(job.ids))
        try:
            while entering:
                self._read_group(entering)
        finally:
            self._waiting.extendleft(reversed(entering))  # they have done no harm
        return entered

    def _read_group(self, entering: list[GenerationJob]) -> None:
        """Read the prompts of some waiting jobs in one forward pass, longest first."""
        first = entering[0]
        prefix = self._prefixes.find(first.ids)
        cached = 0 if prefix is None else len(prefix.ids)
        common = self._prefixes.shared_length(first.ids, [job.ids for job in entering[1:]])
        # A beginning is worth an entry only where it is much longer than the one at hand: reading one prompt alone
        # takes a whole forward.
        if common > 2 * cached:  # read one prompt alone, so that its beginning can be copied to the others
            group = [first]
        else:
            # Prompts are padded at the left to the longest: rows times its new tokens is what the forward computes.
            limit = max(1, PREFILL_TOKENS // (len(first.ids) - cached))
            group = [job for job in entering if self._prefixes.find(job.ids) is prefix][:limit]
        for job in group:
            entering.remove(job)
        self._read_prompts(group, prefix)
        if common > 2 * cached and first in self._rows:
            self._prefixes.add(self._cache.prefix(self._rows.index(first), first.ids[:common]))
        self._prefixes.remember(job.ids for job in group)

    def _read_prompts(self, group: list[GenerationJob], prefix: SharedPrefix | None) -> None:
        """Read the prompts of a group, and choose the first token of each reply."""
        self._rows += group  # before anything can fail, so that they hear of it
        for job in group:
            job.start()
        # The forward computes columns `old` to `end` of the table; those before hold the prefix. A shorter prompt is
        # padded with token 0 at the left, in columns that its row does not use and the mask hides.
        where = self._cache.enter([len(job.ids) for job in group], prefix)
        cached, width = where.old - where.begin, where.end - where.old
        new = [job.ids[cached:] for job in group]
        self._write_tokens([[0] * (width - len(ids)) + ids for ids in new], where, group)

    def _write_tokens(self, ids: list[list[int]], where: CacheSlice, jobs: list[GenerationJob]) -> None:
        """Choose the next token of these jobs, and let those that end with it go."""
        import torch

        logits = self._decoder(torch.tensor(ids, device=self._device), where, self._cache)
        tokens = choose_tokens(logits, [(job.sampling, job.rng) for job in jobs])
        ended: list[tuple[int, GenerationJob, str | None]] = []
        for number, (job, token) in enumerate(zip(jobs, tokens, strict=True), where.rows.start):
            finish = None if token is None else self.tokenizer.push(job, token)
            if finish is not None or token is None:
                ended.append((number, job, finish))
        # From the last on: `leave` puts the last row in the place of one that goes, and the numbers before it stay as
        # they are.
        for number, job, finish in reversed(ended):
            # May fail: while the job is a row, it would hear of it.
            result = self.tokenizer.reply(job, finish) if finish else _NOT_FINITE
            self._remove_row(number)
            if finish is None:
                self._cache.wipe()
            job.finish(result if isinstance(result, GeneratedReply) else _as_final_error(result))

    def _remove_row(self, number: int) -> None:
        self._cache.leave(number)
        last = self._rows.pop()
        if number < len(self._rows):
            self._rows[number] = last

    def _fail_rows(self, error: BaseException) -> None:
        """Fail all rows, and start over with an empty cache.

        Waiting jobs are not failed, since they cannot be the cause.
        """
        jobs, self._rows = self._rows, []
        self._cache = KVCache(self._device, self._stopped)
        for job in jobs:
            job.finish(_as_final_error(error))

    def abandon(self, error: BaseException) -> None:
        """Fail all jobs, those that wait too, and empty the cache."""
        self._rows += self._waiting
        self._waiting.clear()
        self._fail_rows(error)


_NOT_FINITE = ArithmeticError("its output is not finite")


def _as_final_error(error: BaseException) -> ProviderError:
    """Return what callers get: an error that no new attempt would repair."""
    reason = first_line(error)
    failure = ProviderError(f"the local model failed: {reason}", status=400)
    failure.__cause__ = error
    return failure
