"""The content of a folder: runs, searches, tunings and trained adapters."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from tale_dspy.accounting.calls import total_or_none
from tale_dspy.backends.local.files import TRAINING_FILE
from tale_dspy.comparison.formatting import number
from tale_dspy.errors import RunFolderError, UsageError
from tale_dspy.reports.report_table import UNKNOWN, ReportTable, TableColumn
from tale_dspy.reports.search_run import is_search
from tale_dspy.reports.training_run import is_training, is_unfinished_training, load_training
from tale_dspy.runs.records import read_json
from tale_dspy.runs.shards import shard_folders
from tale_dspy.runs.tuning_folder import (
    CHOSEN_RUN,
    FRESH_SUFFIX,
    PROGRAM_FILE,
    fresh_folders,
    is_tuning,
    trial_folders,
)

_MAX_FIGURE = 2**53
"""Up to here a float holds each whole number."""


@dataclass(frozen=True, kw_only=True)
class FolderEntry:
    """One run, search, tuning or trained adapter.

    A figure is None where it is unknown, as in a run that is not finished.
    """

    path: str
    """Relative to the folder that was listed."""
    kind: str
    """`run`, `search`, `tuning`, `training`, or `unreadable`."""
    name: str
    """Program, sampler, number of trials, or strategy."""
    model: str | None = None
    data: str | None = None
    n: int | None = None
    accuracy: float | None = None
    output_tokens: float | None = None
    cost_usd: float | None = None
    created: str | None = None
    """Day, as ISO 8601 writes it."""
    status: str
    """`finished`, `unfinished`, or why it stopped."""


def list_folder(folder: Path, *, with_inner_runs: bool = False) -> list[FolderEntry]:
    """List the runs, searches, tunings and adapters in a folder and below it.

    They come in the order of their paths.

    Args:
        folder: The folder.
        with_inner_runs: Whether the runs that a search or a tuning has made for itself, and shards, are listed, too.
            Those of `folder` itself always are.

    Raises:
        UsageError: If it is no folder.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder")
    return [_read_entry(folder, path) for path in _iterate_entries(folder, with_inner_runs=with_inner_runs)]


def _iterate_entries(folder: Path, *, with_inner_runs: bool, is_root: bool = True) -> Iterator[Path]:
    """Yield the folders that are listed."""
    is_run = (folder / "run.json").is_file() or _has_shards(folder)
    is_adapter = is_training(folder) or is_unfinished_training(folder)
    if is_run or is_adapter or is_search(folder) or is_tuning(folder):
        yield folder
        if not is_root and not with_inner_runs:
            return
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.is_symlink() and not path.name.startswith("."):
            yield from _iterate_entries(path, with_inner_runs=with_inner_runs, is_root=False)


def _read_entry(root: Path, path: Path) -> FolderEntry:
    place = str(path.relative_to(root))
    try:
        if is_training(path):
            return _training_entry(place, path)
        if is_unfinished_training(path):
            return _unfinished_entry(place, path)
        if is_tuning(path):
            return _tuning_entry(place, path)
        if _has_shards(path):
            return _sharded_entry(place, path)
        info = read_json(path / "run.json") if (path / "run.json").is_file() else {}
        summary = read_json(path / "summary.json") if (path / "summary.json").is_file() else None
        return _run_entry(place, "search" if is_search(path) else "run", info, summary)
    except RunFolderError as e:
        return FolderEntry(path=place, kind="unreadable", name=UNKNOWN, status=str(e))


def _training_entry(place: str, path: Path) -> FolderEntry:
    card = load_training(path).card
    test = card.get("gate")
    return FolderEntry(
        path=place,
        kind="training",
        name=str(card.get("strategy")),
        model=_as_text(card.get("base")),
        created=_as_day(card.get("created")),
        status="not tested" if not isinstance(test, Mapping) else str(test.get("outcome")),
    )


def _unfinished_entry(place: str, path: Path) -> FolderEntry:
    config = _as_mapping(read_json(path / TRAINING_FILE).get("config"))
    return FolderEntry(
        path=place,
        kind="training",
        name=_as_text(config.get("strategy")) or UNKNOWN,
        model=_as_text(config.get("base")),
        status="unfinished",
    )


def _tuning_entry(place: str, path: Path) -> FolderEntry:
    """Summarise a tuning: the cost of all its runs, and the chosen program.

    The figures of the program are those on fresh questions.
    """
    trials = trial_folders(path)
    folders = [*trials, *fresh_folders(path)]
    chosen = _read_figures(path / CHOSEN_RUN)
    first = read_json(folders[0] / "run.json")
    costs = [_as_number(_read_figures(run).get("cost_usd")) for run in folders]
    entry = _run_entry(place, "tuning", first, chosen)
    count = sum(not run.name.endswith(FRESH_SUFFIX) for run in trials)
    return replace(
        entry,
        name=f"{count} trial{'' if count == 1 else 's'}" if count else "instructions",
        cost_usd=total_or_none(costs),
        status="finished" if (path / PROGRAM_FILE).is_file() else "unfinished",
    )


def _has_shards(path: Path) -> bool:
    """Return whether a folder holds shards and is no run itself."""
    return not (path / "run.json").exists() and any(path.glob("shard-*-of-*/run.json"))


def _sharded_entry(place: str, path: Path) -> FolderEntry:
    """Summarise a run in shards: its figures are those of `tale merge`."""
    shards = shard_folders(path)
    info = read_json(shards[0] / "run.json")
    kind = "search" if is_search(path) or _as_mapping(info.get("config")).get("search") else "run"
    summary = _read_figures(path) or None
    entry = _run_entry(place, kind, info, summary)
    name = f"{entry.name}, {len(shards)} shard{'' if len(shards) == 1 else 's'}"
    return replace(entry, name=name, status="not merged" if summary is None and kind == "run" else entry.status)


def _read_figures(path: Path) -> Mapping[str, object]:
    return read_json(path / "summary.json") if (path / "summary.json").is_file() else {}


def _run_entry(place: str, kind: str, info: Mapping[str, object], summary: Mapping[str, object] | None) -> FolderEntry:
    config = _as_mapping(info.get("config"))
    figures = summary or {}
    stopped = figures.get("stopped")
    name = (
        _as_mapping(info.get("program")).get("name")
        if kind == "run"
        else _as_mapping(config.get("search")).get("sampler")
    )
    n = _as_number(figures.get("n"))
    return FolderEntry(
        path=place,
        kind=kind,
        name=_as_text(name) or UNKNOWN,
        model=_as_text(config.get("model")),
        data=_as_text(_as_mapping(config.get("data")).get("name")),
        n=None if n is None else round(n),
        accuracy=_as_number(figures.get("accuracy")),
        output_tokens=_as_number(figures.get("output_tokens_mean")),
        cost_usd=_as_number(figures.get("cost_usd")),
        created=_as_day(info.get("created")),
        status="unfinished" if summary is None else f"stopped: {stopped}" if stopped else "finished",
    )


def _as_mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _as_number(value: object) -> float | None:
    """Return a figure; None where the file holds anything that cannot be one."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return value if 0 <= value <= _MAX_FIGURE else None


def _as_text(value: object) -> str | None:
    return None if value is None else str(value)


def _as_day(value: object) -> str | None:
    return value[:10] if isinstance(value, str) else None


def listing_table(entries: list[FolderEntry]) -> ReportTable[FolderEntry]:
    """Make the table of a folder's entries."""
    columns = [
        TableColumn[FolderEntry]("Folder", lambda e: e.path, {"path": lambda e: e.path}, is_text=True),
        TableColumn[FolderEntry]("Kind", lambda e: e.kind, {"kind": lambda e: e.kind}, is_text=True),
        TableColumn[FolderEntry]("What", lambda e: e.name, {"name": lambda e: e.name}, is_text=True),
        TableColumn[FolderEntry]("Model", lambda e: e.model or UNKNOWN, {"model": lambda e: e.model}, is_text=True),
        TableColumn[FolderEntry]("Data", lambda e: e.data or UNKNOWN, {"data": lambda e: e.data}, is_text=True),
        TableColumn[FolderEntry]("n", lambda e: number(e.n, 0), {"n": lambda e: e.n}),
        TableColumn[FolderEntry](
            "Right %",
            lambda e: number(e.accuracy, scale=100),
            {"accuracy": lambda e: e.accuracy},
        ),
        TableColumn[FolderEntry](
            "Tokens", lambda e: number(e.output_tokens), {"output_tokens": lambda e: e.output_tokens}
        ),
        TableColumn[FolderEntry]("USD", lambda e: number(e.cost_usd, 4), {"cost_usd": lambda e: e.cost_usd}),
        TableColumn[FolderEntry]("Day", lambda e: e.created or UNKNOWN, {"created": lambda e: e.created}, is_text=True),
        TableColumn[FolderEntry]("Status", lambda e: e.status, {"status": lambda e: e.status}, is_text=True),
    ]
    return ReportTable(columns, entries)


WIDE = 120
"""Columns of a terminal that the listing needs with a column for each thing; on a narrower one names share a cell."""


def screen_listing(entries: list[FolderEntry], width: int) -> ReportTable[FolderEntry]:
    """Make the table of a folder's entries for a terminal of `width` columns."""
    table = listing_table(entries).known()
    if width >= WIDE:
        path = TableColumn[FolderEntry](
            "Folder", lambda e: "\n".join(_path_lines(e.path, 26)), {"path": lambda e: e.path}, is_text=True
        )
        return replace(table, columns=[path, *table.columns[1:]])
    named = ("Folder", "Kind", "What", "Model", "Data", "Day")
    folder = TableColumn[FolderEntry]("Folder", _names, {"path": lambda e: e.path}, is_text=True)
    return replace(table, columns=[folder, *(column for column in table.columns if column.name not in named)])


def _path_lines(path: str, width: int) -> list[str]:
    """Break a path after `/` and `-`, where it is longer than a line."""
    lines = [""]
    for part in re.findall(r"[^/-]*[/-]*", path):
        if len(lines[-1]) + len(part) > width and lines[-1]:
            lines.append("")
        lines[-1] += part
    return lines


def _names(entry: FolderEntry) -> str:
    """Write what an entry is, a line for each thing that is known."""
    lines = [
        "\n".join(_path_lines(entry.path, 32)),
        f"{entry.name} ({entry.kind})",
        entry.model,
        ", ".join(filter(None, [entry.data, entry.created])),
    ]
    return "\n".join(filter(None, lines))
