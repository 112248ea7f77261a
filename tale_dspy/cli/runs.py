"""`tale runs`: what lies in a folder of runs."""

from pathlib import Path
from typing import Annotated

import typer

from tale_dspy.cli import flags
from tale_dspy.cli.console import say

NAME = "runs"


def run(
    folder: Annotated[Path, typer.Argument(help="A folder of runs; the folders below it are looked into.")] = Path(
        "runs"
    ),
    json: flags.Json = False,
) -> None:
    """List the runs, searches and trained adapters in a folder, with their main figures."""
    from tale_dspy.cli.console import console, print_json
    from tale_dspy.reports.run_listing import list_folder, listing_table

    entries = list_folder(folder)
    table = listing_table(entries)
    if json:
        print_json({"folder": str(folder), "entries": table.values()})
    elif entries:
        console().print(table.known().rich())
    else:
        say(f"{folder} holds no run, search or trained adapter")
