"""`tale reproduce`: run one row of the paper's tables here.

Its figures are put beside the paper's.
"""

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tale_dspy.cli import flags
from tale_dspy.cli.console import say
from tale_dspy.errors import SpendCapReached, UsageError

if TYPE_CHECKING:
    from tale_dspy.cli.plan import Plan
    from tale_dspy.reports import PaperRow
    from tale_dspy.runs.records import Run

NAME = "reproduce"
Systems = dict[str, tuple[str, str]]
"""By the name in the paper's table: the program to run, and the model to ask."""


def run_command(
    row: Annotated[
        str, typer.Argument(help="A row of the paper, such as table3-gsm8k or table4-gpt-4o; `list` names all.")
    ],
    model: Annotated[str | None, typer.Option(help="Another model than the paper's.")] = None,
    sft: Annotated[str | None, typer.Option(help="Tables 5 and 6: the model that SFT made, served or local:.")] = None,
    dpo: Annotated[str | None, typer.Option(help="Tables 5 and 6: the model that DPO made.")] = None,
    api_base: flags.ApiBase = None,
    engine: flags.Engine = "litellm",
    limit: flags.Limit = None,
    concurrency: flags.Concurrency = 32,
    max_usd: flags.MaxUsd = None,
    price_in: flags.PriceIn = None,
    price_out: flags.PriceOut = None,
    cache: flags.Cache = True,
    provenance: flags.Provenance = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the run folders; default runs/ROW.")] = None,
    yes: flags.Yes = False,
    json: flags.Json = False,
) -> int:
    """Run the systems of one row of the paper's Tables 3 to 6.

    These are direct, cot, tale-ep and tale-pt, with the settings of the row. Prints the calls and their expected price
    first, and asks, unless --yes is given. The models of Tables 5 and 6 are trained first, and given by --sft and
    --dpo: the commands, GPU memory and hours are printed.
    """
    from tale_dspy.cli.console import confirmed, console, print_json
    from tale_dspy.cli.plan import Plan
    from tale_dspy.reports import ROWS, beside, beside_table, expected_cost, expected_hardware, find_row, to_json

    screen = console()
    if row == "list":
        for name, listed in ROWS.items():
            say(f"{name}: {listed.data} with {listed.model}")
        return 0
    paper_row = find_row(row)
    plan = Plan(
        program="cot",
        data=paper_row.data,
        model=model or paper_row.model,
        api_base=api_base,
        engine=engine,
        limit=limit,
        concurrency=concurrency,
        max_usd=max_usd,
        price_in=price_in,
        price_out=price_out,
        cache=cache,
        provenance=provenance,
        preset="paper",
        out=out or Path("runs") / paper_row.id,
    ).checked()
    n = len(plan.load_data())
    systems = systems_of(paper_row, plan.model, {"--sft": sft, "--dpo": dpo})
    for line in expected_hardware(paper_row) if len(systems) < len(paper_row.systems) else ():
        say(line, err=True)  # before the models are checked: without them the commands are what one needs
    _check_models(plan, systems)
    planned = replace(paper_row, systems={name: paper_row.systems[name] for name in systems})
    say(expected_cost(planned, plan.model, n, plan.price()), err=True)
    if not yes and not confirmed():
        raise UsageError("nothing was asked: confirm, or give --yes")
    runs = run_systems(plan, systems)
    rows = beside(paper_row, runs)
    if json:
        print_json({"row": paper_row.id, "rows": to_json(rows), "runs": {k: r.summary for k, r in runs.items()}})
    else:
        screen.print(beside_table(paper_row, rows, width=screen.width))
    return 0 if len(runs) == len(systems) and not any(r.stopped for r in runs.values()) else 3


def systems_of(row: "PaperRow", model: str, model_flags: dict[str, str | None]) -> Systems:
    """Return the systems that can be run.

    They are those of the base model, and those whose trained model is given.

    Args:
        row: A row of the paper.
        model: The base model.
        model_flags: The trained models by flag, `--sft` and `--dpo`; None for one that is not there.
    """
    from tale_dspy.reports.paper_tables import TUNED

    flags_ = {system: f"--{TUNED[system]}" for system in row.tuned}
    strays = [flag for flag, value in model_flags.items() if value is not None and flag not in flags_.values()]
    if strays:
        raise UsageError(f"{strays[0]} is for rows with models that were trained (tables 5 and 6), not for {row.id}")
    models = {system: model_flags[flags_[system]] if system in flags_ else model for system in row.systems}
    return {
        system: ("cot" if system in flags_ else system, name) for system, name in models.items() if name is not None
    }


def _check_models(plan: "Plan", systems: Systems) -> None:
    """Say at once which model cannot be asked."""
    from tale_dspy.cli.models import check_provider, language_model

    for name in dict.fromkeys(model for _, model in systems.values()):
        address = plan.api_base or os.environ.get("HOSTED_VLLM_API_BASE")
        if name.startswith("hosted_vllm/") and not address:
            raise UsageError(
                f"{name} is asked of a vLLM server of your own: give --api-base, such as http://HOST:8000/v1"
            )
        one = replace(plan, model=name)
        check_provider(one, language_model(one))


def run_systems(plan: "Plan", systems: Systems) -> "dict[str, Run]":
    """Run the systems under one cap, until the cap ends it.

    Each has a folder of its own under the plan's.
    """
    from tale_dspy.cli.console import live_bar
    from tale_dspy.cli.evaluation import ask
    from tale_dspy.runs.shared_caps import SharedCaps

    caps, folder, runs = SharedCaps(plan.max_usd, plan.max_total_output_tokens), plan.folder(), {}
    for system, (program, model) in systems.items():
        try:
            one = replace(plan, program=program, model=model, out=folder / system)
            with live_bar(f"{system} on {plan.data}") as progress:
                runs[system] = ask(one, progress, caps=caps)
            stopped = runs[system].message if runs[system].stopped else None
        except SpendCapReached as e:
            stopped = str(e)
        if stopped:
            say(f"{stopped}; kept in {folder}, the same command continues", err=True)
            break
    return runs
