"""`--ray`: the shards of a command as tasks of a Ray cluster.

One table shows all of them, and they are merged at the end.
"""

import functools
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tale_dspy.accounting.ledger import Ledger
from tale_dspy.backends.limiter import Limiter
from tale_dspy.cli.console import SECONDS_BETWEEN_LINES, console, line_every
from tale_dspy.cli.plan import Plan
from tale_dspy.errors import UsageError

if TYPE_CHECKING:
    from rich.table import Table

    from tale_dspy.datasets import Dataset
    from tale_dspy.runs.merge import MergedRun
    from tale_dspy.runs.options import Tally
    from tale_dspy.runs.ray_shards import ShardContext

MOST_ROWS = 16
"""Shards that the live table shows; of more, those that are at work."""

Watcher = Callable[["Mapping[int, Tally]", int], None]


def ask_on_ray(plan: Plan) -> "tuple[MergedRun, str | None]":
    """Evaluate all shards of a plan, and merge them.

    Returns:
        The merged run, and the sentence of the cap that ended it early or None.

    Raises:
        UsageError: If the plan cannot be split, or no cluster is reachable.
        BackendError: If the provider refuses everything, or workers are lost again and again.
        KeyboardInterrupt: On Ctrl-C, after what was finished has been written and merged.
    """
    from tale_dspy.runs.merge import merge_shards
    from tale_dspy.runs.ray_shards import run_shards
    from tale_dspy.runs.shard_coordinator import SharedLimits
    from tale_dspy.runs.shards import shard_folders

    address, out = check_ray(plan), plan.folder()
    limits = SharedLimits(plan.max_usd, plan.max_total_output_tokens, plan.rpm, plan.tpm)
    one = replace(plan, ray=None, shards=None, out=out, api_key=None)
    count = plan.shards or split_of(out)
    try:
        with live_table(f"{plan.program} on {plan.data}") as watch:
            work = functools.partial(evaluate_shard, one)
            end, merged = run_shards(address, count, out, work, limits, watch, lambda: merge_shards(out))
    except KeyboardInterrupt:
        if shard_folders(out):
            merge_shards(out)
        raise
    return merged, end.stopped


MOST_SHARDS = 10_000
"""Shards of one command; each is a task of Ray, and reads the whole data set."""


def check_ray(plan: Plan) -> str:
    """Return the address of the cluster, or say what does not go with it."""
    if plan.ray is None:
        raise UsageError("--shards says into how many parts --ray splits a run: give --ray, too")
    if plan.shard is not None:
        raise UsageError("--ray does all shards, --shard one of them: give one of the two")
    if plan.shards is not None and not 1 <= plan.shards <= MOST_SHARDS:
        raise UsageError(f"--shards must be from 1 to {MOST_SHARDS}, got {plan.shards}")
    if plan.program in ("budget:best", "effort:best"):
        raise UsageError(
            f"{plan.program} is chosen on training questions first: run it without --ray, then its budget with --ray"
        )
    # They refuse here what each shard would refuse on its own, or take for a cap that is reached.
    Limiter(plan.rpm, plan.tpm)
    Ledger(plan.max_usd, plan.max_total_output_tokens)
    return plan.ray


def split_of(out: Path) -> int | None:
    """Return into how many shards a folder is split already, or None."""
    from tale_dspy.runs.shards import shard_of, shards_in

    shards = shards_in(out)
    first = shard_of(shards[0]) if shards else None
    return None if first is None else first.count


def evaluate_shard(plan: Plan, context: "ShardContext") -> bool:
    """Evaluate one shard of a plan, in a worker; return whether a cap ended it."""
    from tale_dspy.cli.evaluation import ask
    from tale_dspy.programs.spec import check_program_word

    check_program_word(plan.program)  # before the data, which may be a download
    one = replace(plan, shard=str(context.shard))
    run = ask(one, context.progress, questions_of_plan(plan), context.caps, context.limiter)
    return run.stopped == "cap"


@functools.lru_cache(maxsize=1)
def questions_of_plan(plan: Plan) -> "Dataset":
    """Load and hash the questions of a command, once a worker.

    The shards of a worker follow each other.
    """
    return plan.checked().load_data().hashed()


@contextmanager
def live_table(title: str) -> Iterator[Watcher]:
    """Show the progress of all shards on stderr while a command runs.

    Without a terminal, a line is written at intervals.
    """
    if not sys.stderr.isatty():
        say_line = line_every(SECONDS_BETWEEN_LINES, title)
        yield lambda tallies, count: say_line(total_of(tallies.values()))
        return
    from rich.live import Live

    with Live(console=console(stderr=True), refresh_per_second=4) as live:
        yield lambda tallies, count: live.update(table_of(title, tallies, count))


def total_of(tallies: "Iterable[Tally]") -> "Tally":
    """Add up the running figures of shards."""
    from tale_dspy.runs.options import Tally

    total = Tally(total=0)
    for tally in tallies:
        for name in vars(total):
            setattr(total, name, getattr(total, name) + getattr(tally, name))
    return total


def table_of(title: str, tallies: "Mapping[int, Tally]", count: int) -> "Table":
    """Lay out one row a shard, and their sum."""
    from rich.table import Table

    from tale_dspy.display import visible

    table = Table(title=visible(title, " "), title_justify="left", box=None)
    for name in ("shard", "done", "right", "tokens", "spent"):
        table.add_column(name, justify="right", no_wrap=True)
    shown = dict(sorted(tallies.items()))
    if count > MOST_ROWS:
        at_work = {number: tally for number, tally in shown.items() if tally.done < tally.total}
        shown = dict(list(at_work.items())[:MOST_ROWS])
    for number, tally in shown.items():
        table.add_row(f"{number}/{count}", *_cells(tally))
    waiting = count - len(tallies)
    table.add_row("all", *_cells(total_of(tallies.values())), style="bold")
    if waiting:
        table.caption = f"{waiting} of {count} shards have not begun"
    return table


def _cells(tally: "Tally") -> list[str]:
    return [
        f"{tally.done}/{tally.total}",
        f"{tally.correct / tally.done:.1%}" if tally.done else "–",
        f"{tally.output_tokens / tally.counted:.1f}" if tally.counted else "–",
        "–" if tally.unpriced or not tally.done else f"${tally.spent_usd:.4f}",
    ]
