"""The columns of a large run, stored beside its records as `records.parquet`.

They are written when the run ends (where PyArrow is installed), and used as long as the records are those they were
made from. They are written and read a row group at a time.
"""

import json
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tale_dspy.errors import BackendError, RunFolderError
from tale_dspy.protocols import JsonObject
from tale_dspy.runs.columns import FLOATS, NO_TEXT, RECORDS, ColumnBuilder, RunColumns, TextColumn, joined_texts
from tale_dspy.runs.files import iter_jsonl, require_plain_file
from tale_dspy.runs.record import OUTCOMES, Record

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = "records.parquet"
PARQUET_FROM = 10_000
"""Records from which on columns are stored; fewer are read as fast from their lines."""
ROW_GROUP = 10_000
"""Records of a row group, which are in memory while it is written or read."""
_FEW_TEXTS = ("outcome", "usage_source", "response_model")


def fingerprint(records: Path) -> list[int]:
    """Return size and time of the file of records.

    Stored columns are used only if they were made from a file with the same ones.
    """
    about = records.stat()
    return [about.st_size, about.st_mtime_ns]


def write_columns(folder: Path, summary: JsonObject | None, chunk: int = ROW_GROUP) -> bool:
    """Store the columns of a folder's records beside them.

    It returns whether PyArrow, which it takes, is installed.

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
    few_texts: Any = [*_FEW_TEXTS]  # pyarrow's stubs know no list here
    try:
        with pq.ParquetWriter(temporary, schema, use_dictionary=few_texts) as writer:
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

    It returns None if there are none for the present records.

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
    """Join row groups column by column.

    The list is emptied, so that no column is in memory twice for long.
    """
    import numpy as np

    pieces = {field.name: [getattr(group, field.name) for group in groups] for field in fields(RunColumns)}
    groups.clear()
    joined: JsonObject = {}
    for name in list(pieces):
        values = pieces.pop(name)
        joined[name] = joined_texts(values) if isinstance(values[0], TextColumn) else np.concatenate(values)
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
        codes = chunk.indices.fill_null(NO_TEXT).to_numpy(False).astype(np.int32)
        values[name] = TextColumn(codes, tuple(chunk.dictionary.to_pylist()))
    outcome: TextColumn = values["outcome"]
    place = np.array([OUTCOMES.index(text) for text in outcome.texts] or [0], dtype=np.int8)
    values["outcome"] = place[outcome.codes]
    return RunColumns(**values)
