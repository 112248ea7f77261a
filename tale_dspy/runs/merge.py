"""Join the shards of a run into one summary.

Each answer counts once, and what was paid twice is counted.
"""

import hashlib
import json
from array import array
from dataclasses import dataclass
from pathlib import Path

from tale_dspy.errors import RunFolderError
from tale_dspy.protocols import JsonObject
from tale_dspy.runs.completeness import JOURNAL, check_calls, check_journals
from tale_dspy.runs.files import iter_jsonl, replace_json
from tale_dspy.runs.records import Run, load_run


@dataclass(frozen=True)
class MergedRun:
    """The shards as one run, and the figures of their overlap."""

    run: Run
    doubled_records: int
    """Answers that stood there twice; the last one counts."""
    calls_paid_twice: int
    """Paid calls beyond the first of the same request of the same draw."""
    usd_paid_twice: float

    def __str__(self) -> str:
        return (
            f"{self.doubled_records} answers stood there twice (the last counts); {self.calls_paid_twice} calls were "
            f"paid twice, ${self.usd_paid_twice:.6f}"
        )

    def to_json(self) -> JsonObject:
        """Return the figures beside the summary."""
        names = ("doubled_records", "calls_paid_twice", "usd_paid_twice")
        return {name: vars(self)[name] for name in names}


def merge_shards(folder: Path) -> MergedRun:
    """Read the shards in a folder as one run, and write its `summary.json`.

    If shards are missing or not finished, the run says so.

    Raises:
        RunFolderError: If there are no shards, they are of other configurations or splits, or miss journalled calls.
        BackendError: If the summary cannot be written.
    """
    run = load_run(folder)
    if run.parts == (folder,):
        raise RunFolderError(f"{folder} is one run folder and holds no shards: there is nothing to merge")
    check_journals(run.parts)
    answers, twice, usd = paid_twice(run.parts)
    check_calls(folder, answers, run.total.counts["calls"])
    merged = MergedRun(run, run.doubled, twice, usd)
    replace_json(folder / "summary.json", {**run.summary, **merged.to_json()})
    return merged


def paid_twice(parts: tuple[Path, ...]) -> tuple[int, int, float]:
    """Return counts and cost of the calls that were answered.

    The counts are those of all calls, and of paid ones that repeat another of the same draw.

    The cost is the sum of the known prices, in US dollars. Sixteen bytes a call are in memory.
    """
    import numpy as np

    hashes, costs = array("Q"), array("d")
    answers = 0

    def add(row: JsonObject) -> None:
        nonlocal answers
        answers += row.get("error") is None
        if row.get("error") is None and row.get("paid"):
            key = json.dumps([row["id"], row["repeat"], row["key"], row["step"]]).encode()
            hashes.append(int.from_bytes(hashlib.blake2b(key, digest_size=8).digest()))
            costs.append(row["cost"] or 0.0)

    for part in parts:
        for _ in iter_jsonl(part / JOURNAL, add):
            pass
    if not hashes:
        return answers, 0, 0.0
    values = np.frombuffer(hashes, dtype=np.uint64)
    _, first = np.unique(values, return_index=True)
    again = np.ones(len(values), dtype=bool)
    again[first] = False
    return answers, int(again.sum()), float(np.frombuffer(costs)[again].sum())
