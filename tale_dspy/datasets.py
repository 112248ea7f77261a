"""Questions with known answers: GSM8K, GSM8K-Zero, MathBench, GPQA, any file or hub set -> `dspy.Example`.

This room reads rows, checks each one, and names the prompt form and signature that fit them. It ships no data, never
runs code that comes with data, and does not judge replies (`tale_dspy.answers` does).
"""

import csv
import difflib
import functools
import hashlib
import io
import json
import keyword
import math
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from tale_dspy.answers import gold_from_gsm8k
from tale_dspy.errors import DataError, MissingExtraError, UsageError

if TYPE_CHECKING:
    import dspy

Form = Literal["answer", "choice", "choice-zh", "cloze", "cloze-zh", "gpqa"]
Kind = Literal["auto", "number", "choice", "text"]


@dataclass(frozen=True)
class Dataset:
    """Questions in file order, with what a program and a judge must know about them."""

    name: str
    """The canonical name (`mathbench-middle-cn`), the file's name or the `hf:` name: never a whole path."""
    examples: list["dspy.Example"]
    """One per row, inputs marked; repeated rows are separate questions."""
    form: Form
    """The prompt form of `tale_dspy.prompts` these questions were written for."""
    signature: str
    """`question -> answer`, `question -> choice`, or all inputs of a user's table: `context, question -> label`."""
    gold: str
    """The field that holds the right answer: the output of `signature`."""
    kind: Kind
    """How `tale_dspy.answers` compares a reply with the gold."""
    split: str
    """`train`, `test`, or another split of a hub set; `all` for a file."""
    source: str
    """Where the rows came from: a file's name or a hub id."""

    def __len__(self) -> int:
        return len(self.examples)

    def take(self, offset: int = 0, limit: int | None = None) -> "Dataset":
        """Return the questions from `offset` on, at most `limit` of them.

        Args:
            offset: How many questions to leave out at the start.
            limit: How many to keep at most; None keeps the rest.

        Raises:
            UsageError: If a number is out of range or no question is left.
        """
        if offset < 0:
            raise UsageError(f"offset must not be negative, got {offset}")
        if limit is not None and limit < 1:
            raise UsageError(f"limit must be at least 1, got {limit}")
        if offset >= len(self):
            raise UsageError(f"offset {offset} leaves none of the {len(self)} questions of {self.name}")
        return replace(self, examples=self.examples[offset : None if limit is None else offset + limit])


def load_dataset(
    name: str | os.PathLike[str], *, inputs: Sequence[str] | None = None, gold: str | None = None, seed: int = 0
) -> Dataset:
    """Load a named set, a set of the Hugging Face hub, or a file.

    Named sets (`gsm8k`, `gsm8k-train`, `gsm8k-zero`, `mathbench-SET[-cn]`, `gpqa`; no matter the case) are looked up
    in the folder `$TALE_DATA`, then on the hub. A file's columns that are no inputs and not the gold are dropped; a
    GSM8K gold is cut down to what follows `####`; with a gold of single letters, a column `options` is written into
    the question, as for MathBench. A column becomes a field of its own name; one that Python or DSPy could not take
    is renamed: `Question Text` -> `question_text`, `class` -> `class_`. Column names match without case.

    Args:
        name: A named set, `hf:owner/name:split`, `hf:owner/name/config:split`, or the path of a .jsonl, .json, .csv,
            .tsv or .parquet file.
        inputs: Columns the program is given; default `question`. A string is split at commas.
        gold: Column of the right answer; default the first there is of `answer`, `choice`, `gold`, `target`, `label`.
        seed: Decides the order of GPQA's options, for each row on its own, whatever the order of the rows.

    Raises:
        DataError: If the name is unknown, or the file or one of its rows cannot be used; names the line.
        MissingExtraError: If a hub set or a parquet file is asked for without the library that reads it.
    """
    name = os.fspath(name)
    wanted = [part.strip() for part in inputs.split(",")] if isinstance(inputs, str) else inputs
    key = _key(name)
    if key in _ALIASES:
        if list(wanted or ["question"]) != ["question"] or gold not in (None, "answer", "choice"):
            raise DataError(f"{name} has fixed columns: inputs and gold are for files and hf: sets")
        return _load_named(_ALIASES[key], seed)
    if name.startswith("hf:"):
        return _load_table(_hub_table(name), wanted, gold, seed)
    if key.split(":")[0] == "embedded":
        raise DataError(f"{name} is not here yet: known are {', '.join(_NAMED)}")
    return _load_table(_file_table(name), wanted, gold, seed)


# ---- tables: rows as they were written, each with the place to name when it is wrong


class _Row(NamedTuple):
    where: str
    values: Mapping[str, Any]


@dataclass(frozen=True)
class _Table:
    label: str
    """What messages call it: the path as the user wrote it."""
    name: str
    source: str
    split: str
    rows: list[_Row]

    @functools.cached_property
    def columns(self) -> list[str]:
        return list(dict.fromkeys(column for row in self.rows for column in row.values))

    def find(self, wanted: str) -> str | None:
        """Return the column of that name, or else one that differs in case or was renamed to it."""
        if wanted in self.columns:
            return wanted
        return next((c for c in self.columns if _field(c).casefold() == _field(wanted).casefold()), None)

    def cells(self, fields: Mapping[str, str]) -> list[dict[str, Any]]:
        """Return the given columns of every row under their field names; a row that lacks one is refused."""
        for row in self.rows:
            for column in fields:
                if _is_missing(row.values.get(column)):
                    raise DataError(f"{row.where}: row without {column}")
        return [{field: row.values[column] for column, field in fields.items()} for row in self.rows]


def _is_missing(value: Any) -> bool:
    if isinstance(value, float):
        return math.isnan(value)  # how pandas writes an empty cell
    return value is None or (isinstance(value, str) and not value.strip())


def _file_table(path: str) -> _Table:
    expanded = os.path.expanduser(path)
    suffix = os.path.splitext(expanded)[1].lower()
    if not os.path.isfile(expanded):
        if os.path.isdir(expanded):
            raise DataError(f"{path} is a folder: name one of its files ({', '.join(_READERS)})")
        if suffix in _READERS or os.path.dirname(path):
            raise DataError(f"{path} does not exist")
        close = difflib.get_close_matches(path.lower(), _ALIASES, cutoff=0.7)
        hint = f" (did you mean {' or '.join(close)}?)" if close else ""
        raise DataError(f"{path!r} is no file and no known set{hint}: known are {', '.join(_NAMED)}, hf:owner/name:split")
    if suffix not in _READERS:
        raise DataError(f"{path} has the unknown extension {suffix!r}: known are {', '.join(_READERS)}")
    try:
        with open(expanded, "rb") as file:
            data = file.read()
    except OSError as e:
        raise DataError(f"{path} cannot be read: {e.strerror}") from e
    rows = _READERS[suffix](path, data)
    if not rows:
        raise DataError(f"{path} has no rows")
    file_name = os.path.basename(expanded)
    return _Table(path, file_name, file_name, "all", rows)


def _text(path: str, data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        line = data.count(b"\n", 0, e.start) + 1
        raise DataError(f"{path}:{line}: not UTF-8 (byte 0x{data[e.start]:02x}): save the file as UTF-8") from None


def _read_jsonl(path: str, data: bytes) -> list[_Row]:
    # Not splitlines(): it would cut at the U+2028 that JSON allows inside a string.
    lines = enumerate(_text(path, data).split("\n"), 1)
    return [_row(f"{path}:{n}", _parse(path, line, n)) for n, line in lines if line.strip()]


def _read_json(path: str, data: bytes) -> list[_Row]:
    text = _text(path, data).strip()
    if re.match(r"\{[^\n]*\}\s*\n\s*\{", text):  # what pandas and datasets write as .json by default
        return _read_jsonl(path, data)
    value = _parse(path, text, 1) if text else []
    rows = value if isinstance(value, list) else [value]
    return [_row(f"{path}, row {n}", row) for n, row in enumerate(rows, 1)]


def _parse(path: str, text: str, line: int) -> Any:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        _refuse_twice(f"{path}:{line}", [k for k, _ in pairs])
        return dict(pairs)

    try:
        return json.loads(text, object_pairs_hook=unique)
    except DataError:
        raise
    except json.JSONDecodeError as e:
        raise DataError(f"{path}:{line + e.lineno - 1}: not JSON: {e.msg}, column {e.colno}") from None
    except (ValueError, RecursionError) as e:  # a number of thousands of digits, or thousands of brackets
        raise DataError(f"{path}:{line}: not JSON that can be read: {e}") from None


def _row(where: str, value: Any) -> _Row:
    if not isinstance(value, dict):
        raise DataError(f"{where}: a row must be a JSON object, got {type(value).__name__}")
    return _Row(where, value)


def _refuse_twice(where: str, columns: Iterable[str]) -> None:
    twice = [column for column, n in Counter(columns).items() if n > 1]
    if twice:
        raise DataError(f"{where}: column {twice[0]!r} appears twice")


def _read_csv(path: str, data: bytes, delimiter: str = ",") -> list[_Row]:
    # The limit is the process's. It stays raised: setting it back would break a reader in another thread.
    csv.field_size_limit(max(csv.field_size_limit(), 2**31 - 1))
    reader = csv.reader(io.StringIO(_text(path, data), newline=""), delimiter=delimiter, strict=True)
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
                rows.append(_Row(where, {c: v for c, v in zip(header, cells, strict=False) if c}))
    except csv.Error as e:
        raise DataError(f"{path}:{line}: not CSV: {e}") from None
    return rows


def _read_parquet(path: str, data: bytes) -> list[_Row]:
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
    return [_Row(f"{path}, row {n}", row) for n, row in enumerate(table.to_pylist(), 1)]


_READERS = {
    ".jsonl": _read_jsonl,
    ".json": _read_json,
    ".csv": _read_csv,
    ".tsv": functools.partial(_read_csv, delimiter="\t"),
    ".parquet": _read_parquet,
}


def _hub_table(name: str) -> _Table:
    part = r"\w[\w.-]*"
    match = re.fullmatch(rf"hf:({part}(?:/{part})?)(?:/({part}))?(?::(.+))?", name)
    if not match:
        raise DataError(f"{name!r} must be hf:owner/name:split or hf:owner/name/config:split")
    repo, config, split = match.groups()
    return _download(repo, config, split)


def _download(repo: str, config: str | None, split: str | None) -> _Table:
    try:
        import datasets
    except ImportError:
        raise MissingExtraError("datasets", "data") from None
    try:
        loaded = datasets.load_dataset(repo, config, split=split)
        if split is None and len(loaded) == 1:
            ((split, loaded),) = loaded.items()
        rows = [] if split is None else [_Row(f"{repo}, row {n}", dict(row)) for n, row in enumerate(loaded, 1)]
    # The boundary to `datasets`: beside its own errors, those of the network, file and image libraries come through.
    except Exception as e:
        raise DataError(f"hf:{repo} could not be loaded: {type(e).__name__}: {_sentence(e)}") from e
    if split is None:
        raise DataError(f"hf:{repo} has several splits: name one, as in hf:{repo}:{next(iter(loaded))}")
    if not rows:
        raise DataError(f"hf:{repo} has no rows in {split}")
    name = ":".join(filter(None, (f"hf:{repo}" + (f"/{config}" if config else ""), split)))
    return _Table(name, name, repo, split, rows)


def _sentence(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 300 else text[:300] + " ..."


# ---- named sets


class _Named(NamedTuple):
    name: str
    form: Form
    kind: Kind
    split: str
    files: tuple[str, ...]
    """File names under $TALE_DATA; the first that is there is taken."""
    hub: tuple[str, str | None, str] | None = None
    """Repository, config and split on the hub."""


_MATHBENCH = (
    "arithmetic-cloze_en primary-cloze_cn primary-cloze_en "
    "primary_knowledge-single_choice_cn primary_knowledge-single_choice_en "
    "middle-single_choice_cn middle-single_choice_en middle_knowledge-single_choice_cn "
    "middle_knowledge-single_choice_en high-single_choice_cn high-single_choice_en "
    "high_knowledge-single_choice_cn high_knowledge-single_choice_en college-single_choice_cn "
    "college-single_choice_en college_knowledge-single_choice_cn college_knowledge-single_choice_en"
).split()


def _mathbench(stem: str) -> _Named:
    subject, style = stem.split("-")
    chinese = style.endswith("_cn")
    name = f"mathbench-{subject}" + ("-cn" if chinese else "")
    if style.startswith("cloze"):
        # "auto" and not "number": 35 golds of the arithmetic set are fractions.
        return _Named(name, "cloze-zh" if chinese else "cloze", "auto", "test", (f"mathbench/{stem}.jsonl",))
    return _Named(name, "choice-zh" if chinese else "choice", "choice", "test", (f"mathbench/{stem}.jsonl",))


def _gpqa_set(name: str, *subsets: str) -> _Named:
    files = tuple(f"{subset}.{suffix}" for subset in subsets for suffix in ("csv", "jsonl"))
    return _Named(name, "gpqa", "choice", "test", files, ("Idavidrein/gpqa", subsets[0], "train"))


_NAMED = {
    spec.name: spec
    for spec in (
        _Named("gsm8k", "answer", "number", "test", ("gsm8k_test.jsonl",), ("openai/gsm8k", "main", "test")),
        _Named("gsm8k-train", "answer", "number", "train", ("gsm8k_train.jsonl",), ("openai/gsm8k", "main", "train")),
        _Named("gsm8k-zero", "answer", "number", "test", ("gsm8k_zero.jsonl",), ("dcml0714/GSM8K-Zero", None, "test")),
        *map(_mathbench, _MATHBENCH),
        _gpqa_set("gpqa", "gpqa_diamond", "gpqa_main", "gpqa"),
        _gpqa_set("gpqa-diamond", "gpqa_diamond"),
        _gpqa_set("gpqa-main", "gpqa_main"),
        _gpqa_set("gpqa-extended", "gpqa_extended"),
    )
}


def _key(name: str) -> str:
    return name.strip().lower().replace("_", "-")


def _aliases() -> dict[str, str]:
    names = {_key(name): name for name in _NAMED} | {"gsm8k-test": "gsm8k"}
    for stem in _MATHBENCH:
        name = _mathbench(stem).name
        names[_key(f"mathbench-{stem}")] = name
        names[_key(name.removesuffix("-cn") + ("-zh" if name.endswith("-cn") else "-en"))] = name
    return names


_ALIASES = _aliases()


def _find_named(spec: _Named) -> _Table:
    folder = os.environ.get("TALE_DATA")
    for file in spec.files if folder else ():
        path = os.path.join(str(folder), file)
        if os.path.isfile(path):
            return _file_table(path)._replace(split=spec.split)
    needed = f"set TALE_DATA to a folder with {' or '.join(spec.files)}" + (f" ({folder} has none)" if folder else "")
    if spec.hub is None:
        raise DataError(f"{spec.name} is not here and not on the hub: {needed}")
    try:
        return _download(*spec.hub)._replace(split=spec.split)
    except (DataError, MissingExtraError) as e:
        raise DataError(f"{spec.name} is not here: {needed}, or pip install 'tale-dspy[data]' with network: {e}") from e


def _load_named(name: str, seed: int) -> Dataset:
    spec = _NAMED[name]
    table = _find_named(spec)
    if spec.form == "gpqa":
        return _gpqa(name, table, seed)
    cells = table.cells({"question": "question", "answer": "answer"})
    if spec.kind == "choice":
        cells = _inline_options(table, cells, "question", "answer", "options")
    elif spec.form == "answer":
        cells = [cell | {"answer": gold_from_gsm8k(cell["answer"])} for cell in cells]
    else:
        cells = [{field: text.strip() for field, text in cell.items()} for cell in cells]
    gold = "choice" if spec.kind == "choice" else "answer"
    return Dataset(
        name, _examples(cells, ["question"]), spec.form, f"question -> {gold}", gold, spec.kind, spec.split, table.source
    )
