"""Where results are written.

Existing files are replaced only if they are an earlier result of the same kind.
"""

from pathlib import Path

from tale_dspy.errors import UsageError

HEAD_BYTES = 8192
"""How much of a file is looked at to see what it is."""


def check_file(path: Path, kind: str, *markers: bytes) -> None:
    """Refuse a file that must not be written.

    Args:
        path: The file.
        kind: What is to be written, such as `report of tale`.
        markers: What the beginning of an earlier one holds, one of them; without any, no file is replaced.

    Raises:
        UsageError: If a folder is there, one of its parents is a file, or it holds anything but an earlier one.
    """
    check_folder(path.parent, kind)
    if path.is_dir():
        raise UsageError(f"{path} is a folder: a {kind} is written to a file, give one")
    if path.is_file() and not _begins_with_any(path, markers):
        raise UsageError(f"{path} is there already and is no {kind}, so it is not replaced: give another path")


def check_folder(path: Path, kind: str) -> None:
    """Refuse a folder that cannot be made.

    Raises:
        UsageError: If a file is there, or where one of its parents should be.
    """
    there = next((part for part in (path, *path.parents) if part.exists()), None)
    if there is not None and not there.is_dir():
        raise UsageError(f"a {kind} cannot be written into {path}: {there} is a file, not a folder")


def _begins_with_any(path: Path, markers: tuple[bytes, ...]) -> bool:
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError as e:
        raise UsageError(f"{path} cannot be read: {e.strerror or e}") from e
    return not head or any(marker in head for marker in markers)
