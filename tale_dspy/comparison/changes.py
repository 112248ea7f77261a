"""The questions on which two runs differ, with both replies."""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from tale_dspy.comparison.paired import Draws
from tale_dspy.runs.records import Record

ChangeKind = Literal["right->wrong", "wrong->right", "other"]


@dataclass(frozen=True)
class Change:
    """One question on which the sides differ; of several draws, the first ones that show the difference."""

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


def gain(draws: Draws) -> int:
    """Give the right draws of the run minus those of the baseline."""
    return sum(after.correct - before.correct for before, after in draws)


def change_of(draws: Draws) -> Change | None:
    """Describe how the outcomes of a question changed, or give None if they did not."""
    more = gain(draws)
    if more:
        before = next(b for b, _ in draws if b.correct == (more < 0))
        after = next(a for _, a in draws if a.correct == (more > 0))
        return _as_change(before, after, "right->wrong" if more < 0 else "wrong->right")
    if Counter(b.outcome for b, _ in draws) == Counter(a.outcome for _, a in draws):
        return None
    return _as_change(*next(pair for pair in draws if pair[0].outcome != pair[1].outcome), "other")


def token_changes(questions: Iterable[Draws]) -> list[Change]:
    """List the questions of unchanged outcomes whose budget or tokens changed, unknown growth last."""
    changes = []
    for draws in questions:
        if change_of(draws) is None:
            for b, a in draws:
                if (b.token_budget, b.output_tokens) != (a.token_budget, a.output_tokens):
                    changes.append(_as_change(b, a, "other"))
                    break

    def growth(change: Change) -> float:
        known = change.run_tokens is not None and change.baseline_tokens is not None
        return (change.run_tokens or 0) - (change.baseline_tokens or 0) if known else -math.inf

    return sorted(changes, key=growth, reverse=True)


def _as_change(before: Record, after: Record, kind: ChangeKind) -> Change:
    question = before.question
    if question is None:
        question = "\n".join(f"{name}: {value}" for name, value in (before.inputs or {}).items())
    return Change(
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
