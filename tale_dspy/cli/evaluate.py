"""`tale eval`: run one program over a data set."""

import sys
from contextlib import redirect_stdout
from typing import Annotated, Any

import typer

from tale_dspy.cli import flags

NAME = "eval"


def run(
    program: Annotated[
        str,
        typer.Argument(
            help="direct, cot, dspy-cot, concise, draft, tale-ep, self-budgeted, budget:N, budget:0.25x, budget:best, "
            "a saved program's .json, or module:attribute."
        ),
    ],
    data: flags.Data,
    model: flags.Model,
    inputs: flags.Inputs = None,
    gold: flags.Gold = None,
    api_base: flags.ApiBase = None,
    engine: flags.Engine = "litellm",
    server: flags.Server = None,
    limit: flags.Limit = None,
    offset: flags.Offset = 0,
    concurrency: flags.Concurrency = 32,
    rpm: flags.Rpm = None,
    tpm: flags.Tpm = None,
    fallback: flags.Fallback = None,
    temperature: flags.Temperature = None,
    max_tokens: flags.MaxTokens = None,
    timeout: flags.Timeout = 120.0,
    retries: flags.Retries = 5,
    retry_errors: flags.RetryErrors = False,
    metric: flags.MetricFlag = None,
    max_usd: flags.MaxUsd = None,
    max_total_output_tokens: flags.MaxTotalTokens = None,
    price_in: flags.PriceIn = None,
    price_out: flags.PriceOut = None,
    repeats: flags.Repeats = 1,
    preset: flags.Preset = None,
    cache: flags.Cache = True,
    seed: flags.Seed = None,
    adapter: flags.Adapter = "tale",
    mode: flags.Mode = None,
    mark: flags.Mark = None,
    allow_leak: flags.AllowLeak = False,
    rescue: flags.Rescue = None,
    vanilla: flags.Vanilla = None,
    train_data: flags.TrainData = None,
    train_limit: flags.TrainLimit = 100,
    out: flags.Out = None,
    dry_run: flags.DryRun = False,
    past: flags.Past = None,
    yes: flags.Yes = False,
    json: flags.Json = False,
) -> int:
    """Run PROGRAM over a data set and sum it up. The same command continues a run that was stopped or killed."""
    told: dict[str, Any] = {k: v for k, v in locals().items() if k not in ("json", "dry_run", "past", "yes")}
    from tale_dspy.cli.plan import Plan
    from tale_dspy.cli.show import console, live_bar, print_json
    from tale_dspy.runs.records import load_run

    plan = Plan(**told)
    if dry_run or past is not None:
        from tale_dspy.cli.dry_run import dry_run as run_dry

        return run_dry(plan, past, yes=yes, json=json)
    try:
        with redirect_stdout(sys.stderr), live_bar(f"{program} on {plan.data}") as progress:
            result = plan.run(progress)
    except KeyboardInterrupt:
        if json and (plan.folder() / "summary.json").exists():
            print_json(load_run(plan.folder()).summary)
        raise
    if result.stopped:
        typer.echo(f"{result.message}; kept in {result.path}, the same command continues", err=True)
    if json:
        print_json(result.summary)
    else:
        from tale_dspy.reports import report_rows, rich_table

        screen = console()
        screen.print(rich_table(report_rows([result]), width=screen.width))
        for name, group in result.summary.get("groups", {}).items():
            typer.echo(f"{name}: {group['accuracy']:.1%} right of {group['n']}, {_tokens(group)} output tokens")
        typer.echo(f"kept in {result.path}")
    return 3 if result.stopped == "cap" else 0


def _tokens(group: dict[str, Any]) -> str:
    mean = group["output_tokens_mean"]
    return "unknown" if mean is None else f"{mean:.1f}"
