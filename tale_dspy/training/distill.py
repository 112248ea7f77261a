"""From a search to training rows: plain prompts with short replies.

The replies are the model's own (paper, section 5.3).
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from tale_dspy.budget import check_budget
from tale_dspy.datasets import load_dataset
from tale_dspy.errors import DataError, MissingExtraError, UsageError
from tale_dspy.ids import example_ids
from tale_dspy.optimizers.search.offline_eval import inputs_of
from tale_dspy.optimizers.search.records import SEARCH_FILE, SearchRow, Trial, load_search
from tale_dspy.programs.budgeted import BudgetedChainOfThought
from tale_dspy.programs.cot import VanillaCoT
from tale_dspy.protocols import CallArguments, JsonObject
from tale_dspy.runs.records import read_jsonl
from tale_dspy.training.luck_filter import NeighborAccuracy
from tale_dspy.training.near_duplicates import NearDuplicateIndex
from tale_dspy.training.training_prompt import TrainingPrompt

if TYPE_CHECKING:
    import datasets

Format = Literal["sft", "dpo"]
FORMATS: tuple[Format, ...] = ("sft", "dpo")

MIN_NEIGHBOR_ACCURACY = 0.9
"""Default share of right replies among the neighbours of a reply: below it, the reply counts as luck."""

NO_SHORTER_REPLY = "no right reply is complete, beyond luck and shorter than without a budget"
NO_REPLY_WITHIN = "no right reply is complete, beyond luck and within one of the budgets"

COMPLETE = (None, "stop", "end_turn", "eos")
"""How a reply that was not cut off may have ended; None where the provider does not tell."""


@dataclass(frozen=True)
class DistillationResult:
    """Training rows, and the reasons for the questions that are not among them."""

    dataset: "datasets.Dataset"
    """`id`, `prompt` and `completion`, or `prompt`, `chosen` and `rejected`, as lists of messages; `gold`; `tokens` and
    `vanilla_tokens`, the completion tokens of the short reply and of the one without a budget."""
    format: Format
    searched: int
    """Questions of the search."""
    left_out: dict[str, int]
    """Questions left out, by the first reason that held."""

    @property
    def questions(self) -> int:
        """Questions that gave a row; with budgets, some give several."""
        return self.searched - sum(self.left_out.values())

    @property
    def saving(self) -> float | None:
        """Share of tokens the short replies save over vanilla ones, None if unknown."""
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


class _ShortReply(NamedTuple):
    tokens: int
    text: str


def distill(
    search: str | Path | Sequence[SearchRow],
    format: Format = "sft",
    program: Any = None,
    *,
    adapter: Any = None,
    exclude: Iterable[str | Path] = (),
    min_neighbor_accuracy: float = MIN_NEIGHBOR_ACCURACY,
    budgets: Sequence[int] = (),
) -> DistillationResult:
    """Turn a search into rows to train on.

    A row holds the reply under the best budget, unless it was right by luck: a model taught lucky replies learns to
    guess (on the embedded model 45 of them among 1,448 cost two points). It then holds the next longer reply that was
    right and passes the test of its neighbours.

    With `budgets`, a question gives one row for each of them instead: the prompt states the budget, and the reply is
    the longest right one within it, so that one model obeys many budgets (L1, arXiv 2503.04697; BARD, 2511.01470).

    A question is left out where the search found no budget; where no reply that passes is complete and shorter than
    the one without a budget; where it, or a near-duplicate of it, is one of `exclude` or came before; and where the
    program could not read the reply.

    Args:
        search: The folder of a search, its `search.jsonl`, or its rows.
        format: `sft` for completions, `dpo` for pairs of the short reply and the vanilla one.
        program: What will be deployed: rows are rendered through its signature, demos and adapter, without any budget.
            None takes `VanillaCoT` on the inputs of the search; with `budgets`, `BudgetedChainOfThought`.
        adapter: Overrides the adapter the program would be run with.
        exclude: Run folders, searches, files of questions or names of data sets.
        min_neighbor_accuracy: Smallest share of right replies among those of like length to questions of like length
            (`NeighborAccuracy`); 0 takes the reply under the best budget, as the paper does.
        budgets: Budgets in tokens that rows are made for, with the phrase in the prompt.

    Raises:
        UsageError: If the format is unknown, `min_neighbor_accuracy` is no share, a budget no whole number of at least
            1, or the program does not have the predictor that was searched or takes no budget where one is needed.
        DataError: If nothing is left to train on.
        RunFolderError: If there is no search.
        MissingExtraError: If `datasets` is not installed.
    """
    if format not in FORMATS:
        raise UsageError(f"format must be one of {', '.join(FORMATS)}, got {format!r}")
    if not 0 <= min_neighbor_accuracy <= 1:
        raise UsageError(f"min_neighbor_accuracy must be a share from 0 to 1, got {min_neighbor_accuracy!r}")
    levels = sorted({check_budget(budget, "budgets") for budget in budgets})
    rows = load_search(search) if isinstance(search, str | Path) else list(search)
    if not rows:
        raise DataError("the search has no rows: nothing to train on")
    excluded, ids = NearDuplicateIndex(), set[str]()
    for source in exclude:
        for id_, question in known_questions(source):
            ids.add(id_)
            if question is not None:
                excluded.add(question)
    prompts = _training_prompts(rows, program, adapter, budgeted=bool(levels))
    row_filter = _RowFilter(format, _luck_test(rows, min_neighbor_accuracy), prompts, ids, excluded, levels)
    training_rows: list[JsonObject] = []
    left_out = Counter[str]()
    for row in rows:
        result = row_filter.rows_of(row)
        if isinstance(result, str):
            left_out[result] += 1
        else:
            training_rows += result
    if not training_rows:
        why = "; ".join(f"{n} {reason}" for reason, n in left_out.most_common())
        raise DataError(f"none of the {len(rows)} searched questions can be trained on: {why}")
    return DistillationResult(_to_dataset(training_rows), format, len(rows), dict(left_out))


LuckTest = Callable[[SearchRow, int], bool]
"""Whether a reply of this many tokens to a question was right by more than luck."""


class _RowFilter:
    """Turn searched questions into training rows, or say why there is none."""

    def __init__(
        self,
        format: Format,
        passes: LuckTest | None,
        prompts: dict[str, TrainingPrompt],
        ids: set[str],
        excluded: NearDuplicateIndex,
        budgets: Sequence[int],
    ) -> None:
        self._format, self._passes, self._prompts, self._budgets = format, passes, prompts, budgets
        self._ids, self._excluded, self._taken = ids, excluded, NearDuplicateIndex()

    def rows_of(self, row: SearchRow) -> list[JsonObject] | str:
        """Return the training rows of a question, or why there is none."""
        if row.best is None and not self._budgets:
            return row.reason or "no budget was found"
        if (row.best is not None and row.best.text is None) or (self._format == "dpo" and row.vanilla.text is None):
            return "the search did not keep the reply"
        replies = self._training_replies(row)
        if not replies:
            return NO_REPLY_WITHIN if self._budgets else NO_SHORTER_REPLY
        question = _words_of(inputs_of(row))
        if row.id.partition("-")[0] in self._ids or question in self._excluded:
            return "excluded"
        made = [self._training_row(row, budget, reply) for budget, reply in replies]
        rows = [result for result in made if not isinstance(result, str)]
        if not rows:
            return next(result for result in made if isinstance(result, str))
        if self._taken.add(question):
            return "a near-duplicate of another question"
        return rows

    def _training_replies(self, row: SearchRow) -> list[tuple[int | None, _ShortReply]]:
        """Return the replies to train on, each with the budget its prompt states."""
        if not self._budgets:
            reply = _shortest_reply(row, self._passes)
            return [] if reply is None else [(None, reply)]
        candidates = _right_replies(row, self._passes)
        within = [(b, max((r for r in candidates if r.tokens <= b), default=None)) for b in self._budgets]
        return [(budget, reply) for budget, reply in within if reply is not None]

    def _training_row(self, row: SearchRow, budget: int | None, reply: _ShortReply) -> JsonObject | str:
        """Return a training row, or why there is none."""
        writer = self._prompts[row.predictor]
        prompt, short = writer.prompt(inputs_of(row), budget), writer.reply(reply.text, row.gold)
        long = writer.reply(row.vanilla.text or "", row.gold) if self._format == "dpo" else ""
        if prompt is None or short is None or long is None:
            return "the program cannot ask it or read the reply"
        if self._format == "dpo" and short == long:
            return "the short reply has the words of the long one"
        completion = (
            {"completion": _assistant_turn(short)}
            if self._format == "sft"
            else {"chosen": _assistant_turn(short), "rejected": _assistant_turn(long)}
        )
        stated = {} if budget is None else {"budget": budget}
        columns = {"id": row.id, "prompt": prompt, **completion, "gold": _gold_text(row.gold), **stated}
        return {**columns, "tokens": reply.tokens, "vanilla_tokens": row.vanilla.tokens}


def _training_prompts(rows: list[SearchRow], program: Any, adapter: Any, budgeted: bool) -> dict[str, TrainingPrompt]:
    if program is None:
        make = BudgetedChainOfThought if budgeted else VanillaCoT
        program = make(f"{', '.join(inputs_of(rows[0]))} -> answer")
    names = {row.predictor for row in rows}
    return {name: TrainingPrompt(program, name, adapter, budgeted=budgeted) for name in names}


def _assistant_turn(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def _gold_text(gold: object) -> str | None:
    """Write a right answer as text, so that all rows have it in one type."""
    return gold if gold is None or isinstance(gold, str) else json.dumps(gold, ensure_ascii=False, default=str)


def _luck_test(rows: Sequence[SearchRow], threshold: float) -> LuckTest | None:
    """Return the test of a reply against its neighbours.

    It is None where every right reply passes.
    """
    if threshold == 0:
        return None
    by_name = {name: NeighborAccuracy([r for r in rows if r.predictor == name]) for name in {r.predictor for r in rows}}
    return lambda row, tokens: by_name[row.predictor].share_right(row.vanilla.tokens, tokens) >= threshold


def _shortest_reply(row: SearchRow, passes: LuckTest | None) -> _ShortReply | None:
    """Return the reply under the best budget.

    Where that does not pass, it is the shortest right one that does.
    """
    best = row.best
    if best is None or best.text is None:
        return None
    trial = next((t for t in row.trials if t.text == best.text and t.budget == best.budget), None)
    if trial is None:  # its shortest reply is that of a confirming draw
        trial = Trial(best.budget, best.selected_tokens, True, best.text)
    others = sorted((t for t in row.trials if t.correct and t.tokens is not None), key=lambda t: t.tokens or 0)
    for one in (trial, *(others if passes else ())):
        tokens = best.selected_tokens if one.tokens is None else one.tokens
        if not one.correct or one.text is None or one.finish_reason not in COMPLETE:
            continue
        if row.vanilla.tokens is not None and tokens >= row.vanilla.tokens:
            continue
        if passes is None or passes(row, tokens):
            return _ShortReply(tokens, one.text)
    return None


def _right_replies(row: SearchRow, passes: LuckTest | None) -> list[_ShortReply]:
    """Return all complete right replies of a question that pass.

    The one without a budget is included.
    """
    replies = [
        _ShortReply(t.tokens, t.text)
        for t in row.trials
        if t.correct and t.text is not None and t.tokens is not None and t.finish_reason in COMPLETE
    ]
    replies = [r for r in replies if passes is None or passes(row, r.tokens)]
    if row.vanilla.correct and row.vanilla.text is not None and row.vanilla.tokens is not None:
        replies.append(_ShortReply(row.vanilla.tokens, row.vanilla.text))
    return replies


def _words_of(inputs: CallArguments) -> str:
    return "\n".join(str(value) for value in inputs.values())


def known_questions(source: str | Path) -> Iterator[tuple[str, str | None]]:
    """Yield the id and the text of every question of a source.

    A source is a run folder, a search, a file of training rows or a data set.

    Raises:
        DataError: If it is none of these.
    """
    path = Path(source)
    for name in (SEARCH_FILE, "records.jsonl"):
        file = path / name if path.is_dir() else path
        if file.name == name and file.is_file():
            yield from ((_plain_id(row), _question_text(row)) for row in read_jsonl(file))
            return
    if path.is_dir():
        raise DataError(f"{path} is no run folder and no search: it has neither {SEARCH_FILE} nor records.jsonl")
    if path.suffix == ".jsonl" and path.is_file():
        rows = read_jsonl(path)
        if rows and all({"id", "prompt"} <= row.keys() for row in rows):  # what `DistillationResult.save` wrote
            yield from ((_plain_id(row), None) for row in rows)
            return
    data = load_dataset(str(source))
    for id_, example in zip(example_ids(data.examples, data.gold), data.examples, strict=True):
        yield id_.partition("-")[0], _words_of(dict(example.inputs().items()))


def _plain_id(row: JsonObject) -> str:
    return str(row.get("id")).partition("-")[0]


def _question_text(row: JsonObject) -> str | None:
    inputs = {**({"question": row["question"]} if row.get("question") else {}), **(row.get("inputs") or {})}
    return _words_of(inputs) if inputs else None


def _to_dataset(rows: list[JsonObject]) -> "datasets.Dataset":
    try:
        import datasets
    except ImportError:
        raise MissingExtraError("datasets", "train") from None
    return datasets.Dataset.from_list(rows)
