"""What commands print: the live bar on stderr, tables and JSON on stdout."""

import json
import math
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from tale_dspy.runs.options import Tally


PIPED_WIDTH = 160
"""Columns of what goes into a file or a pipe, where nothing has to fit a screen."""
LEAST_WIDTH = 80
"""Columns that tables need: on a narrower terminal their lines are broken, so that no figure is cut off."""


def console(*, stderr: bool = False) -> "Console":
    """Return a console on stdout or stderr.

    Piped output is 160 columns wide and has no colours.
    """
    from tale_dspy.cli.visible_console import VisibleConsole

    if not (sys.stderr if stderr else sys.stdout).isatty():
        return VisibleConsole(stderr=stderr, width=PIPED_WIDTH)
    screen = VisibleConsole(stderr=stderr)
    if not stderr:  # where the live bar is, which fits every terminal
        screen.width = max(screen.width, LEAST_WIDTH)
    return screen


def confirmed() -> bool:
    """Ask whether to go on; where nobody is there to answer, the answer is no."""
    import typer

    try:
        return typer.confirm("Go on?", err=True)
    except typer.Abort:
        typer.echo(err=True)
        return False


def say(text: object, *, err: bool = False) -> None:
    """Print a line without control characters.

    Characters that command a terminal, hide or reorder text are shown as codes.
    """
    import typer

    from tale_dspy.display import visible

    typer.echo(visible(str(text)), err=err)


def print_json(value: object) -> None:
    """Print exactly one JSON object on stdout, in strict JSON.

    A number that is not finite becomes null. What could command a terminal, hide or reorder text is escaped.
    """
    from tale_dspy.display import visible_json

    plain = sys.stdout.encoding.lower().replace("-", "") != "utf8"
    text = json.dumps(_strict_json(value), ensure_ascii=plain, allow_nan=False, default=str)
    sys.stdout.write(visible_json(text) + "\n")


def _strict_json(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {k: _strict_json(v) for k, v in value.items()}
    return [_strict_json(v) for v in value] if isinstance(value, list | tuple) else value


SECONDS_BETWEEN_LINES = 30.0
"""Seconds between two lines of progress where there is no terminal, such as in a log of a cluster."""


def line_every(seconds: float, title: str) -> "Callable[[Tally], None]":
    """Return a progress callback that writes a line to stderr every so often."""
    import typer

    from tale_dspy.display import visible

    last = time.monotonic()
    lock = threading.Lock()

    def update(tally: "Tally") -> None:
        nonlocal last
        with lock:
            now = time.monotonic()
            if now - last < seconds or not tally.done:
                return
            last = now
        usd = "price unknown" if tally.unpriced else f"${tally.spent_usd:.4f}"
        tokens = f", {tally.output_tokens / tally.counted:.1f} tokens" if tally.counted else ""
        share = f"{tally.correct / tally.done:.1%}"
        typer.echo(f"{visible(title, ' ')}: {tally.done} of {tally.total}, {share} right{tokens}, {usd}", err=True)

    return update


@contextmanager
def live_bar(title: str) -> "Iterator[Callable[[Tally], None] | None]":
    """Show the progress of a run on stderr while it goes on.

    The bar shows answers done, accuracy, mean tokens, spend and time left.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.table import Column

    from tale_dspy.display import visible

    if not sys.stderr.isatty():
        yield line_every(SECONDS_BETWEEN_LINES, title)
        return
    name = Column(no_wrap=True, max_width=28)
    figures = Column(no_wrap=True)  # what a narrow terminal keeps
    columns = (
        TextColumn("{task.description}", markup=False, table_column=name),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn(
            "[green]{task.fields[right]}[/] right [cyan]{task.fields[tokens]}[/] tok {task.fields[usd]}",
            table_column=figures,
        ),
    )
    bar = Progress(*columns, TimeRemainingColumn(compact=True), console=console(stderr=True))
    task = bar.add_task(visible(title, " "), total=None, right="–", tokens="–", usd="$–")

    def update(tally: "Tally") -> None:
        bar.update(
            task,
            total=tally.total,
            completed=tally.done,
            right=f"{tally.correct / tally.done:.1%}" if tally.done else "–",
            tokens=f"{tally.output_tokens / tally.counted:.1f}" if tally.counted else "–",
            usd="$–" if tally.unpriced or not tally.done else f"${tally.spent_usd:.4f}",
        )
        bar.start()  # not before there is something to show: an error while data is loaded stands alone

    try:
        yield update
    finally:
        bar.stop()
