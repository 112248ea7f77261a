"""Data sets known by name, with their prompts and the sources of their rows."""

import os
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from tale_dspy.answers import Kind, gold_from_gsm8k
from tale_dspy.errors import DataError, MissingExtraError
from tale_dspy.tables import Table, download, read_file

Task = Literal["answer", "choice", "choice-zh", "cloze", "cloze-zh", "gpqa"]
"""Names of the task prompts of `tale_dspy.prompts`."""


def _as_it_is(value: Any) -> Any:
    return value


class NamedSet(NamedTuple):
    """A published set: how it is asked and compared, and where its rows are."""

    name: str
    task: Task
    kind: Kind
    split: str
    files: tuple[str, ...]
    """File names under $TALE_DATA; the first that is there is taken."""
    hub: tuple[str, str | None, str] | None = None
    """Repository, config and split on the hub."""
    columns: Mapping[str, str] = MappingProxyType({"question": "question", "answer": "answer"})
    """The columns of its rows and the fields they become: `question` and `answer`, and any further inputs."""
    gold: Callable[[Any], Any] = _as_it_is
    """Reads the gold out of the cell of the answer; raises `DataError` where there is none."""


_LEVELS = (
    "primary_knowledge",
    *(level + kind for level in ("middle", "high", "college") for kind in ("", "_knowledge")),
)
_MATHBENCH = (
    *("arithmetic-cloze_en", "primary-cloze_en", "primary-cloze_cn"),
    *(f"{level}-single_choice_{language}" for level in _LEVELS for language in ("en", "cn")),
)


def _mathbench_set(stem: str) -> NamedSet:
    subject, style = stem.split("-")
    chinese = style.endswith("_cn")
    name = f"mathbench-{subject}" + ("-cn" if chinese else "")
    if style.startswith("cloze"):
        # "auto" and not "number": 35 golds of the arithmetic set are fractions.
        return NamedSet(name, "cloze-zh" if chinese else "cloze", "auto", "test", (f"mathbench/{stem}.jsonl",))
    return NamedSet(name, "choice-zh" if chinese else "choice", "choice", "test", (f"mathbench/{stem}.jsonl",))


def _gpqa_set(name: str, *subsets: str) -> NamedSet:
    files = tuple(f"{subset}.{suffix}" for subset in subsets for suffix in ("csv", "jsonl"))
    return NamedSet(name, "gpqa", "choice", "test", files, ("Idavidrein/gpqa", subsets[0], "train"))


_SETS = (
    NamedSet(
        *("gsm8k", "answer", "number", "test", ("gsm8k_test.jsonl",)),
        hub=("openai/gsm8k", "main", "test"),
        gold=gold_from_gsm8k,
    ),
    NamedSet(
        *("gsm8k-train", "answer", "number", "train", ("gsm8k_train.jsonl",)),
        hub=("openai/gsm8k", "main", "train"),
        gold=gold_from_gsm8k,
    ),
    NamedSet(
        *("gsm8k-zero", "answer", "number", "test", ("gsm8k_zero.jsonl",)),
        hub=("dcml0714/GSM8K-Zero", None, "test"),
        gold=gold_from_gsm8k,
    ),
    NamedSet(
        *("math-500", "answer", "auto", "test", ("math500_test.jsonl",)),
        hub=("HuggingFaceH4/MATH-500", None, "test"),
        columns={"problem": "question", "answer": "answer"},
    ),
    NamedSet(
        *("aime-2024", "answer", "number", "test", ("aime_2024.jsonl",)),
        hub=("HuggingFaceH4/aime_2024", None, "train"),
        columns={"problem": "question", "answer": "answer"},
        gold=gold_from_gsm8k,
    ),
    *map(_mathbench_set, _MATHBENCH),
    _gpqa_set("gpqa", "gpqa_diamond", "gpqa_main", "gpqa"),
    _gpqa_set("gpqa-diamond", "gpqa_diamond"),
    _gpqa_set("gpqa-main", "gpqa_main"),
)

NAMED = {spec.name: spec for spec in _SETS}
"""The sets by their canonical names."""


def name_key(name: str) -> str:
    """Return the part of a name that decides.

    Case and the kind of dashes do not matter.
    """
    return name.strip().lower().replace("_", "-")


def _name_aliases() -> dict[str, str]:
    names = {name_key(name): name for name in NAMED} | {"gsm8k-test": "gsm8k"}
    for stem in _MATHBENCH:
        name = _mathbench_set(stem).name
        names[name_key(f"mathbench-{stem}")] = name
        names[name_key(name.removesuffix("-cn") + ("-zh" if name.endswith("-cn") else "-en"))] = name
    return names


ALIASES = _name_aliases()
"""Every name a set goes by, as `name_key` gives it -> its canonical name."""


def find_rows(spec: NamedSet) -> Table:
    """Read the set from the folder `$TALE_DATA`, or else from the hub.

    Raises:
        DataError: If it is in neither place; says how to get it.
    """
    folder = os.environ.get("TALE_DATA", "")
    paths = [os.path.join(folder, file) for file in spec.files] if folder else []
    for path in filter(os.path.isfile, paths):
        return read_file(path)
    needed = f"set TALE_DATA to a folder with {' or '.join(spec.files)}" + (f" ({folder} has none)" if folder else "")
    if spec.hub is None:
        raise DataError(f"{spec.name} is not here and not on the hub: {needed}")
    try:
        return download(*spec.hub)
    except (DataError, MissingExtraError) as e:
        raise DataError(f"{spec.name} is not here: {needed}, or pip install 'tale-dspy[data]' with network: {e}") from e
