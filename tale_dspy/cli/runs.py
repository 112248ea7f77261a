"""`tale runs`: what lies in a folder of runs."""

from pathlib import Path
from typing import Annotated

import typer

from tale_dspy.cli import flags
from tale_dspy.cli.console import say

NAME = "runs"


def run_command(
    folder: Annotated[Path, typer.Argument(help="A folder of runs; the folders below it are looked into.")] = Path(
        "runs"
    ),
    inner: Annotated[
        bool, typer.Option("--all", help="List the runs that searches and tunings made for themselves, too.")
    ] = False,
    json: flags.Json = False,
) -> None:
    """List the runs, searches, tunings and trained adapters in a folder.

    Each is shown with its main figures; a tuning with those of the chosen program on fresh questions.
    """
    from tale_dspy.cli.console import console, print_json
    from tale_dspy.reports.run_listing import list_folder, listing_table, screen_listing

    entries = list_folder(folder, with_inner_runs=inner)
    if json:
        print_json({"folder": str(folder), "entries": listing_table(entries).values()})
    elif entries:
        screen = console()
        screen.print(screen_listing(entries, screen.width).rich())
    else:
        say(f"{folder} holds no run, search, tuning or trained adapter")
