"""`tale demo`: the whole idea on a real model.

It takes no key, no download and no network.
"""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tale_dspy.cli.console import say
from tale_dspy.errors import MissingExtraError, UsageError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from tale_dspy.runs.options import Tally
    from tale_dspy.runs.records import Run

NAME = "demo"
DATA = "embedded:test"
QUESTIONS = 120
BUDGETS = (3, 5, 8, 12, 18, 27, 40, 60, 90, 135, 200, 300)
PROGRAMS = ("cot", "direct", "concise", "tale-ep", *(f"budget:{n}" for n in BUDGETS))
NOTICE = (
    "The model of this demo ships with it: a Llama of one million parameters, trained by this repository on arithmetic "
    "stories to obey token budgets. Its replies, mistakes and tokens are real, but they say nothing about any other "
    "model. It is asked stories that it never saw in training."
)
NEXT = (
    "tale eval cot --data gsm8k --model openai/gpt-4o-mini --limit 100 --max-usd 0.50 --out runs/cot",
    "tale eval tale-ep --data gsm8k --model openai/gpt-4o-mini --limit 100 --max-usd 0.50 --out runs/tale-ep",
    "tale report runs/cot runs/tale-ep --out report",
)


def run_command(
    questions: Annotated[
        int | None, typer.Option(min=1, help="Questions asked of each program; default 120, 1000 with --full.")
    ] = None,
    full: Annotated[
        bool, typer.Option("--full", help="Search budgets, distil, train with SFT and DPO, and prove it: 20 minutes.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Folder for run folders and report; default demo-runs/.")] = None,
    model: Annotated[str, typer.Option(hidden=True, help="Another model, such as a checkpoint of it.")] = "embedded",
) -> None:
    """Ask the small model that ships, with and without budgets.

    Compares the programs and draws the report.
    """
    from tale_dspy.cli.console import console
    from tale_dspy.comparison.compare import compare
    from tale_dspy.reports import elasticities, rich_comparison, rich_elasticity

    screen, folder = console(), out or Path("demo-runs")
    if model == "embedded":
        screen.print(NOTICE, style="yellow")
    if full:
        from tale_dspy.cli.demo_full import run_full

        run_full(screen, model, questions, folder)
        return
    runs = ask_all(screen, model, questions or QUESTIONS, folder)
    screen.print()
    screen.print(rich_comparison(compare(runs["cot"], runs["tale-ep"]), width=screen.width, limit=1))
    for curve in elasticities(list(runs.values())):
        screen.print("\nFixed budgets", style="bold")
        screen.print(rich_elasticity(curve, width=screen.width))
    _write_report(list(runs.values()), folder / "report")
    screen.print("\nWith a real provider (set its key first), try:", style="bold")
    for line in NEXT:
        say(f"  {line}")


def ask_all(screen: "Console", model: str, questions: int, folder: Path) -> "dict[str, Run]":
    """Run every program in a folder of its own.

    Runs that are finished are only read.
    """
    import dspy

    from tale_dspy.adapter import TaleAdapter
    from tale_dspy.datasets import load_dataset
    from tale_dspy.programs.spec import program_from
    from tale_dspy.runs.engine import evaluate

    dspy.disable_logging()  # what matters of it comes back as an outcome or an error
    places = {name: folder / name.replace(":", "-") for name in PROGRAMS}
    with screen.status("loading the model and the questions") if screen.is_terminal else nullcontext():
        lm, data = _demo_model(model), load_dataset(DATA).take(limit=questions)
        if not isinstance(lm.engine, str) and not all((place / "summary.json").exists() for place in places.values()):
            lm.engine.load()  # now, and not while the first question waits
    board = Board(screen, questions)
    with board.live():
        for name, row in board.rows.items():
            program = program_from(name, data.signature)
            options = {"lm": lm, "adapter": TaleAdapter(), "name": name, "progress": row.watch}
            board.finish(row, evaluate(program, data, out=places[name], **options))
    return {name: row.run for name, row in board.rows.items() if row.run is not None}


def _demo_model(model: str) -> Any:
    from tale_dspy.backends.lm import LM

    try:
        return LM(model, cache=False)
    except MissingExtraError as e:  # the demo is nothing without its model
        raise UsageError(f"the demo runs a model in this process, but {e}") from e


@dataclass
class BoardRow:
    """How far one program is."""

    program: str
    tally: "Tally | None" = None
    run: "Run | None" = None

    def watch(self, tally: "Tally") -> None:
        """Take the running figures."""
        self.tally = tally

    def figures(self) -> list[str]:
        """Write questions done, accuracy, and mean output and estimate tokens.

        They are dashes before the first answer.
        """
        if self.run is not None:
            summary = self.run.summary
            values = summary["accuracy"], summary["output_tokens_mean"], summary["estimate_tokens_mean"]
            return _figure_cells(summary["n"], *values)
        if self.tally is None or not self.tally.done:
            return _figure_cells(0, None, None, None)
        tally = self.tally
        tokens = tally.output_tokens / tally.counted if tally.counted else None
        return _figure_cells(tally.done, tally.correct / tally.done, tokens, None)


def _figure_cells(finished: int, accuracy: float | None, tokens: float | None, estimate: float | None) -> list[str]:
    from tale_dspy.comparison.formatting import number

    return [str(finished), number(accuracy, scale=100), number(tokens), number(estimate)]


class Board:
    """All programs, as a table on a terminal and as lines elsewhere.

    Args:
        screen: Where it is shown.
        questions: How many each program is asked.
    """

    def __init__(self, screen: "Console", questions: int) -> None:
        self.screen = screen
        self.questions = questions
        self.rows = {name: BoardRow(name) for name in PROGRAMS}

    def live(self) -> AbstractContextManager[Any]:
        """Show the table while programs run, and leave it on the screen."""
        from rich.live import Live

        if not self.screen.is_terminal:
            return nullcontext()
        return Live(get_renderable=self.table, console=self.screen, refresh_per_second=5)

    def finish(self, row: BoardRow, run: "Run") -> None:
        """Take the finished run of a program."""
        row.run = run
        if not self.screen.is_terminal:
            finished, right, tokens, estimate = row.figures()
            estimate_note = "" if estimate == "–" else f", {estimate} for the estimate"
            say(f"{row.program}: {finished} questions, {right} % right, {tokens} output tokens{estimate_note}")

    def table(self) -> "Table":
        """Draw the table as it stands.

        Finished programs are plain, the running one bold, the others dim.
        """
        from rich.box import SIMPLE_HEAD
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        table = Table(box=SIMPLE_HEAD, pad_edge=False, width=min(self.screen.width, 110))
        table.add_column("Program", no_wrap=True)
        table.add_column("", ratio=1)
        for name in (f"Of {self.questions}", "Right %", "Output tokens", "Estimate tokens"):
            table.add_column(name, justify="right", no_wrap=True)
        for row in self.rows.values():
            figures = row.figures()
            bar = ProgressBar(self.questions, int(figures[0]), finished_style="green")
            style = "" if row.run is not None else "bold" if row.tally is not None else "dim"
            table.add_row(row.program, bar, *figures, style=style)
        return table


def _write_report(runs: "list[Run]", folder: Path) -> None:
    from tale_dspy.reports import ReportSources, write_report

    try:
        files = write_report(ReportSources(runs), folder)
        say(f"\nfigures and tables: {folder} ({len(files)} files); to look at: {files[-1]}")
    except MissingExtraError as e:
        say(f"\nno figures: {e}")
