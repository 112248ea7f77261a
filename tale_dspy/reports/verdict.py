"""The result of a noninferiority test for a terminal."""

from typing import TYPE_CHECKING

from tale_dspy.comparison.formatting import number
from tale_dspy.comparison.gate import GateResult
from tale_dspy.display import visible

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

STYLES = {"pass": "bold green", "fail": "bold red", "cannot decide": "bold yellow"}


def rich_verdict(verdict: GateResult) -> "Group":
    """Show a verdict: the sides, both figures, the notes, the conclusion."""
    from rich.console import Group
    from rich.text import Text

    v = verdict
    title = Text(
        visible(
            f"{_program_on_model(v.tuned.name, v.tuned.model)} against {_program_on_model(v.base.name, v.base.model)}",
            " ",
        )
    )
    draws = "" if v.draws == v.n else f", {v.draws:,} answers"
    criteria = Text(
        f"{visible(v.data or 'unnamed data', ' ')}: {v.n:,} questions{draws}; {v.right_to_wrong:,} right->wrong, "
        f"{v.wrong_to_right:,} wrong->right; margin {number(100 * v.max_drop, 2)} points; smallest n that could pass "
        f"with so many changed answers: {v.smallest_n:,}"
    )
    notes = [Text(f"note: {visible(note, ' ')}", style="yellow") for note in v.notes]
    sentence = Text(f"{v.outcome}: ", style=STYLES[v.outcome]).append(v.reason, style="not bold")
    return Group(title, criteria, _figures_table(v), *notes, sentence)


def _program_on_model(program: str, model: str | None) -> str:
    return program if model is None else f"{program} on {model}"


def _figures_table(v: GateResult) -> "Table":
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in ("", "base", "tuned", "change", "95 % bound", "limit"):
        table.add_column(name, justify="right" if name else "left")
    base, tuned = (number(100 * share, 2) for share in v.accuracy)
    change, bound, limit = (
        number(100 * value, 2, sign=True) for value in (v.accuracy_change, v.accuracy_bounds[0], -v.max_drop)
    )
    table.add_row("accuracy %", base, tuned, change, bound, limit)
    saved, surely, least = (f"{number(100 * value)} %" for value in (v.saving, v.saving_bounds[0], v.min_saving))
    table.add_row("output tokens", number(v.tokens[0]), number(v.tokens[1]), f"saves {saved}", surely, least)
    return table
