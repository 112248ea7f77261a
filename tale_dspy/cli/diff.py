"""`tale diff`: what changed between two runs, question by question."""

from pathlib import Path
from typing import Annotated

import typer

from tale_dspy.cli import flags
from tale_dspy.display import visible
from tale_dspy.errors import UsageError

NAME = "diff"


def run_command(
    a: Annotated[Path, typer.Argument(help="Run folder of the baseline.")],
    b: Annotated[Path, typer.Argument(help="Run folder of the new run.")],
    limit: Annotated[int, typer.Option(help="Changed questions shown; 0 for all.")] = 20,
    json: flags.Json = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print the changed questions as CSV on stdout.")] = False,
) -> None:
    """Compare run B with baseline A, question by question.

    Prints the paired differences on the questions both have, then every changed question.
    """
    if json and csv:
        raise UsageError("--json and --csv cannot be given together: both print on stdout")
    if limit < 0:
        raise UsageError(f"--limit must be at least 0, got {limit}; 0 shows all")
    from tale_dspy.cli.console import console, print_json
    from tale_dspy.comparison.compare import compare
    from tale_dspy.comparison.load_runs import load_runs
    from tale_dspy.reports import changes_csv, rich_comparison

    baseline, run = load_runs([a, b])
    comparison = compare(baseline, run)
    if json:
        print_json(comparison.to_json())
    elif csv:
        typer.echo(visible(changes_csv(comparison)), nl=False)
    else:
        screen = console()
        screen.print(rich_comparison(comparison, width=screen.width, limit=limit or None))
