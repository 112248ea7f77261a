"""A run, its shards or a search as one Parquet file.

It has a column for each field of their lines, texts included.

Lines are read in chunks, so that memory does not grow with the run. Values that are no number, truth value or text
(inputs, gold of several parts, trials of a search) are JSON.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from itertools import islice
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin, get_type_hints

from tale_dspy.errors import BackendError, MissingExtraError, RunFolderError
from tale_dspy.optimizers.search.records import SEARCH_FILE, SearchRow
from tale_dspy.output_paths import check_file
from tale_dspy.runs.files import iter_jsonl
from tale_dspy.runs.record import Record
from tale_dspy.runs.records import load_run

if TYPE_CHECKING:
    import pyarrow as pa

CHUNK = 20_000
"""Lines that are in memory at a time."""


def write_parquet(source: Path, out: Path) -> list[Path]:
    """Write the records of a run, or the rows of a search, as one table.

    The records of all shards of a run are included; an answer that several shards hold stands there once.

    Args:
        source: A run folder, a folder of shards, or the folder of a search.
        out: The file to write.

    Raises:
        UsageError: If another file is there.
        RunFolderError: If the folder holds neither.
        MissingExtraError: If PyArrow is not installed.
        BackendError: If the file cannot be written.
    """
    check_file(out, "Parquet file", b"PAR1")
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as e:
        raise MissingExtraError("pyarrow", "data") from e
    is_search = (source / SEARCH_FILE).is_file()
    kinds = _kinds_of(SearchRow if is_search else Record)
    lines = _search_lines(source) if is_search else map(Record.to_json, load_run(source).iter_records())
    schema = pa.schema([(name, _arrow_type(kind)) for name, kind in kinds.items()])
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(f".{out.name}.tmp")
    try:
        with pq.ParquetWriter(temporary, schema) as writer:
            for rows in _chunks(lines):
                writer.write_table(_table(rows, kinds, schema))
        temporary.replace(out)
    except (OSError, pa.ArrowException) as e:
        temporary.unlink(missing_ok=True)
        raise BackendError(f"{out} cannot be written: {e}") from e
    return [out]


def _kinds_of(row: type) -> dict[str, type]:
    """Return the kind of each column: int, float, bool, or str (also for JSON)."""
    hints = get_type_hints(row)
    return {field.name: _kind(hints[field.name]) for field in fields(row)}


def _kind(hint: Any) -> type:
    parts = set(get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)) - {NoneType}
    for kind in (bool, int):
        if parts == {kind}:
            return kind
    return float if parts <= {int, float} else str


def _arrow_type(kind: type) -> "pa.DataType":
    import pyarrow as pa

    return {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.string()}[kind]


def _search_lines(folder: Path) -> Iterator[dict[str, Any]]:
    for _, row in iter_jsonl(folder / SEARCH_FILE, dict):
        yield row


def _chunks(rows: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    remaining = iter(rows)
    while chunk := list(islice(remaining, CHUNK)):
        yield chunk


def _table(rows: Sequence[dict[str, Any]], kinds: dict[str, type], schema: "pa.Schema") -> "pa.Table":
    import pyarrow as pa

    columns = [[_cell(row.get(name), kind, name) for row in rows] for name, kind in kinds.items()]
    return pa.table(dict(zip(kinds, columns, strict=True)), schema=schema)


def _cell(value: Any, kind: type, name: str) -> Any:
    if value is None:
        return None
    if kind is str:
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if isinstance(value, bool) != (kind is bool) or not isinstance(value, int | float):
        raise RunFolderError(f"{name} is {value!r:.60}, which none of this version writes")
    return kind(value)
