"""Rows as they were written, from files and from the Hugging Face hub.

Each row knows its file and line, for error messages.

This room reads and refuses. It never runs code that comes with data, and does not know what a question is
(`tale_dspy.datasets` does).
"""

import csv
import functools
import io
import itertools
import json
import keyword
import math
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from tale_dspy.errors import DataError, MissingExtraError


class Row(NamedTuple):
    """One row, its cells by column."""

    where: str
    """File and line, or row, as messages name them."""
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Table:
    """The rows of a file or of one split of a hub set.

    Raises:
        DataError: If there are none.
    """

    label: str
    """What messages call it: the path as the user wrote it."""
    name: str
    """Of a file without its folder, of a hub set with its split."""
    source: str
    split: str
    rows: list[Row]

    def __post_init__(self) -> None:
        if not self.rows:
            raise DataError(f"{self.label} has no rows")

    @functools.cached_property
    def columns(self) -> list[str]:
        """Return all columns, in the order in which they first come."""
        return list(dict.fromkeys(column for row in self.rows for column in row.values))

    def find(self, wanted: str) -> str | None:
        """Return the column of that name.

        Else it is one that differs in case, or was renamed to it.
        """
        if wanted in self.columns:
            return wanted
        return next((c for c in self.columns if field_name(c.casefold()) == field_name(wanted.casefold())), None)

    def cells(self, fields: Mapping[str, str]) -> list[dict[str, Any]]:
        """Return the given columns of every row under their field names.

        A row that lacks one is refused.
        """
        for row in self.rows:
            for column in fields:
                if is_missing(row.values.get(column)):
                    raise DataError(f"{row.where}: row without {column}")
        return [{field: row.values[column] for column, field in fields.items()} for row in self.rows]


def is_missing(value: Any) -> bool:
    """Return whether a cell holds nothing: None, blank text or NaN."""
    if isinstance(value, float):
        return math.isnan(value)  # how pandas writes an empty cell
    return value is None or (isinstance(value, str) and not value.strip())


@functools.cache
def _reserved() -> frozenset[str]:
    """Return the names that DSPy or a module of this library takes for itself."""
    import dspy

    attributes = {"reasoning", "output_tokens", "estimate_tokens", "receipt"}
    arguments = {"self", "base", "lm", "config", "demos", "signature", "new_signature", "prediction", "completions"}
    return frozenset({*attributes, *arguments, *dir(dspy.Example), *dir(dspy.Signature), *dir(type(dspy.Signature))})


def field_name(column: str) -> str:
    """Return the field a column becomes.

    It is the column's own name if Python and DSPy can take it.
    """
    name = unicodedata.normalize("NFKC", column)  # as Python reads names: a signature is parsed by its grammar
    if not name.isidentifier() or name.startswith("_"):
        words = "".join(c if f"a{c}".isidentifier() else "_" for c in name)
        name = re.sub("_+", "_", words).strip("_").lower()
    # A digit first, fields that dspy.Example hides, and the prefixes pydantic keeps for itself.
    if not name.isidentifier() or name.startswith(("dspy_", "model_dump", "model_validate")):
        name = f"column_{name}"
    return f"{name}_" if keyword.iskeyword(name) or name in _reserved() else name


def names_a_file(path: str) -> bool:
    """Return whether a path leads to a file or folder, or ends as a table's does."""
    expanded = os.path.expanduser(path)
    return os.path.exists(expanded) or _ending(expanded) in _READERS


def _ending(path: str) -> str:
    return os.path.splitext(path)[1].lower()


def read_file(path: str) -> Table:
    """Read a .jsonl, .json, .csv, .tsv or .parquet file.

    Raises:
        DataError: If there is no such file, or it or one of its rows cannot be read; names the line.
        MissingExtraError: If it is a parquet file and pyarrow is not installed.
    """
    expanded = os.path.expanduser(path)
    ending = _ending(expanded)
    if os.path.isdir(expanded):
        raise DataError(f"{path} is a folder: name one of its files ({', '.join(ENDINGS)})")
    if not os.path.exists(expanded):
        raise DataError(f"{path} does not exist")
    if not os.path.isfile(expanded):
        raise DataError(f"{path} is a pipe or a device, and questions are read more than once: save them in a file")
    if ending not in _READERS:
        raise DataError(f"{path} has the unknown extension {ending!r}: known are {', '.join(ENDINGS)}")
    try:
        with open(expanded, "rb") as file:
            data = file.read()
    except OSError as e:
        raise DataError(f"{path} cannot be read: {e.strerror}") from e
    file_name = os.path.basename(expanded)
    return Table(path, file_name, file_name, "all", _READERS[ending](path, data))


def _text(path: str, data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        line = data.count(b"\n", 0, e.start) + 1
        raise DataError(f"{path}:{line}: not UTF-8 (byte 0x{data[e.start]:02x}): save the file as UTF-8") from None


def rows_of_lines(path: str, data: bytes, first: int = 1) -> list[Row]:
    """Read the rows of JSON lines.

    `first` is the number of the first line in its file.
    """
    # Not splitlines(): it would cut at the U+2028 that JSON allows inside a string.
    lines = enumerate(_text(path, data).split("\n"), first)
    return [_row(f"{path}:{n}", _parse(path, line, n)) for n, line in lines if line.strip()]


def _read_json(path: str, data: bytes) -> list[Row]:
    text = _text(path, data)
    if re.match(r"\s*\{[^\n]*\}[ \t\r]*\n\s*\{", text):  # JSON lines, as pandas and datasets write them under this name
        return rows_of_lines(path, data)
    value = _parse(path, text) if text.strip() else []
    if isinstance(value, dict) and _holds_columns(value):
        raise DataError(
            f"{path} holds columns and not rows: write one object per row, as df.to_json(orient='records') does"
        )
    rows = value if isinstance(value, list) else [value]
    return [_row(f"{path}, row {n}", row) for n, row in enumerate(rows, 1)]


def _holds_columns(value: dict[str, Any]) -> bool:
    """Return whether a JSON object is a table by columns, and no row.

    pandas writes such tables by default.
    """
    columns = list(value.values())
    if len(columns) < 2 or not all(isinstance(column, list | dict) and column for column in columns):
        return False
    if len({type(column) for column in columns}) > 1:
        return False
    return len({len(c) if isinstance(c, list) else tuple(c) for c in columns}) == 1


def _parse(path: str, text: str, line: int | None = None) -> Any:
    where = path if line is None else f"{path}:{line}"

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        _refuse_twice(where, (key for key, _ in pairs))
        return dict(pairs)

    try:
        return json.loads(text, object_pairs_hook=unique)
    except DataError:
        raise
    except json.JSONDecodeError as e:
        at = e.lineno if line is None else line
        raise DataError(f"{path}:{at}: not JSON: {e.msg}, column {e.colno}") from None
    except (ValueError, RecursionError) as e:  # a number of thousands of digits, brackets thousands deep
        raise DataError(f"{where}: not JSON that can be read: {e}") from None


def _row(where: str, value: Any) -> Row:
    if not isinstance(value, dict):
        raise DataError(f"{where}: a row must be a JSON object, got {type(value).__name__}")
    return Row(where, value)


def _refuse_twice(where: str, columns: Iterable[str]) -> None:
    twice = [column for column, n in Counter(columns).items() if n > 1]
    if twice:
        raise DataError(f"{where}: column {twice[0]!r} appears twice")


_HEADER_CHARS = 100_000  # of a file whose separator is looked for


def _read_csv(path: str, data: bytes, delimiter: str = ",") -> list[Row]:
    # The limit is the process's. It stays raised: setting it back would break a reader in another thread.
    csv.field_size_limit(max(csv.field_size_limit(), 2**31 - 1))
    text = _text(path, data)
    first = re.sub(r'"[^"\n]*"', "", text[:_HEADER_CHARS].partition("\n")[0])  # without what is quoted
    if delimiter == "," and ";" in first and "," not in first:
        raise DataError(f"{path}:1: its cells are separated by ';': save it as CSV with commas, or as .tsv with tabs")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header: list[str] = []
    rows, line = [], 1
    try:
        for cells in reader:
            where, line = f"{path}:{line}", reader.line_num + 1
            if not header:
                header = [cell.strip() for cell in cells]
                _refuse_twice(where, filter(None, header))
            elif any(cells[len(header) :]):
                raise DataError(f"{where}: {len(cells)} cells, but the header has {len(header)}")
            elif cells:
                pairs = itertools.zip_longest(header, cells[: len(header)])  # a short row lacks its last cells
                rows.append(Row(where, {column: cell for column, cell in pairs if column}))
    except csv.Error as e:
        raise DataError(f"{path}:{line}: not CSV: {e}") from None
    return rows


def _read_parquet(path: str, data: bytes) -> list[Row]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingExtraError("pyarrow", "data") from None
    try:
        table = pyarrow.parquet.ParquetFile(io.BytesIO(data)).read()
    except (OSError, pyarrow.ArrowException) as e:
        raise DataError(f"{path} is no parquet file that can be read: {_sentence(e)}") from None
    _refuse_twice(path, table.column_names)
    return [Row(f"{path}, row {n}", row) for n, row in enumerate(table.to_pylist(), 1)]


_READERS: dict[str, Callable[[str, bytes], list[Row]]] = {
    ".jsonl": rows_of_lines,
    ".json": _read_json,
    ".csv": _read_csv,
    ".tsv": functools.partial(_read_csv, delimiter="\t"),
    ".parquet": _read_parquet,
}

ENDINGS = tuple(_READERS)
"""The endings of the files that can be read."""


def read_hub(name: str) -> Table:
    """Read a set from the Hugging Face hub.

    Its name is `hf:owner/name:split` or `hf:owner/name/config:split`.

    Raises:
        DataError: If the name has another shape or the set cannot be loaded.
        MissingExtraError: If `datasets` is not installed.
    """
    part = r"\w[\w.-]*"
    match = re.fullmatch(rf"hf:({part}(?:/{part})?)(?:/({part}))?(?::(.+))?", name)
    if not match:
        raise DataError(f"{name!r} must be hf:owner/name:split or hf:owner/name/config:split")
    repo, config, split = match.groups()
    return download(repo, config, split)


def download(repo: str, config: str | None, split: str | None) -> Table:
    """Load a set of the hub through `datasets`.

    Without a split it must have only one.
    """
    try:
        import datasets
    except ImportError:
        raise MissingExtraError("datasets", "data") from None
    try:
        loaded: Any = datasets.load_dataset(repo, config, split=split)
        if split is None and len(loaded) == 1:
            ((split, loaded),) = loaded.items()
        rows = [] if split is None else [Row(f"{repo}, row {n}", dict(row)) for n, row in enumerate(loaded, 1)]
    # The boundary to `datasets`: beside its own errors, those of the network, file and image libraries come through.
    except Exception as e:
        raise DataError(f"hf:{repo} could not be loaded: {type(e).__name__}: {_sentence(e)}") from e
    if split is None:
        raise DataError(f"hf:{repo} has several splits: name one, as in hf:{repo}:{next(iter(loaded))}")
    name = ":".join(filter(None, (f"hf:{repo}" + (f"/{config}" if config else ""), split)))
    return Table(name, name, repo, split, rows)


def _sentence(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 300 else text[:300] + " ..."
