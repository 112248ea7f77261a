"""Whether run folders hold what was written to them.

That is all lines, and in each shard its own questions.

Nothing is read for it a second time: lines are counted, and ids collected, while a run is read.
"""

from collections.abc import Collection, Sequence
from pathlib import Path

from tale_dspy.errors import RunFolderError
from tale_dspy.protocols import JsonObject
from tale_dspy.runs.shards import shard_of

JOURNAL = "calls.jsonl"
"""The journal of calls of a run or a search."""


def counted_records(summary: JsonObject, folder: Path) -> int | None:
    """Return how many records a run had when its `summary.json` was written.

    None if there is no summary, or it does not say so.

    Raises:
        RunFolderError: If the counts are no whole numbers.
    """
    outcomes = summary.get("outcomes")
    if outcomes is None:
        return None
    counts = outcomes.values() if isinstance(outcomes, dict) else (outcomes,)
    if not all(isinstance(count, int) and not isinstance(count, bool) for count in counts):
        raise RunFolderError(f"{folder / 'summary.json'}: outcomes must be whole numbers, got {outcomes!r:.60}")
    return sum(counts)


def check_lines(file: Path, lines: int, counted: int | None, *, exactly: bool = False) -> None:
    """Refuse a file of which lines are missing.

    Args:
        file: `records.jsonl` or `search.jsonl`.
        lines: How many it holds.
        counted: How many `summary.json` beside it counts; None if that is not known.
        exactly: Whether there may be no more either: the run has ended, and nobody adds to it.

    Raises:
        RunFolderError: If it holds fewer, or more.
    """
    if counted is not None and lines > counted and exactly:
        raise RunFolderError(
            f"{file} holds {lines:,} results, and summary.json beside it counts {counted:,} at the end of the run: "
            "lines were added to it"
        )
    if counted is not None and lines < counted:
        raise RunFolderError(
            f"{file} holds {lines:,} results, and summary.json beside it counts {counted:,}: lines are missing; the "
            "command that wrote it asks for them again, and pays for nothing that calls.jsonl holds"
        )


def check_journals(folders: Sequence[Path]) -> None:
    """Refuse folders whose journal of calls is gone.

    What they cost, and what was paid twice, stands nowhere else.

    Every run folder has one from its start, with nothing in it where all answers came from a cache.

    Raises:
        RunFolderError: If one is missing.
    """
    for folder in folders:
        if not (folder / JOURNAL).exists():
            raise RunFolderError(
                f"{folder} has no {JOURNAL}: what was paid twice cannot be told without it; bring the whole folder of "
                "the shard, or delete it and run the shard again"
            )


def check_calls(folder: Path, answers: int, counted: int) -> None:
    """Refuse shards whose journals hold too few answers.

    That is fewer than their records count calls.

    Args:
        folder: What holds them.
        answers: Calls in all journals that were answered, from a cache or not.
        counted: Calls of all records.

    Raises:
        RunFolderError: If lines are missing.
    """
    if answers < counted:
        raise RunFolderError(
            f"the {JOURNAL} of the shards in {folder} hold {answers:,} answered calls, and the records count "
            f"{counted:,}: lines are missing, and what was paid twice cannot be told without them"
        )


def unended_shards(folder: Path, summaries: Sequence[JsonObject]) -> str | None:
    """Say how many shards have not ended, or None.

    A shard that still runs, or was killed, has no summary.

    Args:
        folder: What holds them.
        summaries: Of each shard; an empty one where there is none.
    """
    count = sum(not summary for summary in summaries)
    return f"{count} of {len(summaries)} shards in {folder} have not ended" if count else None


def check_shard_ids(folders: Sequence[Path], ids: Sequence[Collection[bytes]]) -> None:
    """Refuse the folder of a shard that holds answers of others.

    One that holds no other answers is a copy of another shard under its name. Some may be of others as long as those
    hold them, too: then they are counted once.

    Args:
        folders: Any run folders; one that is no shard holds what it likes.
        ids: The questions that each has answers of.

    Raises:
        RunFolderError: If a folder is a copy, of another split, or holds what no other does.
    """
    strays: dict[bytes, Path] = {}
    for folder, held in zip(folders, ids, strict=True):
        shard = shard_of(folder)
        if shard is None:
            continue
        others = [key for key in held if not shard.holds(key.decode())]
        if others and len(others) == len(held):
            raise RunFolderError(
                f"{folder} holds no answer of a question of shard {shard}, but {len(held)} of others: is it a copy?"
            )
        strays |= dict.fromkeys(others, folder)
    for folder, held in zip(folders, ids, strict=True):
        shard = shard_of(folder)
        if strays and shard is not None:
            strays = {key: place for key, place in strays.items() if not shard.holds(key.decode()) or key not in held}
    if strays:
        folder = next(iter(strays.values()))
        raise RunFolderError(
            f"{folder} holds answers to {len(strays)} questions of other shards, which these do not hold: is it of "
            "another split?"
        )


def check_all_answered(folder: Path, shards: int, answers: int, info: JsonObject, draws: object = None) -> None:
    """Refuse shards that have all ended, and miss answers.

    Args:
        folder: What holds them.
        shards: How many there are.
        answers: How many they hold, each counted once.
        info: The `run.json` of all.
        draws: Answers to each question.

    Raises:
        RunFolderError: If there are fewer than questions times draws.
    """
    questions = info.get("config", {}).get("data", {}).get("n")
    if not isinstance(questions, int) or not isinstance(draws, int) or answers >= questions * draws:
        return
    raise RunFolderError(
        f"{folder} holds {answers:,} of {questions * draws:,} answers, though its {shards} shards have ended: is "
        "one of another split?"
    )
