"""The files of a run: one writer, appended results, a journal of calls.

A run that was killed is continued from them.

`run.json` is written once, `calls.jsonl` and the file of results (`records.jsonl`) are appended a whole line at a time,
`summary.json` is replaced at the end. A line cut off by a kill is cut away when the folder is opened again.
"""

import json
import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from tale_dspy.accounting.calls import Call
from tale_dspy.errors import RunFolderError
from tale_dspy.protocols import JsonObject
from tale_dspy.runs.columns import RECORDS
from tale_dspy.runs.configuration import check_neighbours, check_same_config
from tale_dspy.runs.field_checks import FieldChecks
from tale_dspy.runs.files import (
    append_line,
    cannot_write,
    iter_jsonl,
    lock_folder,
    open_for_appending,
    read_json,
    read_jsonl,
    replace_file,
    replace_json,
    require_plain_file,
)
from tale_dspy.runs.record import Record
from tale_dspy.runs.shards import shard_of
from tale_dspy.runs.stored_columns import PARQUET_FROM, read_columns, write_columns
from tale_dspy.runs.summary import RunSummary

if TYPE_CHECKING:
    import filelock
    import numpy as np
    from numpy.typing import NDArray

_ENCODER = json.JSONEncoder(ensure_ascii=False, default=str)

JournalKey = tuple[str, int, str, int]
"""(question id, repeat, request hash, how many equal requests the question had made before)."""


class JournalFolder(ABC):
    """A folder with a journal of calls, written by one process at a time.

    A subclass names the file of its `results`, and tells which calls of the journal are not needed any more.

    Args:
        path: The folder; made if it is missing.
        info: What `run.json` must hold. An existing folder must have the same `config`.

    Raises:
        RunFolderError: If the folder is in use, holds something else, or was made with another configuration.
        BackendError: If it cannot be written.

    Attributes:
        wall_s: Seconds that earlier processes worked on it, as far as they could say so.
    """

    results: str

    def __init__(self, path: str | Path, info: JsonObject) -> None:
        self.path = Path(path)
        self._lock = threading.Lock()
        self._files: dict[str, int] = {}
        if shard_of(self.path) is not None and not (self.path / "run.json").exists():
            check_neighbours(self.path, info)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            raise RunFolderError(f"{self.path} is a file: give the folder of a run") from None
        except OSError as e:
            raise cannot_write(self.path, e) from e
        self._guard: filelock.BaseFileLock = lock_folder(self.path)
        try:
            self._open_files(info)
        except BaseException:
            self.close()
            raise

    def _open_files(self, info: JsonObject) -> None:
        if (self.path / "run.json").exists():
            self.info = read_json(self.path / "run.json")
            check_same_config(self.path, self.info, info)
        else:
            others = sorted(p.name for p in self.path.iterdir() if not p.name.startswith(".lock"))
            if others:
                raise RunFolderError(f"{self.path} is not empty and no run folder (it holds {others[0]}): give another")
            self.info = info
            self.replace("run.json", info)
        for name in (self.results, "calls.jsonl"):
            self._files[name] = open_for_appending(self.path / name)
        summary = self.path / "summary.json"
        require_plain_file(summary)
        wall = read_json(summary).get("wall_s") if summary.exists() else None
        self.wall_s = float(wall) if isinstance(wall, int | float) else 0.0
        self.read_results()

    @abstractmethod
    def read_results(self) -> None:
        """Read what was finished before."""

    @abstractmethod
    def is_done(self, sample: str, repeat: int) -> bool:
        """Return whether this draw is finished, so that its calls are not needed."""

    @cached_property
    def journal(self) -> dict[JournalKey, JsonObject]:
        """Paid answers to questions that are not finished, read at first use."""
        answered: dict[JournalKey, JsonObject] = {}
        for _, row in iter_jsonl(self.path / "calls.jsonl", _checked_call):
            if row.get("error") is None and not self.is_done(row["id"], row["repeat"]):
                answered[(row["id"], row["repeat"], row["key"], row["step"])] = row
        return answered

    def append(self, name: str, row: JsonObject, *, to_disk: bool = False) -> None:
        """Append one line with one write; it is whole or, on a full disk, taken back.

        Args:
            name: The file; made if it is missing.
            row: What the line holds.
            to_disk: Whether to wait until the line is on the disk.

        Raises:
            BackendError: If it could not be written.
        """
        line = _ENCODER.encode(row).encode("utf-8", "backslashreplace") + b"\n"
        with self._lock:
            if name not in self._files:
                self._files[name] = open_for_appending(self.path / name)
            append_line(self._files[name], self.path, name, line)
            if to_disk:
                os.fsync(self._files[name])

    def rows_of(self, name: str) -> list[JsonObject]:
        """Return the lines of a file beside the journal; none if it is missing."""
        return read_jsonl(self.path / name)

    def replace(self, name: str, value: JsonObject) -> None:
        """Write a JSON file so that no reader sees half of it."""
        replace_json(self.path / name, value)

    def rewrite(self, name: str, rows: Iterable[JsonObject]) -> None:
        """Replace all lines of an appended file."""
        lines = (_ENCODER.encode(row).encode("utf-8", "backslashreplace") + b"\n" for row in rows)
        replace_file(self.path / name, lines)
        os.close(self._files[name])
        self._files[name] = open_for_appending(self.path / name)

    def drop_results(self, rows: Iterable[JsonObject]) -> None:
        """Keep these results alone.

        Others are asked for again: the run has not ended any more, and its summary is removed.
        """
        (self.path / "summary.json").unlink(missing_ok=True)
        self.rewrite(self.results, rows)

    def close(self) -> None:
        """Close the files and let others in."""
        for descriptor in self._files.values():
            os.close(descriptor)
        self._files.clear()
        self._guard.release()


class RunFolder(JournalFolder):
    """The folder of a run.

    Args:
        path: The folder; made if it is missing.
        info: What `run.json` must hold. An existing folder must have the same `config`.
        retry_errors: Whether records that ended in `error` are taken out, to be asked again.

    Raises:
        RunFolderError: If the folder is in use, holds something else, or was made with another configuration.
        BackendError: If it cannot be written.

    Attributes:
        summary: What the records sum up to, those of this process included as far as they were appended.
        resumed: How many records there were before.
    """

    results = RECORDS

    def __init__(self, path: str | Path, info: JsonObject, *, retry_errors: bool = False) -> None:
        self._retry_errors = retry_errors
        self._single = info["config"].get("repeats") == 1
        self.summary = RunSummary(single=self._single)
        super().__init__(path, info)

    def read_results(self) -> None:
        records = self.path / RECORDS
        stored = read_columns(self.path)
        columns, state = stored or (None, None)
        if columns is not None and state is not None:
            latencies = columns.latency_s
            self.summary = RunSummary.from_state(state, latencies[latencies == latencies])
            self._done = _sorted_keys(columns.keys())
        else:
            keys = []
            for _, record in iter_jsonl(records, Record.from_json):
                self.summary.add(record)
                keys.append(_record_key(record.id, record.repeat))
            self._done = _sorted_keys(keys)
        if self._retry_errors and self.summary.outcomes["error"]:
            answered = (r.to_json() for _, r in iter_jsonl(records, Record.from_json) if r.outcome != "error")
            self.drop_results(answered)
            self._retry_errors, self.summary = False, RunSummary(single=self._single)
            self.read_results()
        self.resumed = self.summary.records

    def is_done(self, sample: str, repeat: int) -> bool:
        key = _record_key(sample, repeat)
        place = int(self._done.searchsorted(key)) if len(self._done) else 0
        return place < len(self._done) and bool(self._done[place] == key)

    def store_columns(self) -> None:
        """Write the columns of a large run beside its records, unless they are there."""
        if self.summary.records >= PARQUET_FROM and read_columns(self.path) is None:
            write_columns(self.path, self.summary.to_state())


def _record_key(sample: str, repeat: int) -> bytes:
    return f"{sample}#{repeat}".encode() if repeat else sample.encode()


def _sorted_keys(keys: "list[bytes] | NDArray[np.bytes_]") -> "NDArray[np.bytes_]":
    """Return the keys of finished draws, some 20 bytes each."""
    import numpy as np

    return np.sort(np.asarray(keys, dtype="S" if len(keys) else "S1"))


_CALL_KINDS: dict[str, tuple[type, ...]] = {
    "id": (str,),
    "repeat": (int,),
    "key": (str,),
    "step": (int,),
    "usage": (dict,),
    "reply": (str, type(None)),
    "cost": (int, float, type(None)),
}


def _checked_call(row: JsonObject) -> JsonObject:
    """Check a line of the journal.

    Of a failed attempt only the question and repeat are used, so only these are checked.
    """
    names = _CALL_KINDS if row.get("error") is None else ("id", "repeat")
    for name in names:
        if name not in row or not isinstance(row[name], _CALL_KINDS[name]):
            raise ValueError(f"{name} of a call is {row.get(name)!r:.60}, which none of this version writes")
    if names is _CALL_KINDS:
        _CALL_CHECKS.checked_fields({**row, **row["usage"], "text": row["reply"], "cost_usd": row["cost"]})
    return row


_CALL_CHECKS = FieldChecks(Call)
