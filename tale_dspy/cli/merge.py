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
    from tale_dspy.reports.search_run import is_search
    from tale_dspy.runs.merge import merge_shards
    from tale_dspy.runs.shards import shards_in

    shards = shards_in(out)
    if any(map(is_search, shards)):
        _merge_searches(out, shards, json=json)
    else:
        show(merge_shards(out), json=json)
    return 0


def _merge_searches(out: Path, shards: "list[Path]", *, json: bool) -> None:
    """Merge the searches of shards, and print what they found."""
    from tale_dspy.cli.console import console, print_json
    from tale_dspy.optimizers.search.merge import merge_searches
    from tale_dspy.reports.search_run import load_search_runs, search_sentence, search_summary

    merged = merge_searches(out, shards)
    if merged is None:
        return
    if merged.summary["stopped"]:
        say(f"not finished: {merged.summary['stopped']}", err=True)
    if merged.doubled_results:
        say(f"{merged.doubled_results} results stood there twice (the last counts)", err=True)
    if json:
        print_json({**merged.summary, "doubled_results": merged.doubled_results})
        return
    for search in load_search_runs(out):
        say(search_sentence(search))
        console().print(search_summary(search).rich(console().width))
    say(f"the same `tale search` command without --shard or --ray learns from it, with --out {out}")


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
