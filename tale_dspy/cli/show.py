"""What commands print: the live bar on stderr, tables and JSON on stdout."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from tale_dspy.runs.options import Tally


def console(*, stderr: bool = False) -> "Console":
    """Return a console on stdout or stderr; piped output is 160 columns wide and has no colours."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, width=None if stream.isatty() else 160, highlight=False)


def print_json(value: Any) -> None:
    """Print exactly one JSON object on stdout."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, default=str) + "\n")


@contextmanager
def live_bar(title: str, *, quiet: bool = False) -> "Iterator[Callable[[Tally], None] | None]":
    """Show done, accuracy, mean tokens, spend and time left on stderr while a run goes on."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    if quiet or not sys.stderr.isatty():
        yield None
        return
    figures = TextColumn(
        "[green]{task.fields[accuracy]}[/] right [cyan]{task.fields[tokens]}[/] tok ${task.fields[usd]}"
    )
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=None), MofNCompleteColumn(), figures)
    with Progress(*columns, TimeRemainingColumn(compact=True), console=console(stderr=True)) as bar:
        task = bar.add_task(title, total=None, accuracy="–", tokens="–", usd="0.0000")

        def update(tally: "Tally") -> None:
            bar.update(
                task,
                total=tally.total,
                completed=tally.done,
                accuracy=f"{tally.correct / tally.done:.1%}" if tally.done else "–",
                tokens=f"{tally.output_tokens / tally.counted:.1f}" if tally.counted else "–",
                usd=f"{tally.spent_usd:.4f}",
            )

        yield update
