"""The numbers of a run as columns, some 200 bytes a record.

Comparisons and tables of large runs are made from them.

Texts stay in `records.jsonl`; a column holds where each line begins, so that single records can be read. Beside the
records of a large run lies `records.parquet`, written when the run ends (where PyArrow is installed) and used as long
as the records are those it was made from.
"""

import json
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from tale_dspy.errors import BackendError, RunFolderError
from tale_dspy.protocols import JsonObject
from tale_dspy.runs.files import iter_jsonl, require_plain_file
from tale_dspy.runs.record import OUTCOMES, Record

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

RECORDS, COLUMNS = "records.jsonl", "records.parquet"
PARQUET_FROM = 10_000
"""Records from which on columns are stored; fewer are read as fast from their lines."""
ROW_GROUP = 10_000
"""Records of a row group, which are in memory while it is written."""
CORRECT = OUTCOMES.index("correct")

FLOATS = (
    "token_budget",
    "output_tokens",
    "net_tokens",
    "estimate_tokens",
    "prompt_tokens",
    "estimate_prompt_tokens",
    "reasoning_tokens",
    "price_usd",
    "latency_s",
)
"""Columns of numbers; NaN is unknown."""
_FEW_TEXTS = ("outcome", "usage_source", "response_model")
_NO_TEXT = -1


@dataclass(frozen=True)
class TextColumn:
    """A column of few different texts.

    It has a code for each record, -1 where there is none.
    """

    codes: "NDArray[np.int32]"
    texts: tuple[str, ...]

    def counts(self) -> dict[str, int]:
        """Return how many records have each text that occurs."""
        import numpy as np

        counts = np.bincount(self.codes[self.codes >= 0], minlength=len(self.texts)).tolist()
        return {text: count for text, count in zip(self.texts, counts, strict=True) if count}


@dataclass(frozen=True)
class RunColumns:
    """The columns of a run.

    All have one entry a record, in the order of the records.
    """

    ids: "NDArray[np.bytes_]"
    repeat: "NDArray[np.int32]"
    outcome: "NDArray[np.int8]"
    """Index in `OUTCOMES`."""
    cached_calls: "NDArray[np.int32]"
    calls: "NDArray[np.int32]"
    token_budget: "Floats"
    output_tokens: "Floats"
    net_tokens: "Floats"
    """Output tokens with the estimator's, as `Record.net_tokens`."""
    estimate_tokens: "Floats"
    prompt_tokens: "Floats"
    estimate_prompt_tokens: "Floats"
    reasoning_tokens: "Floats"
    """Hidden tokens of native thinking, part of the output tokens."""
    price_usd: "Floats"
    """US dollars, paid or cached, as `Record.price_usd`."""
    latency_s: "Floats"
    usage_source: TextColumn
    response_model: TextColumn
    part: "NDArray[np.int16]"
    """Which of the run's folders holds the record."""
    offset: "Integers"
    """Where its line begins there, in bytes; of a run in memory, its index."""

    def __len__(self) -> int:
        return len(self.repeat)

    @property
    def is_correct(self) -> "NDArray[np.bool_]":
        """Whether each record is right."""
        is_correct: NDArray[np.bool_] = self.outcome == CORRECT
        return is_correct

    def take(self, places: "NDArray[np.int64]") -> "RunColumns":
        """Return the records at these places, in their order; all of them in the order they have are not copied."""
        import numpy as np

        if len(places) == len(self) and np.array_equal(places, np.arange(len(self))):
            return self
        chosen: JsonObject = {}
        for field in fields(self):
            value = getattr(self, field.name)
            is_text = isinstance(value, TextColumn)
            chosen[field.name] = TextColumn(value.codes[places], value.texts) if is_text else value[places]
        return RunColumns(**chosen)

    def question_ids(self) -> "NDArray[np.bytes_]":
        """Return the ids, each once, sorted."""
        import numpy as np

        return np.unique(self.ids)

    def keys(self) -> "NDArray[np.bytes_]":
        """Return a text for each record that names its question and its draw."""
        import numpy as np

        if not self.repeat.any():
            return self.ids
        draws = np.where(self.repeat > 0, np.char.add(b"#", self.repeat.astype("S")), b"")
        return np.char.add(self.ids, draws)


class ColumnBuilder:
    """Collects the columns of records that are read one by one."""

    def __init__(self) -> None:
        self._ids: list[bytes] = []
        self._integers = {name: array("q") for name in ("repeat", "outcome", "cached_calls", "calls", "part", "offset")}
        self._floats = {name: array("d") for name in FLOATS}
        self._texts: dict[str, dict[str, int]] = {"usage_source": {}, "response_model": {}}
        self._codes = {name: array("q") for name in self._texts}

    def add(self, record: Record, part: int = 0, offset: int = 0) -> None:
        """Add one record, and where it was read."""
        self._ids.append(record.id.encode())
        whole = self._integers
        whole["repeat"].append(record.repeat)
        whole["outcome"].append(OUTCOMES.index(record.outcome))
        whole["cached_calls"].append(record.cached_calls)
        whole["calls"].append(record.calls)
        whole["part"].append(part)
        whole["offset"].append(offset)
        for name, column in self._floats.items():
            value = getattr(record, name)
            column.append(_NAN if value is None else value)
        for name, codes in self._codes.items():
            text: str | None = getattr(record, name)
            codes_of = self._texts[name]
            codes.append(_NO_TEXT if text is None else codes_of.setdefault(text, len(codes_of)))

    def columns(self) -> RunColumns:
        """Return what was collected."""
        import numpy as np

        kinds = {"repeat": np.int32, "outcome": np.int8, "part": np.int16, "offset": np.int64}
        whole: JsonObject = {
            name: np.asarray(values, dtype=kinds.get(name, np.int32)) for name, values in self._integers.items()
        }
        numbers: JsonObject = {name: np.asarray(values, dtype=np.float64) for name, values in self._floats.items()}
        texts: JsonObject = {
            name: TextColumn(np.asarray(codes, dtype=np.int32), tuple(self._texts[name]))
            for name, codes in self._codes.items()
        }
        ids = np.array(self._ids or [], dtype="S" if self._ids else "S1")
        return RunColumns(ids=ids, **whole, **numbers, **texts)


_NAN = float("nan")


def columns_of(records: Iterable[Record]) -> RunColumns:
    """Return the columns of records in memory."""
    builder = ColumnBuilder()
    for index, record in enumerate(records):
        builder.add(record, 0, index)
    return builder.columns()


def last_places(keys: "NDArray[np.bytes_]") -> "Integers":
    """Return the last place of each key, in the order of the places."""
    import numpy as np

    _, from_behind = np.unique(keys[::-1], return_index=True)
    return np.sort(len(keys) - 1 - from_behind)


def joined_columns(parts: Sequence[RunColumns]) -> RunColumns:
    """Return the columns of several folders as those of one run."""
    import numpy as np

    if len(parts) == 1:
        return parts[0]
    joined: JsonObject = {}
    for field in fields(RunColumns):
        values = [getattr(part, field.name) for part in parts]
        if isinstance(values[0], TextColumn):
            joined[field.name] = _joined_texts(values)
        elif field.name == "part":
            joined["part"] = np.concatenate([np.full(len(part), n, np.int16) for n, part in enumerate(parts)])
        else:
            joined[field.name] = np.concatenate(values)
    return RunColumns(**joined)


def _joined_texts(columns: Sequence[TextColumn]) -> TextColumn:
    import numpy as np

    texts = tuple(dict.fromkeys(text for column in columns for text in column.texts))
    codes = []
    for column in columns:
        place = np.array([*(texts.index(text) for text in column.texts), _NO_TEXT], dtype=np.int32)
        codes.append(place[column.codes])
    return TextColumn(np.concatenate(codes), texts)


# ---- records.parquet


def fingerprint(records: Path) -> list[int]:
    """Return size and time of the file of records.

    Stored columns are known by them to be of that file.
    """
    about = records.stat()
    return [about.st_size, about.st_mtime_ns]


def write_columns(folder: Path, summary: JsonObject | None, chunk: int = ROW_GROUP) -> bool:
    """Store the columns of a folder's records beside them.

    Say whether PyArrow is there to do it.

    Args:
        folder: The run folder, in which nobody writes any more.
        summary: The state of its `RunSummary`, stored along.
        chunk: Records that are in memory at a time.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        return False
    about = {"tale_dspy": json.dumps({"records": fingerprint(folder / RECORDS), "summary": summary})}
    temporary = folder / f".{COLUMNS}.tmp"
    require_plain_file(temporary)
    schema = _as_table(ColumnBuilder().columns()).schema.with_metadata(about)
    try:
        with pq.ParquetWriter(temporary, schema, use_dictionary=[*_FEW_TEXTS]) as writer:
            builder, rows = ColumnBuilder(), 0
            for offset, record in iter_jsonl(folder / RECORDS, Record.from_json):
                builder.add(record, 0, offset)
                rows += 1
                if rows == chunk:
                    writer.write_table(_as_table(builder.columns()))
                    builder, rows = ColumnBuilder(), 0
            writer.write_table(_as_table(builder.columns()))
        temporary.replace(folder / COLUMNS)
    except (OSError, pa.ArrowException) as e:
        temporary.unlink(missing_ok=True)
        raise BackendError(f"{folder / COLUMNS} cannot be written: {e}") from e
    return True


def _as_table(columns: RunColumns) -> "pa.Table":
    import numpy as np
    import pyarrow as pa

    arrays: JsonObject = {}
    for field in fields(RunColumns):
        value = getattr(columns, field.name)
        if field.name == "ids":
            arrays["id"] = pa.array([key.decode() for key in value.tolist()], pa.string())
        elif field.name == "outcome":
            arrays["outcome"] = pa.array(np.array(OUTCOMES, dtype=object)[value], pa.string())
        elif isinstance(value, TextColumn):
            arrays[field.name] = pa.array(np.array([*value.texts, None], dtype=object)[value.codes], pa.string())
        elif field.name in FLOATS:
            arrays[field.name] = pa.array(value, from_pandas=True)  # NaN becomes null
        else:
            arrays[field.name] = pa.array(value)
    return pa.table(arrays)


def read_columns(folder: Path) -> tuple[RunColumns, JsonObject | None] | None:
    """Read stored columns and the state of their summary.

    The result is None if there are none of the records as they are.

    Raises:
        RunFolderError: If the file is there and broken.
    """
    path = folder / COLUMNS
    require_plain_file(path)
    if not path.is_file():
        return None
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        return None
    try:
        about = json.loads((pq.read_schema(path).metadata or {}).get(b"tale_dspy", b"{}"))
        if about.get("records") != fingerprint(folder / RECORDS):
            return None
        with pq.ParquetFile(path) as file:
            # A row group at a time: Arrow's memory for the whole table, and Python's for its ids, would be doubled.
            groups = [_from_table(file.read_row_group(number)) for number in range(file.num_row_groups)]
        return _joined_groups(groups), about.get("summary")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, pa.ArrowException) as e:
        raise RunFolderError(f"{path} is not what this version writes ({e}): delete it, it is made again") from e


def _joined_groups(groups: list[RunColumns]) -> RunColumns:
    """Join row groups column by column; the list is emptied, so that no column is in memory twice for long."""
    import numpy as np

    pieces = {field.name: [getattr(group, field.name) for group in groups] for field in fields(RunColumns)}
    groups.clear()
    joined: JsonObject = {}
    for name in list(pieces):
        values = pieces.pop(name)
        joined[name] = _joined_texts(values) if isinstance(values[0], TextColumn) else np.concatenate(values)
    return RunColumns(**joined)


def _from_table(table: "pa.Table") -> RunColumns:
    import numpy as np

    kinds = {"repeat": np.int32, "cached_calls": np.int32, "calls": np.int32, "part": np.int16, "offset": np.int64}
    values: JsonObject = {"ids": table["id"].combine_chunks().to_numpy(False).astype("S")}
    for name in FLOATS:
        values[name] = table[name].cast("float64").to_numpy().astype(np.float64)
    for name, kind in kinds.items():
        values[name] = table[name].to_numpy().astype(kind)
    for name in ("usage_source", "response_model", "outcome"):
        chunk = table[name].combine_chunks().dictionary_encode()
        codes = chunk.indices.fill_null(_NO_TEXT).to_numpy(False).astype(np.int32)
        values[name] = TextColumn(codes, tuple(chunk.dictionary.to_pylist()))
    outcome: TextColumn = values["outcome"]
    place = np.array([OUTCOMES.index(text) for text in outcome.texts] or [0], dtype=np.int8)
    values["outcome"] = place[outcome.codes]
    return RunColumns(**values)
