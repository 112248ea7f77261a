"""Whether a folder belongs to the run that is to be written there."""

import json
from collections import defaultdict
from pathlib import Path

from tale_dspy.errors import RunFolderError
from tale_dspy.protocols import JsonObject
from tale_dspy.runs.columns import RECORDS
from tale_dspy.runs.files import read_json
from tale_dspy.runs.shards import shard_of, shards_in

FORMAT = 1
"""Of run folders, in `run.json`."""


def check_same_config(path: Path, old: JsonObject, new: JsonObject) -> None:
    """Refuse to go on with a run in the folder of another.

    Args:
        path: The folder.
        old: Its `run.json`.
        new: What that must hold.

    Raises:
        RunFolderError: If it is of another format, or its `config` differs; the differences are named.
    """
    if old.get("format") != FORMAT:
        raise RunFolderError(f"{path} has format {old.get('format')!r}, this version reads {FORMAT}")
    before, now = _flatten(old.get("config", {})), _flatten(json.loads(json.dumps(new["config"], default=str)))
    changed = sorted(k for k in before.keys() | now.keys() if before.get(k) != now.get(k))
    if changed:
        differences = "; ".join(
            f"{k} was {_short_json(before.get(k))}, now {_short_json(now.get(k))}" for k in changed[:4]
        )
        raise RunFolderError(f"{path} holds a run of another configuration ({differences}): give another folder")


def check_neighbours(shard: Path, info: JsonObject) -> None:
    """Refuse a new shard that could not be merged, before it costs anything.

    Raises:
        RunFolderError: If the folder of all shards is a run itself, or holds shards of another split or configuration.
    """
    out = shard.parent
    if (out / RECORDS).exists():
        raise RunFolderError(f"{out} is a run of all questions: a shard in it would not be read; give another folder")
    others = shards_in(out)
    first = shard_of(others[0]) if others else None
    own = shard_of(shard)
    if first is None or own is None:
        return
    if first.count != own.count:
        raise RunFolderError(
            f"{out} is split into {first.count} shards already, and {own} is of another split: give /{first.count} or "
            "another folder"
        )
    check_same_config(others[0], read_json(others[0] / "run.json"), info)


def _flatten(value: object, prefix: str = "") -> JsonObject:
    if not isinstance(value, dict):
        return {prefix: value}
    flat: JsonObject = defaultdict()
    for k, v in value.items():
        flat.update(_flatten(v, f"{prefix}.{k}" if prefix else str(k)))
    return flat


def _short_json(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "..."
