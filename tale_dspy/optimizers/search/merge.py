"""Merge the searches of shards into one.

The folder that holds them becomes that of one search.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tale_dspy.optimizers.search.folder import SearchFolder
from tale_dspy.optimizers.search.records import SEARCH_FILE, SearchRow, counted_questions, read_summary
from tale_dspy.optimizers.search.summary import search_summary
from tale_dspy.protocols import JsonObject
from tale_dspy.runs.completeness import (
    JOURNAL,
    check_all_answered,
    check_journals,
    check_lines,
    check_shard_ids,
    unended_shards,
)
from tale_dspy.runs.files import iter_jsonl, replace_json
from tale_dspy.runs.records import checked_info
from tale_dspy.runs.shards import joined_info


@dataclass(frozen=True)
class MergedSearch:
    """The searches of shards as one."""

    summary: JsonObject
    """As `summary.json` of the folder holds it."""
    doubled_results: int
    """Results that stood in more than one shard; the last one counts."""


def merge_searches(out: Path, shards: Sequence[Path]) -> MergedSearch | None:
    """Write the results of all shards as one search.

    Their rows and costs are added to what the folder holds already. Each question and each call is there once, however
    often this is done.

    Args:
        out: The folder of the whole search.
        shards: The folders of the shards; none leaves everything as it is, and returns None.

    Raises:
        RunFolderError: If they are of other configurations or splits, miss results or a journal, or are copies; or if
            `out` is in use or holds something else.
        BackendError: If it cannot be written.
    """
    if not shards:
        return None
    check_journals(shards)
    info, missing = joined_info(out, shards, [checked_info(shard) for shard in shards])
    summaries = [read_summary(shard) for shard in shards]
    unfinished = missing or unended_shards(out, summaries) or _stopped_shards(out, summaries)
    doubled = _check_shards(out, shards, summaries, None if unfinished else info)
    path = out / "run.json"
    if not path.exists():
        replace_json(path, {**info, "shards": None})
    folder = SearchFolder(out, info)
    try:
        parts = [out, *shards]
        rows = {(row["predictor"], row["id"]): row for row in _rows(parts, SEARCH_FILE)}
        folder.rewrite(SEARCH_FILE, rows.values())
        folder.rewrite(JOURNAL, _once(_rows(parts, JOURNAL)))
        found = [SearchRow.from_json(row) for row in rows.values()]
        seconds = sum(float(summary.get("wall_s") or 0.0) for summary in summaries)
        summary = search_summary(info, found, *folder.cost(), seconds, out)
        stopped = {"stopped": unfinished, "message": unfinished}
        folder.replace("summary.json", {**summary, **stopped})
        return MergedSearch({**summary, **stopped}, doubled)
    finally:
        folder.close()


def _stopped_shards(out: Path, summaries: Sequence[JsonObject]) -> str | None:
    words = [summary["stopped"] for summary in summaries if summary.get("stopped") is not None]
    cause = "were stopped by a cap" if set(words) == {"cap"} else "did not end by themselves"
    return f"{len(words)} of {len(summaries)} shards in {out} {cause}" if words else None


def _check_shards(out: Path, shards: Sequence[Path], summaries: Sequence[JsonObject], info: JsonObject | None) -> int:
    """Refuse shards that miss results or hold those of others.

    It returns how many results stand in several shards.

    Args:
        out: The folder of all shards.
        shards: Their folders.
        summaries: Of each; empty where there is none.
        info: The `run.json` of all, where all have ended; None where results are still to come.
    """
    held = []
    for shard, summary in zip(shards, summaries, strict=True):
        keys = [(str(row["predictor"]), str(row["id"])) for row in _rows([shard], SEARCH_FILE)]
        check_lines(shard / SEARCH_FILE, len(keys), counted_questions(summary, shard))
        held.append(keys)
    check_shard_ids(shards, [{key.encode() for _, key in keys} for keys in held])
    every = {key for keys in held for key in keys}
    if info is not None:
        for count in Counter(predictor for predictor, _ in every).values() or [0]:
            check_all_answered(out, len(shards), count, info, 1)
    return sum(map(len, held)) - len(every)


def _rows(parts: Sequence[Path], name: str) -> Iterator[dict[str, Any]]:
    checked: Callable[[JsonObject], dict[str, Any]] = _checked_row if name == SEARCH_FILE else dict
    for part in parts:
        for _, row in iter_jsonl(part / name, checked):
            yield row


def _checked_row(row: dict[str, Any]) -> dict[str, Any]:
    """Return a line as it is, keys of later versions included.

    One that is none of a search is refused.
    """
    SearchRow.from_json(row)
    return row


def _once(rows: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Leave out lines that were there before; a hash of each is in memory."""
    seen: set[int] = set()
    for row in rows:
        key = hash(json.dumps(row, sort_keys=True))
        if key not in seen:
            seen.add(key)
            yield row
