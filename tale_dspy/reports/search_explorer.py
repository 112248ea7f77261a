"""All questions of a search as a searchable table.

It shows the tokens of each without a budget and under its best one.
"""

from collections.abc import Sequence

from tale_dspy.budget import EFFORT_WORDS
from tale_dspy.comparison.formatting import number
from tale_dspy.optimizers.search.records import SearchRow
from tale_dspy.reports.explorer import ExplorerColumn, RowExplorer, TextPane
from tale_dspy.reports.search_run import SearchRun
from tale_dspy.reports.text import one_line, question_text, value_text


def search_explorer(search: SearchRun, source: str) -> RowExplorer:
    """Make the table of a search.

    Each question is a row, which opens to show every budget that was tried.

    Args:
        search: One of `load_search_runs`.
        source: Identifies its data in the page.
    """
    rows = search.rows
    texts = [question_text(row.question, row.inputs) or row.id for row in rows]
    best = [row.best for row in rows]
    return RowExplorer(
        source=source,
        unit="questions",
        groups=["search"],
        columns=[
            ExplorerColumn(name="Question", values=[one_line(text, 300) for text in texts], kind="text"),
            ExplorerColumn(name="Gold", values=[one_line(value_text(row.gold), 60) for row in rows], kind="text"),
            ExplorerColumn(
                name="Without a budget",
                values=["correct" if row.vanilla.correct else "wrong" for row in rows],
                kind="word",
                is_filter=True,
            ),
            ExplorerColumn(name="Tokens without", values=[row.vanilla.tokens for row in rows]),
            ExplorerColumn(name="Budgets tried", values=[len(row.trials) for row in rows]),
            ExplorerColumn(name="Best budget", values=[None if b is None else b.budget for b in best]),
            ExplorerColumn(name="Tokens with it", values=[None if b is None else b.tokens for b in best], digits=1),
            ExplorerColumn(name="Saved %", values=[_saved_percent(row) for row in rows], digits=1),
            ExplorerColumn(
                name="Without a best budget",
                values=[row.reason for row in rows],
                kind="word",
                is_filter=True,
            ),
        ],
        panes=lambda i: _row_panes(rows[i]),
        is_telling=lambda i: rows[i].best is not None,
        elsewhere="This page is too small for the texts of all questions: search.jsonl holds them.",
    )


def _saved_percent(row: SearchRow) -> float | None:
    if row.best is None or not row.vanilla.tokens:
        return None
    return 100 * (1 - row.best.tokens / row.vanilla.tokens)


def _row_panes(row: SearchRow) -> Sequence[TextPane]:
    vanilla = f"without a budget: {_verdict_word(row.vanilla.correct)}, {number(row.vanilla.tokens, 0)} tokens"
    return [
        TextPane(title=f"Question {row.id}", text=question_text(row.question, row.inputs) or row.id, group=None),
        TextPane(title=vanilla, text=row.vanilla.text or "no reply", group=0),
        *(
            TextPane(
                title=f"budget {trial.budget}: {_verdict_word(trial.correct)}, {number(trial.tokens, 0)} tokens",
                text=trial.text or "no reply",
                group=0,
            )
            for trial in sorted(row.trials, key=lambda trial: _budget_order(trial.budget), reverse=True)
        ),
    ]


def _budget_order(budget: int | str) -> tuple[bool, float]:
    """Order budgets: effort words after numbers, as little as possible first."""
    if isinstance(budget, str):
        return True, EFFORT_WORDS.index(budget) if budget in EFFORT_WORDS else -1
    return False, budget


def _verdict_word(correct: bool) -> str:
    return "correct" if correct else "wrong"
