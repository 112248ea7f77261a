"""`tale elasticity`: ask a program at several budgets.

A figure shows how its tokens follow them.
"""

import sys
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tale_dspy.cli import flags
from tale_dspy.cli.console import say
from tale_dspy.cli.groups import expand_dataclass
from tale_dspy.cli.plan import BATCH_FLAGS, EVAL_ONLY, SHARD_FLAGS, Plan
from tale_dspy.errors import UsageError
from tale_dspy.protocols import JsonObject

if TYPE_CHECKING:
    from tale_dspy.backends.prices import Price
    from tale_dspy.cli.dry_run import SampledCommand
    from tale_dspy.comparison.forecast import RunForecast
    from tale_dspy.datasets import Dataset
    from tale_dspy.optimizers.budget_sweep import BudgetSweep, SweepPoint

NAME = "elasticity"


@dataclass(frozen=True, kw_only=True)
class SweepFlags(Plan):
    """The flags that are those of `tale eval`, with a program of its own."""

    program: Annotated[str, typer.Argument(help="cot, tale-ep ... (below)")] = "cot"


Budgets = Annotated[
    str | None,
    typer.Option(
        help="Tokens (400,200,100,50) or shares of each question's tokens without a budget (1x,0.5x,0.25x); "
        "unset takes the effort words of a reasoning model, of others nine shares from 1x down to 0.03x."
    ),
]


@expand_dataclass(without=(*EVAL_ONLY, *SHARD_FLAGS, *BATCH_FLAGS))
def run_command(
    *,
    budgets: Budgets = None,
    efforts: flags.Efforts = None,
    plan: SweepFlags,
    dry_run: flags.DryRun = False,
    past: flags.Past = None,
    yes: flags.Yes = False,
    json: flags.Json = False,
) -> int:
    """Ask a program at several budgets or effort words: token elasticity."""
    from tale_dspy.cli.console import live_bar, print_json
    from tale_dspy.optimizers.budget_sweep import parse_point

    if budgets is not None and efforts is not None:
        raise UsageError("give --budgets or --efforts, not both: they are drawn over one axis")
    words = budgets if efforts is None else efforts
    points = None if words is None else [parse_point(word) for word in words.split(",")]
    plan = plan.checked()
    folder = plan.out or plan.folder().with_name(f"{plan.folder().name}--elasticity")
    if dry_run or past is not None:
        from tale_dspy.cli.dry_run import dry_run as run_dry

        return run_dry(_sampled_command(points), replace(plan, out=folder), past, yes=yes, json=json)
    with redirect_stdout(sys.stderr), live_bar(f"{plan.program} on {plan.data}") as progress:
        sweep = _sweep_plan(plan, points, folder, progress)
    files = _write_report(sweep, folder)
    if sweep.stopped:
        say(f"{sweep.stopped}; kept in {folder}, the same command continues", err=True)
    if json:
        print_json(_sweep_figures(sweep, folder, files))
    else:
        _show_sweep(sweep)
        say(f"kept in {folder}" + (f", the report in {folder / 'report'}" if files else ""))
    return 3 if sweep.stopped else 0


def _sampled_command(points: "list[SweepPoint] | None") -> "SampledCommand":
    """Return how a sweep is forecast.

    The forecast reads the journals of a sample or of a past sweep over the same budgets.
    """
    from tale_dspy.cli.dry_run import SampledCommand, folder_origin

    def ask(plan: Plan, progress: Any, sample: "Dataset") -> str | None:
        return _sweep_plan(plan, points, plan.folder(), progress, sample).stopped

    return SampledCommand(ask, _forecast, lambda folder: folder_origin(folder / "cot"))


def _forecast(folder: Path, questions: int, price: "Price | None") -> "RunForecast":
    """Forecast from a sweep the cost of another with `questions` questions.

    The calls of all budgets are counted together.
    """
    from tale_dspy.comparison.forecast import forecast_costs, journal_costs

    costs = journal_costs(folder.rglob("calls.jsonl"), price) if (folder / "cot").is_dir() else {}
    if not costs:
        raise UsageError(f"nothing can be estimated from {folder}: it is no sweep with answers")
    draws = sum(1 for _ in folder.glob("*/records.jsonl"))
    return forecast_costs([*costs.values()], questions, notes=[f"each question is asked {draws} times"])


def _sweep_plan(
    plan: Plan,
    points: "list[SweepPoint] | None",
    folder: Path,
    progress: Any,
    data: "Dataset | None" = None,
) -> "BudgetSweep":
    import dspy

    from tale_dspy.cli.evaluation import set_up
    from tale_dspy.cli.models import check_provider
    from tale_dspy.optimizers.budget_sweep import sweep_budgets
    from tale_dspy.programs.budgeted import BudgetedChainOfThought
    from tale_dspy.programs.spec import imported, program_from

    dspy.disable_logging()  # what matters of it comes back as an outcome or an error
    metric = None if plan.metric is None else imported(plan.metric)
    data = plan.load_data() if data is None else data
    program: Any = (
        BudgetedChainOfThought(data.signature) if plan.program == "cot" else program_from(plan.program, data.signature)
    )
    options = set_up(plan, program, data)
    check_provider(plan, options["lm"])
    return sweep_budgets(program, data, points, metric=metric, out=folder, progress=progress, **options)


def _write_report(sweep: "BudgetSweep", folder: Path) -> list[Path]:
    """Write tables and figures.

    Without matplotlib a message says so, and the rest is written.
    """
    from tale_dspy.errors import MissingExtraError
    from tale_dspy.reports import ReportSources, write_report

    try:
        return write_report(ReportSources(sweep.runs), folder / "report")
    except MissingExtraError as e:
        say(f"no figures are drawn: {e}", err=True)
        return []


def _show_sweep(sweep: "BudgetSweep") -> None:
    """Print the curve of fixed budgets, else a line for each budget.

    A sentence says how the tokens follow.
    """
    from tale_dspy.cli.console import console
    from tale_dspy.reports import elasticities, rich_elasticity
    from tale_dspy.reports.sweeps import screen_sweep_table

    screen, curves = console(), elasticities(sweep.runs)
    for curve in curves:
        screen.print(rich_elasticity(curve, width=screen.width))
    if not curves:
        screen.print(screen_sweep_table(sweep.vanilla, sweep.points, screen.width).rich())
    sentence = _elasticity_sentence(sweep)
    if sentence:
        say(f"Relative to each question's answer without a budget: {sentence}")


def _elasticity_sentence(sweep: "BudgetSweep") -> str | None:
    from tale_dspy.reports.question_curves import curves_of_runs, pooled
    from tale_dspy.reports.question_figures import elasticity_sentence

    bins = pooled(curves_of_runs(sweep.points, sweep.vanilla))
    return elasticity_sentence(bins) if bins else None


def _sweep_figures(sweep: "BudgetSweep", folder: Path, files: list[Path]) -> JsonObject:
    from tale_dspy.accounting.calls import total_or_none
    from tale_dspy.reports.question_curves import curves_of_runs, pooled
    from tale_dspy.reports.rows import provenance_of

    keys = ("program", "n", "accuracy", "output_tokens_mean", "cost_usd", "calls", "paid_calls", "outcomes", "run_dir")
    rows = [{key: run.summary[key] for key in keys} for run in sweep.runs]
    return {
        "model": sweep.vanilla.summary["model"],
        "data": sweep.vanilla.summary["data"],
        "n": sweep.vanilla.summary["n"],
        "vanilla": rows[0],
        "points": rows[1:],
        "pooled": [b._asdict() for b in pooled(curves_of_runs(sweep.points, sweep.vanilla))],
        "sentence": _elasticity_sentence(sweep),
        "cost_usd": total_or_none([row["cost_usd"] for row in rows]),
        "provenance": provenance_of(sweep.vanilla),
        "stopped": "cap" if sweep.stopped else None,
        "run_dir": str(folder),
        "files": [str(p) for p in files],
    }
