"""A run: everything that decided it, and its finished questions.

They are read from disk when they are needed.

Nothing here calls a model. `Record` is one line of `records.jsonl`; the figures are accumulated in `summary`, the
columns that comparisons use are made in `columns`.
"""

import copy
import importlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from tale_dspy.accounting.calls import total_or_none
from tale_dspy.errors import MissingExtraError, RunFolderError
from tale_dspy.protocols import JsonObject
from tale_dspy.runs.columns import (
    RECORDS,
    ColumnBuilder,
    RunColumns,
    columns_of,
    joined_columns,
    last_places,
)
from tale_dspy.runs.completeness import (
    check_all_answered,
    check_lines,
    check_shard_ids,
    counted_records,
    unended_shards,
)
from tale_dspy.runs.configuration import FORMAT
from tale_dspy.runs.files import iter_jsonl, line_at, read_json, read_jsonl
from tale_dspy.runs.record import OUTCOMES, AnswerOutcome, Record
from tale_dspy.runs.shards import joined_info, shard_folders
from tale_dspy.runs.stored_columns import read_columns
from tale_dspy.runs.summary import RunSummary
from tale_dspy.runs.summary_html import summary_html
from tale_dspy.runs.tuning_folder import is_tuning, tuning_sentence

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = [
    "OUTCOMES",
    "AnswerOutcome",
    "Record",
    "Run",
    "RunComparison",
    "load_run",
    "question_scores",
    "read_json",
    "read_jsonl",
]


class RunComparison(Protocol):
    """The part of a Comparison that `Run.compare` promises.

    Its implementation is `tale_dspy.comparison.compare.Comparison`.
    """

    @property
    def is_budget_saving(self) -> bool: ...

    def to_json(self, *, token_changes: bool = False) -> JsonObject: ...


class RunComparer(Protocol):
    """Compares two runs."""

    def __call__(self, *, baseline: "Run", run: "Run") -> RunComparison: ...


@dataclass(frozen=True)
class RunEnding:
    """How the process that worked on a run ended."""

    stopped: str | None = None
    """Why it ended early (`cap`, `interrupted`), or None."""
    message: str | None = None
    """The sentence that says so."""
    wall_s: float | None = None
    """Seconds it worked on the run."""


class Run:
    """The finished questions of one program on one data set.

    It holds everything that decided the result.

    Args:
        info: The content of `run.json`.
        records: One per finished question and repeat, in file order; None reads them from the folder when they are
            asked for.
        path: The run folder; None for a run that was not written.
        ending: Why it ended early, and after how long.
        parts: The folders that hold the records: `path` itself, or its shards.
        total: What was accumulated while the run was made or read; None accumulates it when it is asked for.
        extra: Further figures of the summary.
    """

    def __init__(
        self,
        info: JsonObject,
        records: Iterable[Record] | None = None,
        path: Path | None = None,
        ending: RunEnding = RunEnding(),
        parts: tuple[Path, ...] | None = None,
        total: RunSummary | None = None,
        extra: JsonObject | None = None,
    ) -> None:
        self.info, self.path = info, path
        self.stopped, self.message, self.wall_s = ending.stopped, ending.message, ending.wall_s
        self.parts = ((path,) if path is not None else ()) if parts is None else parts
        self.extra = extra or {}
        self._records = None if records is None else list(records)
        self._read: list[Record] | None = None
        self._total = total
        self._columns: RunColumns | None = None
        self._lines: tuple[int, ...] = ()
        self.doubled = 0
        self._replaced: frozenset[tuple[int, int]] = frozenset()
        self.part_of_doubled: dict[tuple[str, int], int] = {}

    def __repr__(self) -> str:
        return f"Run({self.name!r}, path={self.path and str(self.path)!r}, stopped={self.stopped!r})"

    @property
    def name(self) -> str:
        return str(self.info.get("program", {}).get("name", "program"))

    def renamed(self, name: str) -> "Run":
        """Return the same run under another name of its program."""
        new = copy.copy(self)
        new.info = {**self.info, "program": {**self.info.get("program", {}), "name": name}}
        new.__dict__.pop("summary", None)
        return new

    @property
    def records(self) -> list[Record]:
        """All records, read from disk if they are not in memory.

        `iter_records` needs no memory.
        """
        if self._records is not None:
            return self._records
        if self._read is None:
            self._read = list(self.iter_records())
        return self._read

    def iter_records(self) -> Iterator[Record]:
        """Yield the records in file order, one at a time.

        An answer that several shards hold is yielded once, as the last of them has it.
        """
        if self._records is not None:
            yield from self._records
            return
        if len(self.parts) > 1 and self._columns is None:
            self._read_columns()
        for part, folder in enumerate(self.parts):
            for offset, record in iter_jsonl(folder / RECORDS, Record.from_json):
                if (part, offset) not in self._replaced:
                    yield record

    def record_at(self, part: int, offset: int) -> Record:
        """Read the record whose place a column gives."""
        if self._records is not None:
            return self._records[offset]
        return Record.from_json(line_at(self.parts[part] / RECORDS, offset))

    @property
    def columns(self) -> RunColumns:
        """The numbers of all records."""
        if self._columns is None:
            self._read_columns()
        assert self._columns is not None
        return self._columns

    @property
    def total(self) -> RunSummary:
        """What the records sum up to."""
        if self._total is None:
            self._read_columns()
        assert self._total is not None
        return self._total

    def _read_columns(self) -> None:
        """Make columns and summary in one pass over the records.

        Stored columns are used instead, if there are any.
        """
        if self._records is not None:
            self._columns = columns_of(self._records)
            self._total = RunSummary().add_all(self._records)
            return
        single = self.info.get("config", {}).get("repeats") == 1
        total, columns = RunSummary(single=single), list[RunColumns]()
        for folder in self.parts:
            part, summary = read_part(folder, single=single)
            columns.append(part)
            total.merge(summary)
        self._lines = tuple(map(len, columns))
        check_shard_ids(self.parts, [part.ids for part in columns])
        self._columns, self._total = joined_columns(columns), total
        if len(self.parts) > 1:
            self._count_once()

    def _count_once(self) -> None:
        """Count an answer that several shards hold once, the last of them.

        Nothing is read again where there is none.
        """
        import numpy as np

        columns = self.columns
        keys = columns.keys()
        last = last_places(keys)
        self.doubled = len(columns) - len(last)
        if not self.doubled:
            return
        replaced = np.setdiff1d(np.arange(len(columns)), last)
        parts, offsets = columns.part[replaced].tolist(), columns.offset[replaced].tolist()
        self._replaced = frozenset(zip(parts, offsets, strict=True))
        again = last[np.isin(keys[last], keys[replaced])]
        ids, repeats, parts = (column[again].tolist() for column in (columns.ids, columns.repeat, columns.part))
        self.part_of_doubled |= {
            (i.decode(), repeat): part for i, repeat, part in zip(ids, repeats, parts, strict=True)
        }
        total = RunSummary(single=self.info.get("config", {}).get("repeats") == 1)
        total.add_all(self.iter_records())
        self._columns, self._total = columns.take(last), total

    @property
    def accuracy(self) -> float | None:
        """Share of questions answered right (mean over repeats first), or None."""
        accuracy: float | None = self.summary["accuracy"]
        return accuracy

    @cached_property
    def summary(self) -> JsonObject:
        """The figures of the run, as `tale eval --json` prints them."""
        config = self.info.get("config", {})
        return {
            "program": self.name,
            "model": config.get("model"),
            "data": config.get("data", {}).get("name"),
            **self.total.figures(),
            "wall_s": self.wall_s,
            "stopped": self.stopped,
            "run_dir": str(self.path) if self.path else None,
            **self.extra,
        }

    def to_pandas(self) -> "DataFrame":
        """Return the records as a data frame.

        It has a row for each answer and a column for each field of `Record`.

        Raises:
            MissingExtraError: If pandas is not installed.
        """
        try:
            import pandas
        except ImportError as e:
            raise MissingExtraError("pandas", "data") from e
        return pandas.DataFrame([r.to_json() for r in self.records], columns=[f.name for f in fields(Record)])

    def _repr_html_(self) -> str:
        """Show the figures of the run in a notebook."""
        return summary_html(self.summary, str(self.info.get("provenance") or ""))

    def compare(self, other: "Run") -> RunComparison:
        """Compare two runs question by question.

        `self` is the new run, `other` the baseline.

        Returns:
            A `Comparison`: paired differences (`self` minus `other`) on the questions both have.

        Raises:
            UsageError: If the runs share no question.
        """
        # Comparison stands a floor above runs; this door is the one import that goes upwards, and it is by name.
        comparison: RunComparer = importlib.import_module("tale_dspy.comparison.compare").compare
        return comparison(baseline=other, run=self)


def read_part(folder: Path, *, single: bool) -> tuple[RunColumns, RunSummary]:
    """Read columns and summary of one folder of records.

    Args:
        folder: A run folder, or a shard of one.
        single: Whether its questions have one draw each.
    """
    stored = read_columns(folder)
    columns, state = stored or (None, None)
    if columns is not None and state is not None:
        latencies = columns.latency_s
        return columns, RunSummary.from_state(state, latencies[latencies == latencies])
    builder, summary = ColumnBuilder(), RunSummary(single=single)
    for offset, record in iter_jsonl(folder / RECORDS, Record.from_json):
        builder.add(record, 0, offset)
        summary.add(record)
    return builder.columns(), summary


def load_run(path: str | Path) -> Run:
    """Read a run folder, or a folder of shards as one run.

    A last line that was cut off by a kill is left out. `wall_s` and `stopped` come from `summary.json` if it is there.
    Every line is checked; what is kept of it in memory are numbers.

    Args:
        path: The folder that `evaluate(out=...)` or `tale eval --out` wrote.

    Raises:
        RunFolderError: If it is not a run folder but, say, that of a tuning, a line of it is broken, or its shards do
            not belong together.
    """
    folder = Path(path)
    shards = shard_folders(folder)
    if not shards and not (folder / "run.json").exists() and is_tuning(folder):
        raise RunFolderError(tuning_sentence(folder))
    parts = tuple(shards) or (folder,)
    infos = [checked_info(part) for part in parts]
    info, missing = joined_info(folder, shards, infos)
    if "search" in info.get("config", {}):
        hint = "`tale merge` makes one search of its shards" if shards else "its questions have no answers of a run"
        raise RunFolderError(f"{folder} is the folder of a search, and no run: {hint}")
    summaries = [read_json(part / "summary.json") if (part / "summary.json").exists() else {} for part in parts]
    running = unended_shards(folder, summaries) if shards else None
    stops = [missing, *(_text_of(summary, "stopped", folder) for summary in summaries), running]
    walls = [_number_of(summary, "wall_s", folder) for summary in summaries]
    run = Run(
        info,
        path=folder,
        ending=RunEnding(
            stopped=next((stop for stop in stops if stop), None),
            wall_s=total_or_none(walls),
        ),
        parts=parts,
    )
    run._read_columns()
    counts = [counted_records(summary, part) for part, summary in zip(parts, summaries, strict=True)]
    for part, lines, counted in zip(parts, run._lines, counts, strict=True):
        check_lines(part / RECORDS, lines, counted, exactly=not shards and run.stopped is None)
    if not shards and not summaries[0]:
        run.stopped = _unended(run)
    if shards and run.stopped is None:
        check_all_answered(folder, len(shards), len(run.columns), info, info.get("config", {}).get("repeats"))
    return run


def _unended(run: Run) -> str:
    """Say that a run was killed or goes on, and how far it came."""
    config = run.info.get("config", {})
    n_asked, repeats = config.get("data", {}).get("n"), config.get("repeats", 1)
    total = f" of {n_asked * repeats:,}" if isinstance(n_asked, int) and isinstance(repeats, int) else ""
    return f"it was killed or is still going on, with {len(run.columns):,}{total} answers"


def checked_info(folder: Path) -> JsonObject:
    """Read `run.json`.

    Raises:
        RunFolderError: If it is missing, of another format, or a part of it is no object.
    """
    info = read_json(folder / "run.json")
    if info.get("format", FORMAT) != FORMAT:
        raise RunFolderError(f"{folder} has format {info['format']!r:.60}, this version reads {FORMAT}")
    config = info.get("config", {})
    data = config.get("data", {}) if isinstance(config, dict) else {}
    for name, value in (("program", info.get("program", {})), ("config", config), ("config.data", data)):
        if not isinstance(value, dict):
            raise RunFolderError(f"{folder / 'run.json'}: {name} must be an object, got {value!r:.60}")
    return info


def _number_of(summary: JsonObject, name: str, folder: Path) -> float | None:
    value = summary.get(name)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise RunFolderError(f"{folder / 'summary.json'}: {name} must be a number or null, got {value!r:.60}")
    return value


def _text_of(summary: JsonObject, name: str, folder: Path) -> str | None:
    value = summary.get(name)
    if value is not None and not isinstance(value, str):
        raise RunFolderError(f"{folder / 'summary.json'}: {name} must be text or null, got {value!r:.60}")
    return value


def question_scores(records: Iterable[Record]) -> dict[str, float]:
    """Share of right draws of each question: 0 or 1 without repeats."""
    draws: dict[str, list[bool]] = defaultdict(list)
    for r in records:
        draws[r.id].append(r.correct)
    return {k: sum(v) / len(v) for k, v in draws.items()}
