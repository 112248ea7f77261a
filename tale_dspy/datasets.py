"""Questions with known answers: GSM8K, GSM8K-Zero, MathBench, GPQA, any file or hub set -> `dspy.Example`.

This room reads rows, checks each one, and names the prompt form and signature that fit them. It ships no data, never
runs code that comes with data, and does not judge replies (`tale_dspy.answers` does).
"""

import csv
import dataclasses
import difflib
import functools
import hashlib
import io
import itertools
import json
import keyword
import math
import os
import re
import reprlib
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from tale_dspy.answers import Kind, gold_from_gsm8k
from tale_dspy.errors import DataError, MissingExtraError, UsageError

if TYPE_CHECKING:
    import dspy

Form = Literal["answer", "choice", "choice-zh", "cloze", "cloze-zh", "gpqa"]


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
        return dataclasses.replace(self, examples=self.examples[offset : None if limit is None else offset + limit])


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
        if wanted is not None or gold is not None:
            raise DataError(f"{name} has fixed columns: inputs and gold are for files and hf: sets")
        return _load_named(_NAMED[_ALIASES[key]], seed)
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

    def __post_init__(self) -> None:
        if not self.rows:
            raise DataError(f"{self.label} has no rows")

    @functools.cached_property
    def columns(self) -> list[str]:
        return list(dict.fromkeys(column for row in self.rows for column in row.values))

    def find(self, wanted: str) -> str | None:
        """Return the column of that name, or else one that differs in case or was renamed to it."""
        if wanted in self.columns:
            return wanted
        return next((c for c in self.columns if _field(c.casefold()) == _field(wanted.casefold())), None)

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
        if suffix in _READERS:
            raise DataError(f"{path} does not exist")
        close = difflib.get_close_matches(_key(path), _ALIASES, cutoff=0.7)
        hint = f" (did you mean {' or '.join(close)}?)" if close else ""
        known = ", ".join([*_NAMED, "hf:owner/name:split", *(f"a file ending in {end}" for end in _READERS)])
        raise DataError(f"{path!r} is no file and no known set{hint}: known are {known}")
    if suffix not in _READERS:
        raise DataError(f"{path} has the unknown extension {suffix!r}: known are {', '.join(_READERS)}")
    try:
        with open(expanded, "rb") as file:
            data = file.read()
    except OSError as e:
        raise DataError(f"{path} cannot be read: {e.strerror}") from e
    file_name = os.path.basename(expanded)
    return _Table(path, file_name, file_name, "all", _READERS[suffix](path, data))


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
    text = _text(path, data)
    if re.match(r"\s*\{[^\n]*\}[ \t\r]*\n\s*\{", text):  # JSON lines, as pandas and datasets write them under this name
        return _read_jsonl(path, data)
    value = _parse(path, text) if text.strip() else []
    rows = value if isinstance(value, list) else [value]
    return [_row(f"{path}, row {n}", row) for n, row in enumerate(rows, 1)]


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
                pairs = itertools.zip_longest(header, cells[: len(header)])  # a short row lacks its last cells
                rows.append(_Row(where, {column: cell for column, cell in pairs if column}))
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


_READERS: dict[str, Callable[[str, bytes], list[_Row]]] = {
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
        loaded: Any = datasets.load_dataset(repo, config, split=split)
        if split is None and len(loaded) == 1:
            ((split, loaded),) = loaded.items()
        rows = [] if split is None else [_Row(f"{repo}, row {n}", dict(row)) for n, row in enumerate(loaded, 1)]
    # The boundary to `datasets`: beside its own errors, those of the network, file and image libraries come through.
    except Exception as e:
        raise DataError(f"hf:{repo} could not be loaded: {type(e).__name__}: {_sentence(e)}") from e
    if split is None:
        raise DataError(f"hf:{repo} has several splits: name one, as in hf:{repo}:{next(iter(loaded))}")
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


_LEVELS = (
    "primary_knowledge",
    *(level + kind for level in ("middle", "high", "college") for kind in ("", "_knowledge")),
)
_MATHBENCH = (
    *("arithmetic-cloze_en", "primary-cloze_en", "primary-cloze_cn"),
    *(f"{level}-single_choice_{language}" for level in _LEVELS for language in ("en", "cn")),
)


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
    folder = os.environ.get("TALE_DATA", "")
    paths = [os.path.join(folder, file) for file in spec.files] if folder else []
    for path in filter(os.path.isfile, paths):
        return _file_table(path)
    needed = f"set TALE_DATA to a folder with {' or '.join(spec.files)}" + (f" ({folder} has none)" if folder else "")
    if spec.hub is None:
        raise DataError(f"{spec.name} is not here and not on the hub: {needed}")
    try:
        return _download(*spec.hub)
    except (DataError, MissingExtraError) as e:
        raise DataError(f"{spec.name} is not here: {needed}, or pip install 'tale-dspy[data]' with network: {e}") from e


def _load_named(spec: _Named, seed: int) -> Dataset:
    table = dataclasses.replace(_find_named(spec), name=spec.name, split=spec.split)
    if spec.form == "gpqa":
        return _gpqa(table, seed)
    cells = table.cells({"question": "question", "answer": "answer"})
    gold = "answer"
    if spec.kind == "choice":
        cells, gold = _with_options(table, "options", cells, "question", "answer"), "choice"
    elif spec.form == "answer":
        golds = [_gsm8k_gold(row.where, cell["answer"]) for row, cell in zip(table.rows, cells, strict=True)]
        cells = [cell | {"answer": answer} for cell, answer in zip(cells, golds, strict=True)]
    else:
        cells = [{field: str(value).strip() for field, value in cell.items()} for cell in cells]
    return _dataset(table, cells, gold, spec.form, spec.kind)


# ---- rows -> examples


def _dataset(table: _Table, cells: list[dict[str, Any]], gold: str, form: Form, kind: Kind) -> Dataset:
    import dspy

    inputs = [field for field in cells[0] if field != gold]
    examples = [dspy.Example(cell).with_inputs(*inputs) for cell in cells]
    return Dataset(
        name=table.name,
        examples=examples,
        form=form,
        signature=f"{', '.join(inputs)} -> {gold}",
        gold=gold,
        kind=kind,
        split=table.split,
        source=table.source,
    )


_GOLDS = ("answer", "choice", "gold", "target", "label")
_LETTERS = "ABCDEFGHIJ"


def _load_table(table: _Table, inputs: Sequence[str] | None, gold: str | None, seed: int) -> Dataset:
    if inputs is None and gold is None and set(_GPQA) <= set(table.columns):
        return _gpqa(table, seed)
    fields = _choose_columns(table, ["question"] if inputs is None else inputs, _GOLDS if gold is None else [gold])
    cells = table.cells(fields)
    *questions, answer = fields.values()
    options = table.find("options")
    if options in fields:
        options = None
    letters = all(isinstance(cell[answer], str) and cell[answer].strip().upper() in tuple(_LETTERS) for cell in cells)
    if options and (letters or answer == "choice") and "choice" not in questions:
        question = "question" if "question" in questions else questions[-1]
        return _dataset(table, _with_options(table, options, cells, question, answer), "choice", "choice", "choice")
    if options and inputs is None:
        raise DataError(
            f"{table.label} has {options}, but its {list(fields)[-1]} is not always one letter A-J: "
            f"name the inputs, as in inputs=['question', '{options}']"
        )
    cells = [
        cell | {answer: _final_answer(row.where, cell[answer])} for row, cell in zip(table.rows, cells, strict=True)
    ]
    if answer == "choice":
        return _dataset(table, cells, answer, "choice", "choice" if letters else "auto")
    return _dataset(table, cells, answer, "answer", "auto")


def _choose_columns(table: _Table, inputs: Sequence[str], golds: Sequence[str]) -> dict[str, str]:
    """Return the field of each chosen column: the inputs, then the first gold there is."""
    columns = {name: table.find(name) for name in [*inputs, *golds]}
    found = f"{table.label} has the columns {', '.join(table.columns)}"
    for name in inputs:
        if columns[name] is None:
            raise DataError(f"{found}: there is no input {name!r} (inputs= names others)")
    gold = next((name for name in golds if columns[name] and (len(golds) == 1 or name not in inputs)), None)
    if gold is None:
        raise DataError(f"{found}: there is no {' or '.join(map(repr, golds))} (gold= names another)")
    chosen = [*inputs, gold]
    fields = {str(columns[name]): _field(name) for name in chosen}
    if not inputs or len(fields) < len(chosen) or len(set(fields.values())) < len(chosen):
        raise DataError(f"inputs {list(inputs)} and gold {gold!r} must be at least two different columns")
    return fields


@functools.cache
def _reserved() -> frozenset[str]:
    """Return the names that DSPy or a module of this library takes for itself."""
    import dspy

    own = {"reasoning", "output_tokens", "estimate_tokens", "receipt"}
    arguments = {"self", "base", "lm", "config", "demos", "signature", "new_signature", "prediction", "completions"}
    return frozenset({*own, *arguments, *dir(dspy.Example), *dir(dspy.Signature), *dir(type(dspy.Signature))})


def _field(column: str) -> str:
    """Return the field a column becomes: its own name if Python and DSPy can take it."""
    name = unicodedata.normalize("NFKC", column)  # as Python reads names: a signature is parsed by its grammar
    if not name.isidentifier() or name.startswith("_"):
        words = "".join(c if f"a{c}".isidentifier() else "_" for c in name)
        name = re.sub("_+", "_", words).strip("_").lower()
    # A digit first, fields that dspy.Example hides, and the prefixes pydantic keeps for itself.
    if not name.isidentifier() or name.startswith(("dspy_", "model_dump", "model_validate")):
        name = f"column_{name}"
    return f"{name}_" if keyword.iskeyword(name) or name in _reserved() else name


def _final_answer(where: str, value: Any) -> Any:
    """Cut a GSM8K gold down to what follows its last `####`; a longer text that has headings stays whole."""
    if not isinstance(value, str) or "####" not in value or "\n" in value.rpartition("####")[2].strip():
        return value
    return _gsm8k_gold(where, value)


def _gsm8k_gold(where: str, value: Any) -> str:
    try:
        return gold_from_gsm8k(value)
    except DataError as e:
        raise DataError(f"{where}: {e}") from None


def _with_options(
    table: _Table, column: str, cells: list[dict[str, Any]], question: str, gold: str
) -> list[dict[str, Any]]:
    """Write the options into the question as the paper's code does: `A. ...` lines, each with its newline."""
    done = []
    for row, cell in zip(table.rows, cells, strict=True):
        options = _options(row, column)
        letters = _LETTERS[: len(options)]
        choice = str(cell[gold]).strip().upper()
        if choice not in tuple(letters):
            got = reprlib.repr(cell[gold])
            raise DataError(f"{row.where}: {gold} must be one of the letters {letters}, got {got}")
        lines = "".join(f"{letter}. {option}\n" for letter, option in zip(letters, options, strict=True))
        inputs = {field: value for field, value in cell.items() if field != gold}
        done.append(inputs | {question: f"{str(cell[question]).strip()}\n{lines}", "choice": choice})
    return done


def _options(row: _Row, column: str) -> list[Any]:
    value = row.values.get(column)
    if _is_missing(value):
        raise DataError(f"{row.where}: row without {column}")
    if isinstance(value, str):  # a table without lists, such as a CSV, may hold them as JSON
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            value = None
    if isinstance(value, dict) and sorted(value) == list(_LETTERS[: len(value)]):
        value = [value[letter] for letter in sorted(value)]
    if not isinstance(value, list) or not 2 <= len(value) <= len(_LETTERS) or not all(map(_is_option, value)):
        got = reprlib.repr(row.values[column])
        raise DataError(f"{row.where}: {column} must be a list of 2 to {len(_LETTERS)} answers, got {got}")
    return value


def _is_option(value: Any) -> bool:
    return isinstance(value, str | int | float) and not _is_missing(value)


_GPQA = ("Question", "Correct Answer", "Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3")


def _gpqa(table: _Table, seed: int) -> Dataset:
    """Shuffle the options, which are published with the right one first; each row decides its own order."""
    done = []
    for cell in table.cells({column: column for column in _GPQA}):
        question, *answers = (str(cell[column]).strip() for column in _GPQA)
        ranks = [_digest([seed, question, *answers, place]) for place in range(len(answers))]
        order = sorted(range(len(answers)), key=ranks.__getitem__)
        lines = [f"{letter}. {answers[place]}" for letter, place in zip("ABCD", order, strict=True)]
        done.append({"question": "\n".join([question, *lines]), "choice": "ABCD"[order.index(0)]})
    return _dataset(table, done, "choice", "gpqa", "choice")


# ---- ids


def example_id(example: "dspy.Example", gold_field: str) -> str:
    """Return the content hash of a question: 16 hex digits over its inputs and gold.

    A `token_budget` among the inputs does not count, so a budgeted copy of a question keeps its id. Values that JSON
    cannot hold count by their content where pydantic knows it, else by their `repr` without the address.

    Args:
        example: The question, inputs marked.
        gold_field: The field of the right answer; an example without it counts as having None.

    Raises:
        DataError: If the inputs are not marked.
    """
    try:
        inputs = dict(example.inputs().items())
    except ValueError:
        raise DataError("an example has no inputs: mark them with .with_inputs('question')") from None
    inputs.pop("token_budget", None)
    return _digest({"inputs": inputs, "gold": example.get(gold_field)})


def example_ids(examples: Iterable["dspy.Example"], gold_field: str) -> list[str]:
    """Return the ids in order; the 2nd, 3rd ... of identical `examples` gets `-2`, `-3` ...: each is a question."""
    seen: Counter[str] = Counter()
    ids = []
    for example in examples:
        key = example_id(example, gold_field)
        seen[key] += 1
        ids.append(key if seen[key] == 1 else f"{key}-{seen[key]}")
    return ids


def data_hash(ids: Iterable[str]) -> str:
    """Return 16 hex digits that stand for these questions in this order."""
    return hashlib.sha256("\n".join(ids).encode()).hexdigest()[:16]


def _digest(value: Any) -> str:
    try:
        text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=_plain)
    except (TypeError, ValueError, RecursionError):  # keys that are no strings, a value that holds itself
        text = _without_addresses(value)
    # JSON may hold half of a surrogate pair, which UTF-8 has no bytes for.
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _plain(value: Any) -> Any:
    import dspy
    import pydantic

    if isinstance(value, pydantic.BaseModel):
        return value.model_dump()
    if isinstance(value, dspy.Example):
        return value.toDict()
    if isinstance(value, set | frozenset):
        return sorted(map(_without_addresses, value))  # a set's own order changes from process to process
    return _without_addresses(value)


def _without_addresses(value: Any) -> str:
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))
