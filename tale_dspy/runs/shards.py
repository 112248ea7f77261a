"""Shards: the questions of one run split by their content.

Each has a folder of its own with one writer.

A question belongs to shard I of N if its content hash mod N is I - 1; repeated rows of equal content go together. Each
shard writes an ordinary run folder `OUT/shard-000I-of-000N/`, and `OUT` is read as one run.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tale_dspy.errors import RunFolderError, UsageError
from tale_dspy.protocols import JsonObject

_FOLDER = re.compile(r"shard-(\d{4,})-of-(\d{4,})")


@dataclass(frozen=True)
class Shard:
    """One of N parts of the questions.

    Raises:
        UsageError: If the number is not from 1 to N.

    Example:
        >>> Shard.parse("3/8").folder_name
        'shard-0003-of-0008'
    """

    number: int
    """From 1."""
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            raise UsageError(f"a shard is I/N with I from 1 to N, such as 3/8, got {self.number}/{self.count}")

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Read `I/N`.

        Raises:
            UsageError: If it is anything else.
        """
        match = re.fullmatch(r"\s*(\d{1,9})\s*/\s*(\d{1,9})\s*", text)
        if not match:
            raise UsageError(f"a shard is I/N with I from 1 to N, such as 3/8, got {text!r}")
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    @property
    def folder_name(self) -> str:
        return f"shard-{self.number:04d}-of-{self.count:04d}"

    def share_of_caps(self, max_usd: float | None, max_tokens: int | None) -> tuple[float | None, int | None]:
        """Return an N-th of the caps, for N shards whose caps nobody leases.

        It is at least one token.
        """
        usd = None if max_usd is None else max_usd / self.count
        return usd, None if max_tokens is None else max(1, max_tokens // self.count)

    def holds(self, question_id: str) -> bool:
        """Return whether a question belongs to this shard.

        The 16 hex digits of its content hash decide.
        """
        return int(question_id[:16], 16) % self.count == self.number - 1


def shard_of(folder: Path) -> Shard | None:
    """Return the shard that a folder is named after, or None."""
    match = _FOLDER.fullmatch(folder.name)
    return Shard(int(match[1]), int(match[2])) if match and 1 <= int(match[1]) <= int(match[2]) else None


def shard_folders(folder: Path) -> list[Path]:
    """Return the folders of the shards in a folder, in their order.

    There are none if the folder is itself a run.

    Raises:
        RunFolderError: If there are shards of different splits.
    """
    return [] if (folder / "run.json").exists() else shards_in(folder)


def shards_in(folder: Path) -> list[Path]:
    """Return the folders of the shards in a folder, in their order.

    Everything else in the folder is ignored.

    Raises:
        RunFolderError: If there are shards of different splits.
    """
    if not folder.is_dir():
        return []
    shards = {path: shard for path in folder.iterdir() if (shard := shard_of(path)) and (path / "run.json").exists()}
    counts = sorted({shard.count for shard in shards.values()})
    if len(counts) > 1:
        raise RunFolderError(f"{folder} holds shards of splits into {' and '.join(map(str, counts))}: keep one split")
    return sorted(shards, key=lambda path: shards[path].number)


def joined_info(folder: Path, shards: Sequence[Path], infos: Sequence[JsonObject]) -> tuple[JsonObject, str | None]:
    """Return the `run.json` of all shards together, and what is missing of them.

    Args:
        folder: What holds them.
        shards: Their folders; none for an ordinary run.
        infos: The `run.json` of each, or of the one run.

    Raises:
        RunFolderError: If they are of other configurations.
    """
    if not shards:
        return infos[0], None
    for path, info in zip(shards, infos, strict=True):
        if info.get("config") != infos[0].get("config"):
            raise RunFolderError(f"{path} is of another configuration than {shards[0]}: shards of two runs do not mix")
    first = shard_of(shards[0])
    missing = 0 if first is None else first.count - len(shards)
    info = {**infos[0], "shards": len(shards), "contaminated": any(one.get("contaminated") for one in infos)}
    return info, f"{missing} of {missing + len(shards)} shards are missing in {folder}" if missing else None
