"""`tale reproduce`: one row of the paper's tables, run here and put beside the paper's figures."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from tale_dspy.cli import flags
from tale_dspy.errors import UsageError

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
    from tale_dspy.cli.show import console, live_bar, print_json
    from tale_dspy.reports.paper import ROWS, beside, beside_table, expected_cost, find_row
    from tale_dspy.reports.table import to_json

    screen, log = console(), console(stderr=True)
    if row == "list":
        for name, known in ROWS.items():
            screen.print(f"{name}: {known.data} with {known.model}", markup=False)
        return 0
    wanted = find_row(row)
    folder = out or Path("runs") / row
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
    ).checked()
    n = len(plan.load_data())
    log.print(expected_cost(wanted, plan.model, n, plan.price()), markup=False)
    if not yes and not typer.confirm("Go on?", err=True):
        raise UsageError("nothing was asked: confirm, or give --yes")
    runs = {}
    for system in SYSTEMS:
        with live_bar(f"{system} on {wanted.data}") as progress:
            runs[system] = replace(plan, program=system, out=folder / system).run(progress)
        if runs[system].stopped:
            log.print(f"{runs[system].message}; kept in {folder}", markup=False)
            return 3
    rows = beside(wanted, runs)
    if json:
        print_json({"row": row, "rows": to_json(rows), "runs": {k: r.summary for k, r in runs.items()}})
    else:
        screen.print(beside_table(wanted, rows, width=screen.width))
    return 0
