"""Shards as tasks of a Ray cluster.

Each is an ordinary run with a folder of its own, and one actor shares the caps.

A worker that is lost takes its shard with it: Ray begins the task again, on another node if need be, and the journal in
the shard's folder says what was answered. The folders must lie on a disk that all nodes see at the same path. What is
pickled (by Ray, between processes of one command) are flags, figures and exceptions' sentences, never a key.
"""

import contextlib
import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from tale_dspy.accounting.cap_leases import SILENT_S, LeaseAnswer, LeasedLedger, Room
from tale_dspy.backends.limiter import Limiter
from tale_dspy.backends.rate_leases import LeasedLimiter
from tale_dspy.errors import BackendError, DataError, RunFolderError, SpendCapReached, TaleError, UsageError
from tale_dspy.runs.files import lock_folder, remove_lock_of
from tale_dspy.runs.options import Tally
from tale_dspy.runs.ray_cluster import ray_cluster
from tale_dspy.runs.shard_coordinator import Coordinator, SharedLimits, Worker
from tale_dspy.runs.shards import Shard
from tale_dspy.runs.stopped import SHUTDOWN_GRACE_S

if TYPE_CHECKING:
    from tale_dspy.runs.shared_caps import SharedCaps

T = TypeVar("T")

MAX_LOSSES = 10
"""How often a shard is begun again after its worker was lost."""
REPORT_S, POLL_S = 0.5, 0.25
"""Seconds between two reports of a shard, and between two looks at them."""
END_S = 12 * SHUTDOWN_GRACE_S
"""Seconds that interrupted shards are given to write what is finished; another Ctrl-C ends them at once."""
LOCK_PATIENCE_S = 60.0
"""Seconds that a shard waits for the process before it, which may be ending, to leave its folder."""

_PLAIN_KINDS = (RunFolderError, DataError, UsageError, BackendError, TaleError)


@dataclass(frozen=True)
class ShardContext:
    """What a shard is given to work with."""

    shard: Shard
    caps: "SharedCaps | None"
    """None where nothing is capped."""
    limiter: Limiter | None
    """None where requests and tokens a minute are not limited."""
    progress: Callable[[Tally], None]
    share: Callable[[Sequence[Hashable]], list[Any]]
    """Gives the other shards what this one has learned, and returns what they have since the last time."""


class ShardWork(Protocol):
    """Do one shard, in a worker.

    Ray pickles it, so it is a function of a module with plain arguments.
    """

    def __call__(self, context: ShardContext) -> bool:
        """Return whether a cap ended it early."""
        ...


@dataclass(frozen=True)
class _Outcome:
    """How a shard ended, as plain values.

    Exceptions of this library hold what cannot be pickled.
    """

    capped: bool = False
    error: type[TaleError] | None = None
    message: str = ""


def _answer_of(reference: Any) -> Any:
    """Wait in a worker for an answer of the coordinator.

    Not with `ray.get`: a worker that waits there gives its core away, and Ray starts one more shard on it.
    """
    return reference.future().result()


class _LeaseHolder:
    """Reaches the book from a worker."""

    def __init__(self, coordinator: Any, shard: int, attempt: int) -> None:
        self._coordinator, self._shard, self._attempt = coordinator, shard, attempt
        self._learned, self._seen = Counter[Hashable](), 0

    def lease(self, used: Room, held: Room, need: Room, block: Room) -> LeaseAnswer:
        lease = self._coordinator.lease.remote(self._shard, self._attempt, used, held, need, block)
        answer: LeaseAnswer = _answer_of(lease)
        return answer

    @contextlib.contextmanager
    def alive(self) -> Iterator[None]:
        """Report at intervals that this shard is alive.

        Other shards then wait for what it has leased.
        """
        ended = threading.Event()

        def beat() -> None:
            while not ended.wait(SILENT_S / 6):
                self._coordinator.hear.remote(self._shard, self._attempt)

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()

    def close(self, used: Room) -> None:
        _answer_of(self._coordinator.close.remote(self._shard, self._attempt, used))

    def reserve(self, requests: int, tokens: int) -> float:
        return float(_answer_of(self._coordinator.reserve.remote(requests, tokens)))

    def share(self, lessons: Sequence[Hashable]) -> list[Any]:
        counted = []
        for lesson in lessons:
            self._learned[lesson] += 1
            counted.append((lesson, self._learned[lesson]))
        new, self._seen = _answer_of(self._coordinator.share.remote(self._shard, counted, self._seen))
        return list(new)


class _Reporter:
    """Send the running figures of a shard at intervals.

    It interrupts the shard, as Ctrl-C does, if the answer says to stop.
    """

    def __init__(self, coordinator: Any, shard: int) -> None:
        self._coordinator, self._shard = coordinator, shard
        self._lock, self._due = threading.Lock(), 0.0
        self._answer: Any = None
        self.last: Tally | None = None

    def __call__(self, tally: Tally) -> None:
        with self._lock:
            self.last, now = tally, time.monotonic()
            if now < self._due:
                return
            self._due = now + REPORT_S
            is_ending = self._answer is not None and _answer_of(self._answer)
            self.send()
        if is_ending:
            raise KeyboardInterrupt  # in a worker's thread: it ends the run as any fault does

    def send(self) -> None:
        if self.last is not None:
            self._answer = self._coordinator.report.remote(self._shard, replace(self.last))


def do_shard(work: ShardWork, shard: Shard, out: str, cwd: str, limits: SharedLimits, coordinator: Any) -> _Outcome:
    """Do one shard in a worker of Ray: the task.

    Args:
        work: Does it.
        shard: Which one.
        out: The folder of all shards.
        cwd: The working directory of the command, which relative paths start from.
        limits: Of all shards together.
        coordinator: The actor.
    """
    from tale_dspy.runs.shared_caps import SharedCaps  # with DSPy, which the command itself has no use for

    os.chdir(cwd)
    number = shard.number
    attempt, earlier = _answer_of(coordinator.open.remote(number, (socket.gethostname(), os.getpid())))
    holder, reporter = _LeaseHolder(coordinator, number, attempt), _Reporter(coordinator, number)
    caps = None
    if limits.max_usd is not None or limits.max_total_output_tokens is not None:
        caps = SharedCaps.leased(
            LeasedLedger(
                holder, caps_usd=limits.max_usd is not None, caps_tokens=limits.max_total_output_tokens is not None
            )
        )
    rated = limits.rpm is not None or limits.tpm is not None
    limiter = LeasedLimiter(holder.reserve, limits.rpm, limits.tpm) if rated else None
    try:
        with holder.alive() if caps is not None else contextlib.nullcontext():
            _wait_for_folder(Path(out) / shard.folder_name, earlier)
            return _Outcome(capped=work(ShardContext(shard, caps, limiter, reporter, holder.share)))
    except KeyboardInterrupt:  # `ray.cancel`: nobody looks at the outcome
        return _Outcome()
    except SpendCapReached:
        return _Outcome(capped=True)
    except TaleError as e:
        return _Outcome(error=_plain_kind(e), message=str(e))
    finally:
        if caps is not None:
            used = caps.ledger.used
            holder.close(Room(used.usd, used.tokens))
        reporter.send()


def _plain_kind(error: TaleError) -> type[TaleError]:
    """Return the class an error is raised as again: those made from one sentence."""
    return next(kind for kind in _PLAIN_KINDS if isinstance(error, kind))


def _wait_for_folder(folder: Path, earlier: list[Worker]) -> None:
    """Wait until the process that worked in the folder before has left.

    The lock file of a lost process is removed.
    """
    if not folder.is_dir():
        return
    for host, process in earlier:
        remove_lock_of(folder, host, process)
    until = time.monotonic() + LOCK_PATIENCE_S
    while True:
        try:
            lock_folder(folder).release()
            return
        except RunFolderError:
            if time.monotonic() > until:
                raise
        time.sleep(0.1)


@dataclass(frozen=True)
class ShardsEnd:
    """How the shards of a command ended."""

    used: Room
    """What counts towards the caps."""
    stopped: str | None
    """The sentence of the cap that ended one early, or None."""


def run_shards(
    address: str,
    count: int | None,
    out: Path,
    work: ShardWork,
    limits: SharedLimits,
    progress: Callable[[Mapping[int, Tally], int], None],
    merge: Callable[[], T],
) -> tuple[ShardsEnd, T]:
    """Do all shards on a cluster.

    Args:
        address: `local`, `auto` or `host:port`.
        count: How many shards; None takes one for each core of the cluster.
        out: The folder of the shards.
        work: Does one of them.
        limits: Of all shards together.
        progress: Called with the running figures of those that have begun, and the count.
        merge: Called in a thread when all have ended, while the cluster is taken down.

    Returns:
        Whether a cap ended it and what was used, and what `merge` returns.

    Raises:
        MissingExtraError: If Ray is not installed.
        UsageError: If no cluster is reachable, or a shard cannot be done as it is said.
        BackendError: If the provider refuses everything, or the worker of a shard is lost again and again.
        KeyboardInterrupt: On Ctrl-C, after all shards were given time to end.
    """
    with ThreadPoolExecutor(1) as beside:
        with ray_cluster(address) as ray:
            end = _run_on(ray, count, out, work, limits, progress)
            merged = beside.submit(merge)
        return end, merged.result()


def _run_on(
    ray: Any,
    count: int | None,
    out: Path,
    work: ShardWork,
    limits: SharedLimits,
    progress: Callable[[Mapping[int, Tally], int], None],
) -> ShardsEnd:
    count = count or max(1, int(ray.cluster_resources().get("CPU", 1)))
    here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
        ray.get_runtime_context().get_node_id(), soft=False
    )
    coordinator = ray.remote(Coordinator).options(num_cpus=0, scheduling_strategy=here).remote(limits)
    task = ray.remote(do_shard).options(num_cpus=1, max_retries=MAX_LOSSES)
    shards = [Shard(number, count) for number in range(1, count + 1)]
    running = {task.remote(work, shard, str(out), os.getcwd(), limits, coordinator): shard for shard in shards}
    try:
        capped = _watch(ray, running, lambda: progress(ray.get(coordinator.tallies.remote()), len(shards)))
        used, sentence = ray.get([coordinator.leased.remote(), coordinator.reached.remote()])
        return ShardsEnd(used, sentence if capped else None)
    finally:
        _end(ray, running, coordinator)


def _watch(ray: Any, running: dict[Any, Shard], look: Callable[[], None]) -> bool:
    """Wait for all shards, and say whether a cap has ended one."""
    capped = False
    while running:
        finished, _ = ray.wait(list(running), timeout=POLL_S)
        look()
        for task in finished:
            shard = running.pop(task)
            try:
                outcome: _Outcome = ray.get(task)
            except ray.exceptions.RayTaskError as e:
                raise BackendError(f"shard {shard} failed: {e.cause!r}") from e
            except ray.exceptions.RayError as e:
                raise BackendError(
                    f"shard {shard} was given up after {MAX_LOSSES} lost workers ({type(e).__name__}); what was "
                    "finished is kept, the same command continues"
                ) from e
            if outcome.error is not None:
                raise outcome.error(outcome.message)
            capped = capped or outcome.capped
    return capped


def _end(ray: Any, running: Mapping[Any, Shard], coordinator: Any) -> None:
    """Interrupt the shards that have not ended.

    They have time to write what is finished.
    """
    unended = list(running)
    if unended:
        coordinator.end.remote()
    for seconds in (2 * SHUTDOWN_GRACE_S, END_S):
        for task in unended:
            with contextlib.suppress(ray.exceptions.RayError):
                # Not what it waits for in turn: those are questions to the coordinator, which go on being answered.
                ray.cancel(task, force=False, recursive=False)
        if unended:
            _, unended = ray.wait(unended, num_returns=len(unended), timeout=seconds)
