"""`tale reproduce`: one row of the paper's tables, run here and put beside the paper's figures."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tale_dspy.cli import flags
from tale_dspy.errors import SpendCapReached, UsageError

if TYPE_CHECKING:
    from tale_dspy.cli.plan import Plan
    from tale_dspy.runs.records import Run

NAME = "reproduce"
SYSTEMS = ("direct", "cot", "tale-ep")


def run(
    row: Annotated[
        str, typer.Argument(help="A row of the paper, such as table3-gsm8k or table4-gpt-4o; `list` names all.")
    ],
    model: Annotated[str | None, typer.Option(help="Another model than the paper's.")] = None,
    api_base: flags.ApiBase = None,
    engine: flags.Engine = "litellm",
    limit: flags.Limit = None,
    concurrency: flags.Concurrency = 32,
    max_usd: flags.MaxUsd = None,
    price_in: flags.PriceIn = None,
    price_out: flags.PriceOut = None,
    cache: flags.Cache = True,
    mark: flags.Mark = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the run folders; default runs/ROW.")] = None,
    yes: flags.Yes = False,
    json: flags.Json = False,
) -> int:
    """Run direct answering, vanilla CoT and TALE-EP on one row of the paper's Tables 3 and 4 with the paper's settings.

    Prints the calls and their expected price first, and asks, unless --yes is given.
    """
    from tale_dspy.cli.plan import Plan
    from tale_dspy.cli.show import console, print_json
    from tale_dspy.reports import ROWS, beside, beside_table, expected_cost, find_row, to_json

    screen = console()
    if row == "list":
        for name, known in ROWS.items():
            typer.echo(f"{name}: {known.data} with {known.model}")
        return 0
    wanted = find_row(row)
    plan = Plan(
        program="cot",
        data=wanted.data,
        model=model or wanted.model,
        api_base=api_base,
        engine=engine,
        limit=limit,
        concurrency=concurrency,
        max_usd=max_usd,
        price_in=price_in,
        price_out=price_out,
        cache=cache,
        mark=mark,
        preset="paper",
        out=out or Path("runs") / wanted.id,
    ).checked()
    n = len(plan.load_data())
    plan.check_provider(plan.language_model())
    typer.echo(expected_cost(wanted, plan.model, n, plan.price()), err=True)
    if not yes and not _confirmed():
        raise UsageError("nothing was asked: confirm, or give --yes")
    runs = run_systems(plan)
    rows = beside(wanted, runs)
    if json:
        print_json({"row": wanted.id, "rows": to_json(rows), "runs": {k: r.summary for k, r in runs.items()}})
    else:
        screen.print(beside_table(wanted, rows, width=screen.width))
    return 0 if len(runs) == len(SYSTEMS) and not any(r.stopped for r in runs.values()) else 3


def _confirmed() -> bool:
    try:
        return typer.confirm("Go on?", err=True)
    except typer.Abort:  # nobody is there to answer
        typer.echo(err=True)
        return False


def run_systems(plan: "Plan") -> "dict[str, Run]":
    """Run the three systems under one cap, each in a folder of its own under the plan's, until the cap ends it."""
    from tale_dspy.cli.show import live_bar
    from tale_dspy.runs.options import SharedCaps

    caps, folder, runs = SharedCaps(plan.max_usd), plan.folder(), {}
    for system in SYSTEMS:
        try:
            one = replace(plan, program=system, out=folder / system, max_usd=caps.left()["max_usd"])
            with live_bar(f"{system} on {plan.data}") as progress:
                runs[system] = one.run(caps.watching(progress))
            stopped = runs[system].message if runs[system].stopped else None
        except SpendCapReached as e:
            stopped = str(e)
        if stopped:
            typer.echo(f"{stopped}; kept in {folder}, the same command continues", err=True)
            break
    return runs
