"""Read and lock the files of a run folder.

Every file is checked, since anybody may have edited or planted it.

A file that is no plain file (a link, a pipe) is not opened. A line that is not what it should be ends in one sentence
with file and line. Nothing is held in memory beyond the line that is read.
"""

import errno
import json
import logging
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, TypeVar

import filelock

from tale_dspy.backends.local.files import TRAINING_FILE
from tale_dspy.errors import BackendError, RunFolderError
from tale_dspy.protocols import JsonObject

logger = logging.getLogger(__name__)

T = TypeVar("T")

_FULL = {errno.ENOSPC, errno.EDQUOT}
_NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP}
_TAIL = 1 << 16
HELD = ".lock.held"
"""The lock of a file system without locks."""


def require_plain_file(path: Path) -> None:
    """Refuse a path that is not a plain file.

    A missing one is fine.

    Raises:
        RunFolderError: If it is a link, a pipe, a folder or a device.
    """
    try:
        mode = path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as e:
        raise RunFolderError(f"{path} cannot be read: {e.strerror or e}") from e
    if stat.S_ISLNK(mode):
        raise RunFolderError(f"{path} is a symbolic link, which is not followed in a run folder")
    if not stat.S_ISREG(mode):
        raise RunFolderError(f"{path} is no plain file")


def _open_plain(path: Path) -> IO[bytes] | None:
    require_plain_file(path)
    try:
        return path.open("rb")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as e:
        raise RunFolderError(f"{path} cannot be read: {e.strerror or e}") from e


def _training_sentence(folder: Path) -> str:
    """Say that a folder is one of an adapter, and what can be done with it."""
    if (folder / "adapter_config.json").is_file():
        return f"{folder} is the folder of a trained adapter, not a run: ask it by --model local:BASE+{folder}"
    return f"{folder} is the folder of a training that has not ended: the command that began it continues it"


def read_json(path: Path) -> JsonObject:
    """Read one JSON object from a file of a run folder.

    Raises:
        RunFolderError: If it is missing, no plain file, or holds anything else.
    """
    file = _open_plain(path)
    if file is None:
        if not path.parent.exists():
            raise RunFolderError(f"{path.parent} is not a run folder: it does not exist")
        if (path.parent / TRAINING_FILE).is_file():
            raise RunFolderError(_training_sentence(path.parent))
        inside = sorted(log.parent.name for log in path.parent.glob(f"*/{path.name}"))
        hint = f", but folders inside it have: {', '.join(inside[:3])}{' ...' if len(inside) > 3 else ''}"
        raise RunFolderError(f"{path.parent} is not a run folder: it has no {path.name}{hint if inside else ''}")
    with file:
        try:
            value = json.loads(file.read().decode("utf-8"), parse_constant=_as_unknown)
        except (OSError, ValueError, RecursionError) as e:
            raise RunFolderError(f"{path} cannot be read: {e}") from e
    if not isinstance(value, dict):
        raise RunFolderError(f"{path} must hold one JSON object")
    return value


def iter_jsonl(path: Path, parse: Callable[[JsonObject], T], start: int = 0) -> Iterator[tuple[int, T]]:
    """Yield offset and content of the whole lines of an appended file.

    A last line without newline is left out.

    Args:
        path: The file; a missing one has no lines.
        parse: Checks a line and makes something of it; what it raises ends in a `RunFolderError` with the line.
        start: Offset in bytes of the line to begin with.

    Raises:
        RunFolderError: If a line is no JSON object, or `parse` refuses it.
    """
    file = _open_plain(path)
    if file is None:
        return
    with file:
        file.seek(start)
        offset = start
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return
            if line.strip():
                yield offset, _parse_line(path, number, line, parse)
            offset += len(line)


def _parse_line(path: Path, number: int, line: bytes, parse: Callable[[JsonObject], T]) -> T:
    try:
        row = json.loads(line, parse_constant=_as_unknown)
    except (ValueError, RecursionError) as e:
        raise RunFolderError(f"{path}, line {number} is not JSON: {e}") from e
    if not isinstance(row, dict):
        raise RunFolderError(f"{path}, line {number} must be a JSON object, got {type(row).__name__}")
    try:
        return parse(row)
    except (RunFolderError, KeyError, TypeError, ValueError, AttributeError) as e:
        detail = f"lacks {e}" if isinstance(e, KeyError) else str(e)
        raise RunFolderError(f"{path}, line {number}: {detail}") from e


def read_jsonl(path: Path) -> list[JsonObject]:
    """Read the whole lines of an appended file into memory, as `iter_jsonl` does."""
    return [row for _, row in iter_jsonl(path, _as_it_is)]


def line_at(path: Path, offset: int) -> JsonObject:
    """Read the line that begins at an offset."""
    for _, row in iter_jsonl(path, _as_it_is, offset):
        return row
    raise RunFolderError(f"{path} has no line at byte {offset}: it was changed while it was read")


def _as_it_is(row: JsonObject) -> JsonObject:
    return row


def _as_unknown(_: str) -> None:
    """Take NaN and Infinity, which are no JSON, as unknown."""


def open_for_appending(path: Path) -> int:
    """Open a file for appends of whole lines, and return its descriptor.

    A last line that a kill cut off is removed.

    Raises:
        RunFolderError: If it is no plain file.
        BackendError: If it cannot be written.
    """
    require_plain_file(path)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        size = os.fstat(descriptor).st_size
        whole = _end_of_last_line(descriptor, size)
        if whole < size:
            os.ftruncate(descriptor, whole)
    except OSError as e:
        raise cannot_write(path, e) from e
    return descriptor


def _end_of_last_line(descriptor: int, size: int) -> int:
    end = size
    while end:
        start = max(0, end - _TAIL)
        os.lseek(descriptor, start, os.SEEK_SET)
        newline = os.read(descriptor, end - start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0


def append_line(descriptor: int, folder: Path, name: str, line: bytes) -> None:
    """Append one line with one write.

    It is written whole, or removed again if the disk is full.

    Raises:
        BackendError: If it could not be written, or the file was deleted under the run.
    """
    written = 0
    try:
        while written < len(line):  # a write that is cut short tells why when it goes on
            written += os.write(descriptor, line[written:])
    except OSError as e:
        os.ftruncate(descriptor, os.fstat(descriptor).st_size - written)
        raise cannot_write(folder / name, e) from e
    if os.fstat(descriptor).st_nlink == 0:
        raise BackendError(f"{folder / name} was deleted while the run was going on: nothing more is asked")


def cannot_write(path: Path, error: OSError) -> BackendError:
    """Return the error that says why a file of a run cannot be written."""
    if error.errno in _FULL:
        return BackendError(f"the disk is full: {path} could not be written, what was finished before is kept")
    return BackendError(f"{path} cannot be written: {error.strerror or error}")


def replace_file(path: Path, lines: Iterable[bytes]) -> None:
    """Write a file so that no reader sees half of it.

    Raises:
        BackendError: If it cannot be written; an earlier file then stays.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    require_plain_file(temporary)
    try:
        with temporary.open("wb") as file:
            file.writelines(lines)
        temporary.replace(path)
    except OSError as e:
        temporary.unlink(missing_ok=True)
        raise cannot_write(path, e) from e


def replace_json(path: Path, value: JsonObject) -> None:
    """Write a JSON file, as `replace_file` does."""
    text = json.dumps(value, ensure_ascii=False, indent=1, default=str) + "\n"
    replace_file(path, [text.encode("utf-8", "backslashreplace")])


def lock_folder(folder: Path) -> filelock.BaseFileLock:
    """Lock a run folder, so that one process at a time writes there.

    A file system without locks gets a lock that is a file, with a warning: after a kill it has to be deleted by hand.

    Raises:
        RunFolderError: If another process holds it.
        BackendError: If the folder cannot be written.
    """
    path = folder / ".lock"
    require_plain_file(path)
    lock: filelock.BaseFileLock = filelock.FileLock(path, timeout=0, thread_local=False, fallback_to_soft=False)
    try:
        try:
            lock.acquire()
        except (OSError, NotImplementedError) as e:
            if isinstance(e, filelock.Timeout) or (isinstance(e, OSError) and e.errno not in _NO_LOCKS):
                raise
            path = folder / HELD
            logger.warning("%s has no file locks: %s marks it as in use; delete that after a kill", folder, path.name)
            lock = filelock.SoftFileLock(path, timeout=0, thread_local=False)
            lock.acquire()
    except filelock.Timeout:
        raise RunFolderError(f"{folder} is in use by another process") from None
    except OSError as e:
        raise cannot_write(path, e) from e
    return lock


def remove_lock_of(folder: Path, host: str, process: int) -> None:
    """Remove the lock file of a process that was lost.

    Only file systems without locks have such a file; that of any other process stays.
    """
    path = folder / HELD
    require_plain_file(path)
    try:
        holder = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return
    if holder[:2] == [str(process), host]:
        path.unlink(missing_ok=True)
