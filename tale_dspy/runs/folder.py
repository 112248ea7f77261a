"""The files of a run: who may write, what is appended when, and what a killed run left behind.

`run.json` is written once, `calls.jsonl` and the file of results (`records.jsonl`) are appended a whole line at a time,
`summary.json` is replaced at the end. A line cut off by a kill is cut away when the folder is opened again.
"""

import errno
import fcntl
import json
import os
import threading
from abc import ABC, abstractmethod
from collections import defaultdict
from functools import cached_property
from pathlib import Path
from typing import Any

from tale_dspy.errors import BackendError, RunFolderError
from tale_dspy.runs.records import Record, read_json, read_jsonl

FORMAT = 1
_FULL = {errno.ENOSPC, errno.EDQUOT}

_ENCODER = json.JSONEncoder(ensure_ascii=False, default=str)

JournalKey = tuple[str, int, str, int]
"""(question id, repeat, request hash, how many equal requests the question had made before)."""


class JournalFolder(ABC):
    """A folder with a journal of calls, open for writing by one process at a time.

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

    def __init__(self, path: str | Path, info: dict[str, Any]) -> None:
        self.path = Path(path)
        self._lock = threading.Lock()
        self._files: dict[str, int] = {}
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._guard = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        except FileExistsError:
            raise RunFolderError(f"{self.path} is a file: give the folder of a run") from None
        except OSError as e:
            raise _cannot_write(self.path, e) from e
        try:
            self._open(info)
        except BaseException:
            self.close()
            raise

    def _open(self, info: dict[str, Any]) -> None:
        try:
            fcntl.flock(self._guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise RunFolderError(f"{self.path} is in use by another process") from None
        if (self.path / "run.json").exists():
            self.info = read_json(self.path / "run.json")
            _same_config(self.path, self.info, info)
        else:
            others = sorted(p.name for p in self.path.iterdir() if p.name != ".lock")
            if others:
                raise RunFolderError(f"{self.path} is not empty and no run folder (it holds {others[0]}): give another")
            self.info = info
            self.replace("run.json", info)
        for name in (self.results, "calls.jsonl"):
            self._files[name] = self._append_to(name)
        self.read_results()
        summary = self.path / "summary.json"
        self.wall_s = float(read_json(summary).get("wall_s") or 0.0) if summary.exists() else 0.0

    @abstractmethod
    def read_results(self) -> None:
        """Read what was finished before."""

    @abstractmethod
    def is_done(self, sample: str, repeat: int) -> bool:
        """Tell whether this draw is finished, so that its calls are not needed any more."""

    def _append_to(self, name: str) -> int:
        """Open a file for whole-line appends, without the line a kill cut off."""
        path = self.path / name
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            data = path.read_bytes()
            whole = data.rfind(b"\n") + 1
            if whole < len(data):
                os.ftruncate(fd, whole)
        except OSError as e:
            raise _cannot_write(path, e) from e
        return fd

    @cached_property
    def journal(self) -> dict[JournalKey, dict[str, Any]]:
        """Answers that were paid for questions not finished; read when first asked for."""
        answered: dict[JournalKey, dict[str, Any]] = {}
        for row in read_jsonl(self.path / "calls.jsonl"):
            if row.get("error") is None and not self.is_done(row["id"], row["repeat"]):
                answered[(row["id"], row["repeat"], row["key"], row["step"])] = row
        return answered

    def append(self, name: str, row: dict[str, Any]) -> None:
        """Append one line with one write; it is whole or, on a full disk, taken back.

        Raises:
            BackendError: If it could not be written.
        """
        line = _ENCODER.encode(row).encode("utf-8", "backslashreplace") + b"\n"
        fd = self._files[name]
        with self._lock:
            written = 0
            try:
                while written < len(line):  # a write that is cut short tells why when it goes on
                    written += os.write(fd, line[written:])
            except OSError as e:
                os.ftruncate(fd, os.fstat(fd).st_size - written)
                raise _cannot_write(self.path / name, e) from e

    def replace(self, name: str, value: dict[str, Any]) -> None:
        """Write a JSON file so that a reader sees the old or the new one, never half of it."""
        text = json.dumps(value, ensure_ascii=False, indent=1, default=str) + "\n"
        self._swap(name, text.encode("utf-8", "backslashreplace"))

    def rewrite(self, name: str, rows: list[dict[str, Any]]) -> None:
        """Replace all lines of an appended file."""
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        self._swap(name, lines.encode("utf-8", "backslashreplace"))
        os.close(self._files[name])
        self._files[name] = self._append_to(name)

    def _swap(self, name: str, data: bytes) -> None:
        temporary = self.path / f".{name}.tmp"
        try:
            temporary.write_bytes(data)
            temporary.replace(self.path / name)
        except OSError as e:
            temporary.unlink(missing_ok=True)
            raise _cannot_write(self.path / name, e) from e

    def close(self) -> None:
        """Close the files and let others in."""
        for fd in [*self._files.values(), self._guard]:
            os.close(fd)
        self._files.clear()


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
        records: What was finished before.
    """

    results = "records.jsonl"

    def __init__(self, path: str | Path, info: dict[str, Any], *, retry_errors: bool = False) -> None:
        self._retry_errors = retry_errors
        self.records: list[Record] = []
        super().__init__(path, info)

    def read_results(self) -> None:
        rows = read_jsonl(self.path / self.results)
        if self._retry_errors and any(row["outcome"] == "error" for row in rows):
            rows = [row for row in rows if row["outcome"] != "error"]
            self.rewrite(self.results, rows)
        self.records = [Record.from_json(row) for row in rows]
        self._done = {(r.id, r.repeat) for r in self.records}

    def is_done(self, sample: str, repeat: int) -> bool:
        return (sample, repeat) in self._done


def _cannot_write(path: Path, error: OSError) -> BackendError:
    if error.errno in _FULL:
        return BackendError(f"the disk is full: {path} could not be written, what was finished before is kept")
    return BackendError(f"{path} cannot be written: {error.strerror or error}")


def _same_config(path: Path, old: dict[str, Any], new: dict[str, Any]) -> None:
    if old.get("format") != FORMAT:
        raise RunFolderError(f"{path} has format {old.get('format')!r}, this version reads {FORMAT}")
    before, now = _flat(old.get("config", {})), _flat(json.loads(json.dumps(new["config"], default=str)))
    changed = sorted(k for k in before.keys() | now.keys() if before.get(k) != now.get(k))
    if changed:
        told = "; ".join(f"{k} was {_short(before.get(k))}, now {_short(now.get(k))}" for k in changed[:4])
        raise RunFolderError(f"{path} holds a run of another configuration ({told}): give another folder")


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {prefix: value}
    flat: dict[str, Any] = defaultdict()
    for k, v in value.items():
        flat.update(_flat(v, f"{prefix}.{k}" if prefix else str(k)))
    return flat


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "..."
