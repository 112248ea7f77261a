"""`tale merge`: the shards of one run as one run."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tale_dspy.cli import flags
from tale_dspy.cli.console import say

if TYPE_CHECKING:
    from tale_dspy.runs.merge import MergedRun

NAME = "merge"


def run_command(
    out: Annotated[Path, typer.Argument(help="The folder that holds shard-0001-of-000N/ and its sisters.")],
    json: flags.Json = False,
) -> int:
    """Join the shards in OUT exactly once.

    Says what was paid twice, and writes OUT/summary.json.
    """
    from tale_dspy.runs.merge import merge_shards

    show(merge_shards(out), json=json)
    return 0


def show(merged: "MergedRun", *, json: bool) -> None:
    """Print shards that were merged."""
    from tale_dspy.cli.console import console, print_json
    from tale_dspy.reports import report_rows, rich_table

    if merged.run.stopped:
        say(f"not finished: {merged.run.stopped}", err=True)
    if merged.doubled_records or merged.calls_paid_twice:
        say(str(merged), err=True)
    if json:
        print_json({**merged.run.summary, **merged.to_json()})
    else:
        screen = console()
        screen.print(rich_table(report_rows([merged.run]), width=screen.width))
