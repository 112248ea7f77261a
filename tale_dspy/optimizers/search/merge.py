"""Merge the searches of shards into one.

The folder that holds them becomes that of one search.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tale_dspy.optimizers.search.folder import SearchFolder
from tale_dspy.optimizers.search.records import SEARCH_FILE
from tale_dspy.runs.files import cannot_write, iter_jsonl, read_json, require_plain_file
from tale_dspy.runs.shards import joined_info


def merge_searches(out: Path, shards: Sequence[Path]) -> None:
    """Write the results of all shards as one search.

    Their rows and costs are added to what the folder holds already. Each question and each call is there once, however
    often this is done.

    Args:
        out: The folder of the whole search.
        shards: The folders of the shards; none leaves everything as it is.

    Raises:
        RunFolderError: If they are of other configurations, or `out` is in use.
        BackendError: If it cannot be written.
    """
    if not shards:
        return
    info, _ = joined_info(out, shards, [read_json(shard / "run.json") for shard in shards])
    path = out / "run.json"
    if not path.exists():
        require_plain_file(path)
        try:
            path.write_text(json.dumps({**info, "shards": None}, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        except OSError as e:
            raise cannot_write(path, e) from e
    folder = SearchFolder(out, read_json(path))
    try:
        parts = [out, *shards]
        rows = {(row["predictor"], row["id"]): row for row in _rows(parts, SEARCH_FILE)}
        folder.rewrite(SEARCH_FILE, rows.values())
        folder.rewrite("calls.jsonl", _once(_rows(parts, "calls.jsonl")))
    finally:
        folder.close()


def _rows(parts: Sequence[Path], name: str) -> Iterator[dict[str, Any]]:
    for part in parts:
        for _, row in iter_jsonl(part / name, dict):
            yield row


def _once(rows: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Leave out lines that were there before; a hash of each is in memory."""
    seen: set[int] = set()
    for row in rows:
        key = hash(json.dumps(row, sort_keys=True))
        if key not in seen:
            seen.add(key)
            yield row
