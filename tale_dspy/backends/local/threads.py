"""How many threads PyTorch takes for the steps of a model on a CPU.

Threads that share a step wait for each other at each of its operations. On an idle machine two are nearly twice as fast
as one; where another process has a core, they are up to 80 times slower (benchmarks/local.py --threads).
"""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")

SINGLE_THREAD_PARAMETERS = 4_000_000
"""Parameters up to which a step on a CPU is too short to be shared."""
PROBE_STEPS = 2
"""Steps with another number of threads, of which the shortest counts."""
FIRST_INTERVAL, LAST_INTERVAL = 8, 512
"""Steps between two probes: doubled while they bring nothing."""
CLEAR_GAIN = 0.9
"""A number of threads is changed if a step takes less than this share of the time."""
STALL = 2.0
"""A step that takes this many times as long as the last ones is a reason to probe at once."""


def wants_one_thread(model: Any) -> bool:
    """Return whether one thread is to do all the arithmetic of a model."""
    device: str = model.get_input_embeddings().weight.device.type
    return device == "cpu" and sum(p.numel() for p in model.parameters()) <= SINGLE_THREAD_PARAMETERS


def in_thread_of_its_own(load: Callable[[], T]) -> T:
    """Load a model in a thread that ends.

    A thread that shares its arithmetic has a team of OpenMP threads until it ends. Where the teams of a process have
    more threads than there are cores, GNU OpenMP lets them sleep between two operations, and each takes 0.1 ms more to
    begin: a step of 64 rows in 8 bits takes 1.5 times as long. So nobody but the worker keeps a team.

    Args:
        load: Does the work; what it raises is raised here.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="tale-load") as pool:
        return pool.submit(load).result()


class ThreadTuner:
    """Find the quickest number of threads for a model, by its step times.

    Every so often, and when a step stalls, some steps are taken with the other number: all threads, or one alone.

    Args:
        threads: The number at first, and the most.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        """The number for the next step."""
        self._most = threads
        self._rows = 0
        self._recent: list[float] = []
        """Seconds of the last steps with the number that is used."""
        self._probe: list[float] | None = None
        """Seconds of the steps of a probe under way."""
        self._interval = self._until_probe = FIRST_INTERVAL

    def record(self, rows: int, seconds: float) -> None:
        """Learn from a step, and choose the number of threads of the next one.

        Args:
            rows: Rows that got a token; 0 for a step that cannot be compared with others.
            seconds: Time it took.
        """
        if self._most == 1 or not rows:
            return
        if rows != self._rows:  # only steps of as many rows can be compared
            self._rows, self._recent = rows, []
            if self._probe is not None:
                self._end_probe()
        if self._probe is not None:
            self._probe.append(seconds)
            if len(self._probe) == PROBE_STEPS:
                self._compare_probe(self._probe)
            return
        # Another process that takes a core shows as one step that is `STALL` times as long as the quickest of the last.
        self._until_probe -= 1
        stalled = len(self._recent) == PROBE_STEPS and seconds > STALL * min(self._recent)
        self._recent = [*self._recent[1 - PROBE_STEPS :], seconds]
        if len(self._recent) == PROBE_STEPS and (self._until_probe <= 0 or stalled):
            self._probe, self.threads = [], self._other_count()

    def _compare_probe(self, probe: list[float]) -> None:
        # The minimum of several steps is the time without disturbance. A number that was no better is tried again after
        # twice as many steps (exponential backoff).
        if min(probe) < CLEAR_GAIN * min(self._recent):
            self._recent, self._interval = probe, FIRST_INTERVAL
            self._probe, self._until_probe = None, self._interval
        else:
            self._interval = min(2 * self._interval, LAST_INTERVAL)
            self._end_probe()

    def _end_probe(self) -> None:
        """Go back to the number before the probe."""
        self._probe, self.threads, self._until_probe = None, self._other_count(), self._interval

    def _other_count(self) -> int:
        return 1 if self.threads == self._most else self._most


class ThreadLimit:
    """The number of threads PyTorch takes for the work of one Python thread.

    The numbers of all other threads stay as they are. Make it in the thread it is for.
    """

    def __init__(self) -> None:
        import torch

        self._set = torch.set_num_threads
        self.count = self._usual = torch.get_num_threads()

    def set(self, count: int) -> None:
        """Take `count` threads from now on."""
        if count == self.count:
            return
        self.count = count
        self._set(count)  # for this thread, and for all that PyTorch sees first from now on
        other = threading.Thread(target=self._set, args=(self._usual,))  # takes the latter back
        other.start()
        other.join()
