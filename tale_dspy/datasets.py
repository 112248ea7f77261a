"""Questions with known answers as `dspy.Example`s.

Sources are GSM8K, GSM8K-Zero, MathBench, GPQA, made-up stories, or any file.

This room turns rows into questions, and names the task prompt and signature that fit them. Reading rows is the work of
`tale_dspy.tables`, the names of the published sets are in `tale_dspy.named_sets`, ids in `tale_dspy.ids`. It ships no
data and does not judge replies (`tale_dspy.answers` does).
"""

import dataclasses
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self, overload

from tale_dspy.answers import Kind, kind_of
from tale_dspy.display import suggestion
from tale_dspy.errors import DataError, UsageError
from tale_dspy.ids import ContentHashes, data_hash, digest, example_id, example_ids
from tale_dspy.named_sets import ALIASES, NAMED, NamedSet, Task, find_rows, name_key
from tale_dspy.option_columns import (
    OptionColumns,
    find_options,
    names_options,
    option_letter,
)
from tale_dspy.protocols import JsonObject
from tale_dspy.question_columns import (
    GOLD_COLUMNS,
    choose_columns,
    final_answer,
    gold_value,
    lettered_choices,
    question_column,
    with_context,
    wrong_choice,
)
from tale_dspy.row_stream import STREAMED_FROM, StreamedExamples
from tale_dspy.tables import ENDINGS, Table, field_name, names_a_file, read_file, read_hub

if TYPE_CHECKING:
    import dspy

__all__ = ["Dataset", "Task", "data_hash", "example_id", "example_ids", "load_dataset"]

_GPQA = ("Question", "Correct Answer", "Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3")


@dataclass(frozen=True)
class Dataset(Sequence["dspy.Example"]):
    """Questions in file order, with what a program and a judge need to know."""

    name: str
    """The canonical name (`mathbench-middle-cn`), the file's name or the `hf:` name: never a whole path."""
    examples: Sequence["dspy.Example"]
    """One per row, inputs marked; repeated rows are separate questions."""
    task: Task
    """The task prompt of `tale_dspy.prompts` these questions were written for."""
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
    hashes: ContentHashes | None = field(default=None, repr=False, compare=False)
    """Those of `examples`, where they are known already: see `hashed`."""

    def __len__(self) -> int:
        return len(self.examples)

    def __iter__(self) -> Iterator["dspy.Example"]:
        return iter(self.examples)

    @overload
    def __getitem__(self, index: int) -> "dspy.Example": ...
    @overload
    def __getitem__(self, index: slice) -> Sequence["dspy.Example"]: ...
    def __getitem__(self, index: int | slice) -> "dspy.Example | Sequence[dspy.Example]":
        return self.examples[index]

    def hashed(self) -> Self:
        """Return the questions with their content hashes, made once for several runs."""
        return dataclasses.replace(self, hashes=ContentHashes.of(self.examples, self.gold))

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
    name: str | os.PathLike[str],
    *,
    inputs: Sequence[str] | None = None,
    gold: str | None = None,
    seed: int = 0,
    labelled: bool = True,
) -> Dataset:
    """Load a named set, a set of the Hugging Face hub, or a file.

    Named sets (`gsm8k`, `gsm8k-train`, `gsm8k-zero`, `math-500`, `aime-2024`, `mathbench-SET[-cn]`, `gpqa`; no matter
    the case) are looked up in the folder `$TALE_DATA`, then on the hub. `embedded` (or `embedded:train`),
    `embedded:dev` and `embedded:test` are 2,000 arithmetic stories each, made up on the spot; their label `group` tells
    which of them come from templates that the embedded model was never trained on.

    A passage, hint and the like beside the question (`tale_dspy.context_columns`) is an input too, where it is text,
    and refused where not. A file's other columns, neither inputs nor the gold, are dropped. A GSM8K gold is cut down to
    what follows `####`. Options (`tale_dspy.option_columns` knows the layouts) are written into the question, as for
    MathBench, and the gold becomes the letter of the right one, in the field `choice`; golds that are letters mean
    choices. A column becomes a field of its own name; one that Python or DSPy could not take is renamed: `Question
    Text` -> `question_text`, `class` -> `class_`. Column names match without case.

    Args:
        name: A named set, `hf:owner/name:split`, `hf:owner/name/config:split`, or the path of a .jsonl, .json, .csv,
            .tsv or .parquet file.
        inputs: Columns the program is given; default `question`, or `problem`, `input`, `prompt`, `query`, `goal` where
            there is none. A string is split at commas.
        gold: Column of the right answer; default the first there is of `answer`, `choice`, `gold`, `target`, `label`,
            `solution`, `answerKey` and the like.
        seed: Decides the order of GPQA's options, for each row on its own, whatever the order of the rows.
        labelled: Whether a table must have a gold; if not, the output of one without is `answer`.

    Raises:
        DataError: If the name is unknown, or the file or one of its rows cannot be used; names the line.
        MissingExtraError: If a hub set or a parquet file is asked for without the library that reads it.
    """
    name, key = os.fspath(name), name_key(os.fspath(name))
    columns = [part.strip() for part in inputs.split(",")] if isinstance(inputs, str) else inputs
    if key in ALIASES:
        if columns is not None or gold is not None:
            raise DataError(f"{name} has fixed columns: inputs and gold are for files and hf: sets")
        return _load_named(NAMED[ALIASES[key]], seed)
    if name.startswith("hf:"):
        return _load_table(read_hub(name), columns, gold, seed, labelled)
    if key.split(":")[0] == "embedded":
        if columns is not None or gold is not None:
            raise DataError(f"{name} has fixed columns: inputs and gold are for files and hf: sets")
        return _embedded_split(key)
    if not names_a_file(name):
        hint = suggestion(key, [*ALIASES, *(f"embedded:{split}" for split in ("train", "dev", "test"))])
        named = ", ".join(name for name in NAMED if not name.startswith("mathbench-"))
        named += ", mathbench-LEVEL, embedded:SPLIT, hf:owner/name:split"
        kinds = f": known are {named}, and files ending in {', '.join(ENDINGS)}"
        raise DataError(f"{name!r} is no file and no known set{hint or kinds}")
    if is_large(name):
        return _stream_file(name, columns, gold, seed, labelled)
    return _load_table(read_file(name), columns, gold, seed, labelled)


def is_large(name: str) -> bool:
    """Return whether a file is read row by row.

    Files of JSON lines are, from `STREAMED_FROM` bytes on.
    """
    path = os.path.expanduser(name)
    return path.lower().endswith(".jsonl") and os.path.isfile(path) and os.path.getsize(path) >= STREAMED_FROM


def _stream_file(name: str, inputs: Sequence[str] | None, gold: str | None, seed: int, labelled: bool) -> Dataset:
    def load(table: Table) -> tuple[Dataset, Sequence["dspy.Example"]]:
        dataset = _load_table(table, inputs, gold, seed, labelled)
        return dataclasses.replace(dataset, examples=[]), dataset.examples

    rows = StreamedExamples(name, load)
    return dataclasses.replace(rows.layout, examples=rows)


EMBEDDED_SIZE = 2000
"""Questions of a split of the embedded reasoner's problems, unless a number is given, as in `embedded:test:5000`."""
LARGEST_EMBEDDED = 20_000
"""Of the test split there are not many more different ones within a minute."""


def _embedded_split(key: str) -> Dataset:
    """Make up the problems of a split: the same at each call, on any machine."""
    import dspy

    from tale_dspy.embedded.problems import SPLITS, problems

    split, _, size = key.partition(":")[2].partition(":")
    split = split or "train"
    if split not in SPLITS:
        splits = ", ".join(f"embedded:{split}" for split in SPLITS)
        raise DataError(f"{key} is no split of the embedded problems: known are {splits}; embedded is embedded:train")
    if size and not (size.isascii() and size.isdigit() and 0 < int(size) <= LARGEST_EMBEDDED):
        raise DataError(f"{key}: after the split comes a number of questions from 1 to {LARGEST_EMBEDDED}")
    groups = {False: "taught templates", True: "templates never trained on"}
    rows = [
        {"question": p.question, "answer": str(p.answer), "group": groups[p.unseen]}
        for p in problems(split, int(size or EMBEDDED_SIZE))
    ]
    examples = [dspy.Example(row).with_inputs("question") for row in rows]
    return Dataset(
        name=f"embedded:{split}" + (f":{int(size)}" if size else ""),
        examples=examples,
        task="answer",
        signature="question -> answer",
        gold="answer",
        kind="number",
        split=split,
        source="tale_dspy.embedded.problems",
    )


def _load_named(spec: NamedSet, seed: int) -> Dataset:
    table = dataclasses.replace(find_rows(spec), name=spec.name, split=spec.split)
    if spec.task == "gpqa":
        return _gpqa_dataset(table, seed)
    cells = table.cells({table.find(column) or column: field for column, field in spec.columns.items()})
    if spec.kind == "choice":
        options = OptionColumns((table.find("options") or "options",))
        chosen = lettered_choices(table, options, cells, "question", "answer")
        if chosen is None:
            raise wrong_choice(table, options, cells, "answer")
        return _dataset_of(table, chosen, "choice", spec.task, spec.kind)
    golds = [gold_value(row.where, cell["answer"], spec.gold) for row, cell in zip(table.rows, cells, strict=True)]
    cells = [cell | {"answer": answer} for cell, answer in zip(cells, golds, strict=True)]
    if spec.task != "answer":
        cells = [{field: str(value).strip() for field, value in cell.items()} for cell in cells]
    return _dataset_of(table, cells, "answer", spec.task, spec.kind)


def _dataset_of(table: Table, cells: list[JsonObject], gold: str, task: Task, kind: Kind) -> Dataset:
    import dspy

    inputs = [field for field in cells[0] if field != gold]
    examples = [dspy.Example(cell).with_inputs(*inputs) for cell in cells]
    return Dataset(
        name=table.name,
        examples=examples,
        task=task,
        signature=f"{', '.join(inputs)} -> {gold}",
        gold=gold,
        kind=kind,
        split=table.split,
        source=table.source,
    )


def _load_table(table: Table, inputs: Sequence[str] | None, gold: str | None, seed: int, labelled: bool) -> Dataset:
    if not labelled and gold is None and not any(map(table.find, GOLD_COLUMNS)):
        fields = {table.find(name) or name: field_name(name) for name in inputs or [question_column(table)]}
        cells = with_context(table, table.cells(fields), list(fields)) if inputs is None else table.cells(fields)
        return _dataset_of(table, cells, "answer", "answer", "auto")
    if inputs is None and gold is None and set(_GPQA) <= set(table.columns):
        return _gpqa_dataset(table, seed)
    columns = [question_column(table)] if inputs is None else inputs
    fields = choose_columns(table, columns, GOLD_COLUMNS if gold is None else [gold])
    cells = table.cells(fields)
    *questions, answer = fields.values()
    options = find_options(table, list(fields)) if "choice" not in questions else None
    if inputs is None:
        cells = with_context(table, cells, [*fields, *(options.columns if options else ())])
    letters = all(option_letter(cell[answer]) for cell in cells)
    if options:
        question = "question" if "question" in questions else questions[-1]
        chosen = lettered_choices(table, options, cells, question, answer) if inputs is None or letters else None
        if chosen is not None:
            return _dataset_of(table, chosen, "choice", "choice", "choice")
        if letters or answer == "choice":
            raise wrong_choice(table, options, cells, answer)
        if inputs is None:
            raise DataError(
                f"{table.label} has {options.name}, but its {list(fields)[-1]} is not always one letter A-J: "
                f"name the inputs, as in inputs=['question', '{options.columns[0]}']; an index must be seen to count "
                "from 0 or 1"
            )
    elif all(kind_of(cell[answer]) == "choice" for cell in cells) and not names_options(questions):
        cells = [
            {k: v for k, v in cell.items() if k != answer} | {"choice": option_letter(cell[answer])} for cell in cells
        ]
        return _dataset_of(table, cells, "choice", "choice", "choice")
    golds = [final_answer(row.where, cell[answer]) for row, cell in zip(table.rows, cells, strict=True)]
    cells = [cell | {answer: value} for cell, value in zip(cells, golds, strict=True)]
    return _dataset_of(table, cells, answer, "choice" if answer == "choice" else "answer", "auto")


def _gpqa_dataset(table: Table, seed: int) -> Dataset:
    """Shuffle the options, which are published with the right one first.

    Each row decides its own order.
    """
    questions = []
    for cell in table.cells({column: column for column in _GPQA}):
        question, *answers = (str(cell[column]).strip() for column in _GPQA)
        ranks = [digest([seed, question, *answers, place]) for place in range(len(answers))]
        order = sorted(range(len(answers)), key=ranks.__getitem__)
        lines = [f"{letter}. {answers[place]}" for letter, place in zip("ABCD", order, strict=True)]
        questions.append({"question": "\n".join([question, *lines]), "choice": "ABCD"[order.index(0)]})
    return _dataset_of(table, questions, "choice", "gpqa", "choice")
