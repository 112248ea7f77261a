"""From a search to training rows: the plain prompt, and the model's own short reply to it (paper, section 5.3)."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from tale_dspy.datasets import load_dataset
from tale_dspy.errors import DataError, MissingExtraError, UsageError
from tale_dspy.ids import example_ids
from tale_dspy.optimizers.search.offline_eval import inputs_of
from tale_dspy.optimizers.search.records import SEARCH_FILE, SearchRow, Trial, load_search
from tale_dspy.programs.cot import VanillaCoT
from tale_dspy.runs.records import read_jsonl
from tale_dspy.training.luck_filter import NeighborAccuracy
from tale_dspy.training.near_duplicates import NearDuplicateIndex
from tale_dspy.training.rendering import Rendering

if TYPE_CHECKING:
    import datasets

Format = Literal["sft", "dpo"]
FORMATS: tuple[Format, ...] = ("sft", "dpo")

STEADY = 0.9
"""A reply is steady if at least this share of its neighbours in the search were right: see `NeighborAccuracy`."""

COMPLETE = (None, "stop", "end_turn", "eos")
"""How a reply that was not cut off may have ended; None where the provider does not tell."""


@dataclass(frozen=True)
class DistillationResult:
    """Training rows, and what became of the questions that are not among them."""

    dataset: "datasets.Dataset"
    """`id`, `prompt` and `completion`, or `prompt`, `chosen` and `rejected`, as lists of messages; `gold`; `tokens` and
    `vanilla_tokens`, the completion tokens of the short reply and of the one without a budget."""
    format: Format
    searched: int
    """Questions of the search."""
    left_out: dict[str, int]
    """Questions left out, by the first reason that held."""

    @property
    def saving(self) -> float | None:
        """Share of the tokens that the short replies save over the vanilla ones; None if it is not known."""
        rows = [(t, v) for t, v in zip(self.dataset["tokens"], self.dataset["vanilla_tokens"], strict=True) if t and v]
        return 1 - sum(t for t, _ in rows) / sum(v for _, v in rows) if rows else None

    def save(self, path: str | Path) -> None:
        """Write the rows as JSON lines.

        Raises:
            UsageError: If the file is there already with other rows, or cannot be written.
        """
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in self.dataset.to_list())
        data, file = text.encode("utf-8", "backslashreplace"), Path(path)
        try:
            if file.exists() and file.read_bytes() != data:
                raise UsageError(f"{path} is there already, with other rows: give another --out, or remove it")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
        except OSError as e:
            raise UsageError(f"{path} cannot be written: {e.strerror or e}") from e


def distill(
    search: str | Path | Sequence[SearchRow],
    format: Format = "sft",
    program: Any = None,
    *,
    adapter: Any = None,
    exclude: Iterable[str | Path] = (),
    steady: float = STEADY,
) -> DistillationResult:
    """Turn a search into rows to train on.

    Taken is the reply under the best budget, if it is steady: the search may have met a short reply that was right by
    luck, and a model taught such replies learns to guess: on the embedded model 45 of them among 1,448 cost two points.
    Else the next longer one that was right and is steady is taken.

    A question is left out where the search found no budget; where no steady reply is complete and shorter than the one
    without a budget; where it, or a near-duplicate of it, is one of `exclude` or came before; and where the program
    could not read the reply.

    Args:
        search: The folder of a search, its `search.jsonl`, or its rows.
        format: `sft` for completions, `dpo` for pairs of the short reply and the vanilla one.
        program: What will be deployed: rows are rendered through its signature, demos and adapter, without any budget.
            None takes `VanillaCoT` on the inputs of the search.
        adapter: Overrides the adapter the program would be run with.
        exclude: Run folders, searches, files of questions or names of data sets.
        steady: Least share of right replies among those of like length to questions of like length
        (`NeighborAccuracy`); 0
            takes the reply under the best budget, whatever its neighbours say, as the paper does.

    Raises:
        UsageError: If the format is unknown, `steady` is no share, or the program does not have the predictor that was
            searched.
        DataError: If nothing is left to train on.
        RunFolderError: If there is no search.
        MissingExtraError: If `datasets` is not installed.
    """
    if format not in FORMATS:
        raise UsageError(f"format must be one of {', '.join(FORMATS)}, got {format!r}")
    if not 0 <= steady <= 1:
        raise UsageError(f"steady must be a share from 0 to 1, got {steady!r}")
    rows = load_search(search) if isinstance(search, str | Path) else list(search)
    if not rows:
        raise DataError("the search has no rows: nothing to train on")
    met, ids = NearDuplicateIndex(), set[str]()
    for source in exclude:
        for id_, question in held(source):
            ids.add(id_)
            if question is not None:
                met.add(question)
    sieve = _Sieve(format, _steady(rows, steady), _renderings(rows, program, adapter), ids, met)
    kept, left_out = [], Counter[str]()
    for row in rows:
        found = sieve.take(row)
        if isinstance(found, str):
            left_out[found] += 1
        else:
            kept.append(found)
    if not kept:
        why = "; ".join(f"{n} {reason}" for reason, n in left_out.most_common())
        raise DataError(f"none of the {len(rows)} searched questions can be trained on: {why}")
    return DistillationResult(_dataset(kept), format, len(rows), dict(left_out))


class _Sieve:
    """Decides on one question after the other."""

    def __init__(
        self,
        format: Format,
        steady: "Steady | None",
        renderings: dict[str, Rendering],
        ids: set[str],
        excluded: NearDuplicateIndex,
    ) -> None:
        self._format, self._steady, self._renderings = format, steady, renderings
        self._ids, self._excluded, self._met = ids, excluded, NearDuplicateIndex()

    def take(self, row: SearchRow) -> dict[str, Any] | str:
        """Return the training row of a question, or why there is none."""
        rendering = self._renderings[row.predictor]
        if row.best is None:
            return row.reason or "no budget was found"
        if row.best.text is None or (self._format == "dpo" and row.vanilla.text is None):
            return "the search did not keep the reply"
        chosen = _choose(row, self._steady)
        if chosen is None:
            return "no right reply is complete, steady and shorter than without a budget"
        question = _words_of(inputs_of(row))
        if row.id.partition("-")[0] in self._ids or question in self._excluded:
            return "excluded"
        prompt, short = rendering.prompt(inputs_of(row)), rendering.reply(chosen.text, row.gold)
        long = rendering.reply(row.vanilla.text or "", row.gold) if self._format == "dpo" else ""
        if prompt is None or short is None or long is None:
            return "the program cannot ask it or read the reply"
        if self._met.add(question):
            return "a near-duplicate of another question"
        told = {"id": row.id, "prompt": prompt, **self._replies(short, long), "gold": _plain(row.gold)}
        return {**told, "tokens": chosen.tokens, "vanilla_tokens": row.vanilla.tokens}

    def _replies(self, short: str, long: str) -> dict[str, Any]:
        if self._format == "sft":
            return {"completion": _said(short)}
        return {"chosen": _said(short), "rejected": _said(long)}


def _renderings(rows: list[SearchRow], program: Any, adapter: Any) -> dict[str, Rendering]:
    if program is None:
        program = VanillaCoT(f"{', '.join(inputs_of(rows[0]))} -> answer")
    return {name: Rendering(program, name, adapter) for name in {row.predictor for row in rows}}


def _said(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def _plain(gold: Any) -> str | None:
    """Write a right answer as text, so that all rows have it in one type."""
    return gold if gold is None or isinstance(gold, str) else json.dumps(gold, ensure_ascii=False, default=str)


Steady = Callable[[SearchRow, int], bool]
"""Whether a reply of so many tokens to a question was right by more than luck."""


def _steady(rows: Sequence[SearchRow], least: float) -> Steady | None:
    """Return the test of steadiness; None where every right reply passes."""
    if least == 0:
        return None
    by_name = {name: NeighborAccuracy([r for r in rows if r.predictor == name]) for name in {r.predictor for r in rows}}
    return lambda row, tokens: by_name[row.predictor].share_right(row.vanilla.tokens, tokens) >= least


class _Chosen(NamedTuple):
    text: str
    tokens: int


def _choose(row: SearchRow, steady: Steady | None) -> _Chosen | None:
    """Return the reply under the best budget or, where that is not steady, the shortest right one that is."""
    best = row.best
    if best is None or best.text is None:
        return None
    trial = next((t for t in row.trials if t.text == best.text and t.budget == best.budget), None)
    if trial is None:  # its shortest reply is that of a confirming draw
        trial = Trial(best.budget, best.selected_tokens, True, best.text)
    others = sorted((t for t in row.trials if t.correct and t.tokens is not None), key=lambda t: t.tokens or 0)
    for one in (trial, *(others if steady else ())):
        tokens = best.selected_tokens if one.tokens is None else one.tokens
        if not one.correct or one.text is None or one.finish_reason not in COMPLETE:
            continue
        if row.vanilla.tokens is not None and tokens >= row.vanilla.tokens:
            continue
        if steady is None or steady(row, tokens):
            return _Chosen(one.text, tokens)
    return None


def _words_of(inputs: dict[str, Any]) -> str:
    return "\n".join(str(value) for value in inputs.values())


def held(source: str | Path) -> Iterator[tuple[str, str | None]]:
    """Yield the id and the text of every question of a run folder, a search, a file of training rows or a data set.

    Raises:
        DataError: If it is none of these.
    """
    path = Path(source)
    for name in (SEARCH_FILE, "records.jsonl"):
        file = path / name if path.is_dir() else path
        if file.name == name and file.is_file():
            yield from ((_plain_id(row), _text(row)) for row in read_jsonl(file))
            return
    if path.is_dir():
        raise DataError(f"{path} is no run folder and no search: it has neither {SEARCH_FILE} nor records.jsonl")
    if path.suffix == ".jsonl" and path.is_file():
        rows = read_jsonl(path)
        if rows and all({"id", "prompt"} <= row.keys() for row in rows):  # what `Distilled.save` wrote
            yield from ((_plain_id(row), None) for row in rows)
            return
    data = load_dataset(str(source))
    for id_, example in zip(example_ids(data.examples, data.gold), data.examples, strict=True):
        yield id_.partition("-")[0], _words_of(dict(example.inputs().items()))


def _plain_id(row: dict[str, Any]) -> str:
    return str(row.get("id")).partition("-")[0]


def _text(row: dict[str, Any]) -> str | None:
    inputs = {**({"question": row["question"]} if row.get("question") else {}), **(row.get("inputs") or {})}
    return _words_of(inputs) if inputs else None


def _dataset(rows: list[dict[str, Any]]) -> "datasets.Dataset":
    try:
        import datasets
    except ImportError:
        raise MissingExtraError("datasets", "train") from None
    return datasets.Dataset.from_list(rows)
