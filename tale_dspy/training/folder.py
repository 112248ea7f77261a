"""The folder of an adapter while it is trained.

It has one writer, and checkpoints that a training can be resumed from.

`training.json` is written first and tells what is trained; checkpoints lie in `checkpoints/` until the end, each with a
list of checksums written last, so that one that was cut off by a kill, or changed since, is not gone on from.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tale_dspy.backends.local.files import CARD, MANIFEST, TRAINING_FILE, check_manifest, file_hash
from tale_dspy.errors import BackendError, DataError, RunFolderError
from tale_dspy.protocols import JsonObject

CHECKPOINTS = "checkpoints"
TIME_FILE = "tale_time.json"
"""In a checkpoint: seconds of training up to there."""
FORMAT = 1


class AdapterFolder:
    """The folder of one training.

    Args:
        path: Made when the training begins.
        config: What decides the result.
    """

    def __init__(self, path: Path, config: JsonObject) -> None:
        self.path = path
        self.config: JsonObject = json.loads(json.dumps(config))

    def check(self) -> None:
        """Look whether this training may go on here; writes nothing.

        Raises:
            RunFolderError: If it is a file, holds something else, or the training of another configuration.
        """
        if not self.path.exists():
            return
        if not self.path.is_dir():
            raise RunFolderError(f"{self.path} is a file: give a folder for the adapter")
        if not (self.path / TRAINING_FILE).is_file():
            others = sorted(p.name for p in self.path.iterdir() if not p.name.startswith("."))
            if others:
                raise RunFolderError(
                    f"{self.path} is not empty and no training of this library (it holds {others[0]}): give another"
                )
            return
        old = _read_json(self.path / TRAINING_FILE)
        if old.get("format") != FORMAT:
            raise RunFolderError(f"{self.path} has format {old.get('format')!r}, this version reads {FORMAT}")
        before = old.get("config", {})
        changed = sorted(k for k in before.keys() | self.config.keys() if before.get(k) != self.config.get(k))
        if changed:
            changes = "; ".join(f"{k} was {before.get(k)}, now {self.config.get(k)}" for k in changed[:4])
            raise RunFolderError(
                f"{self.path} holds a training of another configuration ({changes}): give another folder"
            )

    @property
    def finished(self) -> bool:
        """Whether the adapter is there."""
        return (self.path / CARD).is_file()

    @property
    def card(self) -> JsonObject:
        """What `tale_adapter.json` says."""
        return _read_json(self.path / CARD)

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Hold the folder for one process, and tell in it what is trained.

        Raises:
            RunFolderError: If another process trains here.
            BackendError: If it cannot be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            guard = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as e:
            raise BackendError(f"{self.path} cannot be written: {e.strerror or e}") from e
        try:
            fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.check()
            if not (self.path / TRAINING_FILE).exists():
                write_json(self.path / TRAINING_FILE, {"format": FORMAT, "config": self.config})
            yield
        except BlockingIOError:
            raise RunFolderError(f"{self.path} is in use by another process") from None
        finally:
            os.close(guard)

    @property
    def checkpoints(self) -> Path:
        return self.path / CHECKPOINTS

    def seal(self, step: int, seconds: float) -> None:
        """Write the checksums of the checkpoint of a step: from now on it is whole.

        Args:
            step: Its step.
            seconds: How long the training took up to there, all processes after each other together.
        """
        folder = self.checkpoints / f"checkpoint-{step}"
        write_json(folder / TIME_FILE, {"seconds": seconds})
        names = sorted(p.name for p in folder.iterdir() if p.is_file() and p.name != MANIFEST)
        write_json(folder / MANIFEST, {"files": {name: file_hash(folder / name) for name in names}})

    def last_checkpoint(self) -> Path | None:
        """Return the newest whole checkpoint; broken ones are removed."""
        folders = sorted(
            self.checkpoints.glob("checkpoint-*"), key=lambda p: int(p.name.partition("-")[2]), reverse=True
        )
        for folder in folders:
            try:
                check_manifest(folder)
                if (folder / MANIFEST).is_file():
                    return folder
            except DataError:
                pass
            shutil.rmtree(folder)
        return None

    def seconds_up_to(self, checkpoint: Path | None) -> float:
        """Return how long the training took up to a whole checkpoint, 0 without one."""
        return 0.0 if checkpoint is None else float(_read_json(checkpoint / TIME_FILE)["seconds"])

    def tidy(self) -> None:
        """Remove the checkpoints of a training that is finished."""
        shutil.rmtree(self.checkpoints, ignore_errors=True)


def write_json(path: Path, value: JsonObject) -> None:
    """Write a JSON file in one step.

    A reader sees the old or the new one, never half of it.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    temporary.replace(path)


def _read_json(path: Path) -> JsonObject:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise RunFolderError(f"{path} cannot be read: {e}") from e
    if not isinstance(document, dict):
        raise RunFolderError(f"{path} must hold one JSON object")
    return document
