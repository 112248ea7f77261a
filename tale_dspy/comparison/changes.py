"""The questions on which two runs differ, with both replies.

Replies are read from disk when a change is looked at.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, overload

from tale_dspy.comparison.paired import PairedRuns
from tale_dspy.runs.record import Record

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ChangeKind = Literal["right->wrong", "wrong->right", "other"]
KINDS: tuple[ChangeKind, ...] = ("right->wrong", "wrong->right", "other")


@dataclass(frozen=True)
class QuestionChange:
    """One question on which the sides differ.

    Of several draws it holds the first ones that show the difference.
    """

    id: str
    kind: ChangeKind
    question: str
    gold: Any
    baseline_outcome: str
    run_outcome: str
    baseline_answer: Any
    run_answer: Any
    baseline_budget: int | None
    run_budget: int | None
    baseline_tokens: int | None
    """Output tokens, estimate not included."""
    run_tokens: int | None
    baseline_reply: str | None
    run_reply: str | None


class ChangeList(Sequence[QuestionChange]):
    """Changes in order, each read from both runs when it is asked for.

    Args:
        pairs: The shared draws.
        kinds: The kind of each change.
        before: Its draw in the baseline, as an index of `pairs.before`.
        after: Its draw in the run.
    """

    def __init__(self, pairs: PairedRuns, kinds: Sequence[ChangeKind], before: Sequence[int], after: Sequence[int]):
        self._pairs, self._kinds, self._before, self._after = pairs, kinds, before, after

    def __len__(self) -> int:
        return len(self._kinds)

    @overload
    def __getitem__(self, index: int) -> QuestionChange: ...
    @overload
    def __getitem__(self, index: slice) -> "ChangeList": ...
    def __getitem__(self, index: "int | slice") -> "QuestionChange | ChangeList":
        if isinstance(index, slice):
            return ChangeList(self._pairs, self._kinds[index], self._before[index], self._after[index])
        pairs, i, j = self._pairs, self._before[index], self._after[index]
        before = pairs.baseline.record_at(int(pairs.before.part[i]), int(pairs.before.offset[i]))
        after = pairs.run.record_at(int(pairs.after.part[j]), int(pairs.after.offset[j]))
        return _as_change(before, after, self._kinds[index])

    def __iter__(self) -> Iterator[QuestionChange]:
        return (self[index] for index in range(len(self)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]  # as a list

    def __repr__(self) -> str:
        return f"ChangeList of {len(self)}"


def changes_of(pairs: PairedRuns) -> ChangeList:
    """Return the questions whose outcome changed.

    Regressions come first, then repairs, then others, in the baseline's order.
    """
    part, offset = pairs.before.part, pairs.before.offset

    def place(change: tuple[ChangeKind, int, int]) -> tuple[int, int, int]:
        kind, i, _ = change
        return KINDS.index(kind), int(part[i]), int(offset[i])

    changes = sorted(_changed_questions(pairs), key=place)
    kinds: list[ChangeKind] = [kind for kind, _, _ in changes]
    return ChangeList(pairs, kinds, [i for _, i, _ in changes], [j for _, _, j in changes])


def _changed_questions(pairs: PairedRuns) -> Iterator[tuple[ChangeKind, int, int]]:
    """Yield kind and draws of each question whose outcomes changed."""
    differing = pairs.before.outcome != pairs.after.outcome
    for draws in _draws_of(pairs, differing):
        more = int(pairs.more_right[pairs.question[draws[0]]])
        if more:
            right_before, right_after = more < 0, more > 0
            i = next(d for d in draws if bool(pairs.before.is_correct[d]) == right_before)
            j = next(d for d in draws if bool(pairs.after.is_correct[d]) == right_after)
            yield ("right->wrong" if more < 0 else "wrong->right"), i, j
        elif Counter(pairs.before.outcome[draws].tolist()) != Counter(pairs.after.outcome[draws].tolist()):
            first = next(d for d in draws if differing[d])
            yield "other", first, first


def _draws_of(pairs: PairedRuns, chosen: "NDArray[np.bool_]") -> Iterator[list[int]]:
    """Yield all draws of each question that has a chosen one."""
    import numpy as np

    if pairs.is_single:
        yield from ([place] for place in np.flatnonzero(chosen).tolist())
        return
    starts = np.flatnonzero(np.diff(pairs.question, prepend=-1)).tolist()
    ends = [*starts[1:], pairs.draws]
    for number in np.unique(pairs.question[chosen]).tolist():
        yield list(range(starts[number], ends[number]))


def token_changes(pairs: PairedRuns) -> ChangeList:
    """Return questions whose budget or tokens, but not outcome, changed.

    The largest growth comes first, unknown last.
    """
    import numpy as np

    changed_questions = {int(pairs.question[i]) for _, i, _ in _changed_questions(pairs)}
    differing = np.zeros(pairs.draws, dtype=bool)
    for name in ("token_budget", "output_tokens"):
        before, after = getattr(pairs.before, name), getattr(pairs.after, name)
        differing |= (before != after) & ~(np.isnan(before) & np.isnan(after))
    places = np.flatnonzero(differing)
    if changed_questions:
        places = places[~np.isin(pairs.question[places], np.array(sorted(changed_questions)))]
    _, first = np.unique(pairs.question[places], return_index=True)
    places = places[first]
    growth = pairs.after.output_tokens[places] - pairs.before.output_tokens[places]
    # lexsort sorts by its last key first: by growth, then by the line in the baseline.
    lines = pairs.before.offset[places], pairs.before.part[places]
    order = np.lexsort((*lines, -np.nan_to_num(growth, nan=-math.inf)))
    chosen = places[order].tolist()
    kinds: list[ChangeKind] = ["other"] * len(chosen)
    return ChangeList(pairs, kinds, chosen, chosen)


def _as_change(before: Record, after: Record, kind: ChangeKind) -> QuestionChange:
    question = before.question
    if question is None:
        question = "\n".join(f"{name}: {value}" for name, value in (before.inputs or {}).items())
    return QuestionChange(
        id=before.id,
        kind=kind,
        question=question,
        gold=before.gold,
        baseline_outcome=before.outcome,
        run_outcome=after.outcome,
        baseline_answer=before.answer,
        run_answer=after.answer,
        baseline_budget=before.token_budget,
        run_budget=after.token_budget,
        baseline_tokens=before.output_tokens,
        run_tokens=after.output_tokens,
        baseline_reply=before.reply,
        run_reply=after.reply,
    )
