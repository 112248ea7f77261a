"""A comparison of two runs for a terminal and as CSV: regressions first.

Text of questions, replies and answers is data: it is shown as it is, never read as markup or terminal commands.
"""

import json
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from tale_dspy.comparison.changes import QuestionChange
from tale_dspy.comparison.compare import Comparison
from tale_dspy.comparison.formatting import change_text, number, plain_json, saving_text, side_texts
from tale_dspy.comparison.paired import PairedMeans
from tale_dspy.display import visible
from tale_dspy.reports.text import csv_text

if TYPE_CHECKING:
    from rich.console import Group, RenderableType
    from rich.table import Table
    from rich.text import Text


def changes_csv(comparison: Comparison, *, token_changes: bool = False) -> str:
    """Write the changed questions as CSV, one a row, with both whole replies.

    Unknown is empty; an answer or gold that is no text is written as JSON. A comparison without changes gives the
    header alone.

    Args:
        comparison: What `compare` gave.
        token_changes: Whether questions of unchanged outcome with another budget or token count follow.
    """
    changes = [*comparison.changes, *(comparison.token_changes if token_changes else [])]
    rows = ({name: _csv_value(value) for name, value in asdict(change).items()} for change in changes)
    return csv_text([f.name for f in fields(QuestionChange)], rows)


def rich_comparison(comparison: Comparison, width: int = 100, limit: int | None = 20) -> "Group":
    """Show a comparison on a terminal: figures, notes, changed questions.

    Both replies of a changed question are shown, cut to fit.

    Args:
        comparison: What `compare` gave.
        width: Columns of the terminal.
        limit: How many changed questions to show; None shows all, 0 none. What is left out is counted.
    """
    from rich.console import Group
    from rich.text import Text

    shown = comparison.changes if limit is None else comparison.changes[: max(0, limit)]
    parts: list[RenderableType] = [_headline_text(comparison), _figures_table(comparison, width)]
    parts += [Text(f"note: {visible(note, ' ')}", style="yellow") for note in comparison.notes]
    parts += [_change_view(change, width) for change in shown]
    left = len(comparison.changes) - len(shown)
    if left:
        parts.append(
            Text(f"\n{left} more changed {'question is' if left == 1 else 'questions are'} not shown", style="dim")
        )
    if not comparison.changes:
        parts.append(Text("\nno outcome changed", style="dim"))
    return Group(*parts)


def _csv_value(value: object) -> Any:
    if value is None or isinstance(value, (str, int, float)):
        return value
    return json.dumps(plain_json(value), ensure_ascii=False)


def _headline_text(c: Comparison) -> "Text":
    from rich.text import Text

    draws = "" if c.draws == c.n else f" ({c.draws} draws)"
    data = c.data or "unnamed data"
    text = Text(visible(f"{c.run.name} against {c.baseline.name} on {data}, {c.n} questions{draws}", " "), style="bold")
    claim = "adapter, instructions and demos are the same" if c.is_budget_saving else str(c.blocking_reason)
    text.append(f"\n{c.right_to_wrong} right->wrong", style="red").append(", ")
    text.append(f"{c.wrong_to_right} wrong->right", style="green")
    text.append(f", exact {c.exact_test}", style="not bold")
    text.append(f"\nbudget saving: {'yes' if c.is_budget_saving else 'not claimed'} ({claim})", style="not bold")
    return text


def _figures_table(c: Comparison, width: int) -> "Table":
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in ("", "baseline", "run", "difference [95 % paired]", ""):
        table.add_column(name, justify="right" if name else "left", overflow="fold")

    def row(name: str, means: PairedMeans, scale: float = 1.0, digits: int = 1) -> None:
        change = change_text(means, scale, digits)
        change = change if width >= 90 else change.replace(" [", "\n[")
        table.add_row(*map(Text, (name, *side_texts(means, scale, digits), change, saving_text(means))))

    a, b = c.baseline, c.run
    row("accuracy %", c.accuracy, 100)
    row("output tokens", c.output_tokens)
    table.add_row("estimate tokens", number(a.estimate_tokens), number(b.estimate_tokens))
    row("net tokens", c.net_tokens)
    row("USD per 1000", c.price_usd, 1000, 4)
    for name, before, after in (("p50 s", a.latency_p50, b.latency_p50), ("p95 s", a.latency_p95, b.latency_p95)):
        table.add_row(f"latency {name}", number(before, 2), number(after, 2))
    return table


def _change_view(change: QuestionChange, width: int) -> "Group":
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    style = {"right->wrong": "bold red", "wrong->right": "bold green", "other": "bold yellow"}[change.kind]
    title = Text(f"\n{change.baseline_outcome} -> {change.run_outcome}", style=style)
    grid = Table.grid(padding=(0, 1))
    grid.width = width
    grid.add_column(width=8)
    grid.add_column(ratio=1, overflow="fold")
    room = max(20, width - 9)
    grid.add_row(Text("question", style="dim"), Text(_fit_line(change.question, 2 * room)))
    grid.add_row(Text("gold", style="dim"), Text(_fit_line(_answer_text(change.gold), room)))
    for name, answer, budget, tokens, reply in (
        ("baseline", change.baseline_answer, change.baseline_budget, change.baseline_tokens, change.baseline_reply),
        ("run", change.run_answer, change.run_budget, change.run_tokens, change.run_reply),
    ):
        spent = f"   {number(tokens, 0)} tokens" + ("" if budget is None else f", budget {number(budget, 0)}")
        cell = Text(_fit_line(_answer_text(answer), room - len(spent)), style="bold").append(
            spent, style="not bold dim"
        )
        grid.add_row(Text(name, style="dim"), cell)
        grid.add_row("", Text(_fit_line(reply or "no reply", 3 * room)))
    return Group(title.append(f"   {visible(change.id, ' ')}", style="not bold dim"), grid)


def _answer_text(value: object) -> str:
    if value is None:
        return "–"
    return value if isinstance(value, str) else json.dumps(plain_json(value), ensure_ascii=False)


def _fit_line(text: str, length: int) -> str:
    """Fit a text into one line of `length` characters.

    The middle is left out, so that the answer at the end of a reply stays visible.
    """
    line = visible(" ".join(text.split()))
    if len(line) <= length:
        return line
    head = max(1, length // 3)
    return f"{line[:head]} … {line[-max(1, length - head - 3) :]}"
