"""`tale eval`: run one program over a data set."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tale_dspy.cli import flags
from tale_dspy.cli.console import say
from tale_dspy.cli.groups import expand_dataclass
from tale_dspy.cli.plan import Plan

if TYPE_CHECKING:
    from tale_dspy.cli.dry_run import SampledCommand

NAME = "eval"


@expand_dataclass()
def run_command(
    plan: Plan,
    dry_run: flags.DryRun = False,
    past: flags.Past = None,
    yes: flags.Yes = False,
    json: flags.Json = False,
) -> int:
    """Run PROGRAM over a data set. The same command continues a stopped run."""
    from tale_dspy.cli.console import console, live_bar, print_json
    from tale_dspy.cli.evaluation import ask

    if dry_run or past is not None:
        from tale_dspy.cli.dry_run import dry_run as run_dry

        return run_dry(_sampled_command(), plan, past, yes=yes, json=json)
    if plan.ray is not None or plan.shards is not None:
        return _run_on_ray(plan, json=json)
    title = f"{plan.program} on {plan.data}"
    with _summary_on_interrupt(plan.run_folder(), json=json), redirect_stdout(sys.stderr), live_bar(title) as progress:
        result = ask(plan, progress)
    if result.stopped:
        say(f"{result.message}; kept in {result.path}, the same command continues", err=True)
    if json:
        print_json(result.summary)
    else:
        from tale_dspy.reports import report_rows, rich_table

        screen = console()
        screen.print(rich_table(report_rows([result]), width=screen.width))
        for name, group in result.summary.get("groups", {}).items():
            say(f"{name}: {100 * group['accuracy']:.1f} % right of {group['n']}, {_tokens_text(group)} output tokens")
        say(f"kept in {result.path}")
    return 3 if result.stopped == "cap" else 0


@contextmanager
def _summary_on_interrupt(folder: Path, *, json: bool) -> Iterator[None]:
    """Print the summary of what is finished when a user ends the command."""
    from tale_dspy.cli.console import print_json
    from tale_dspy.runs.records import load_run

    try:
        yield
    except KeyboardInterrupt:
        if json and (folder / "summary.json").exists():
            print_json(load_run(folder).summary)
        raise


def _run_on_ray(plan: Plan, *, json: bool) -> int:
    from tale_dspy.cli.merge import show
    from tale_dspy.cli.ray_eval import ask_on_ray

    with _summary_on_interrupt(plan.folder(), json=json), redirect_stdout(sys.stderr):
        merged, stopped = ask_on_ray(plan.checked())
    if stopped:
        say(f"{stopped}; kept in {plan.folder()}, the same command continues", err=True)
    show(merged, json=json)
    return 3 if stopped else 0


def _sampled_command() -> "SampledCommand":
    """Return how a run is forecast.

    The forecast reads the records of a sample or of any other run.
    """
    from tale_dspy.cli.dry_run import SampledCommand
    from tale_dspy.cli.evaluation import ask
    from tale_dspy.comparison.forecast import forecast
    from tale_dspy.runs.records import load_run

    def run_sample(plan: Plan, progress: Any, sample: Any) -> str | None:
        run = ask(plan, progress, sample)
        return run.message if run.stopped else None

    def origin(folder: Path) -> dict[str, object]:
        run = load_run(folder)
        return {"program": run.name, "model": run.summary["model"], "data": run.summary["data"]}

    return SampledCommand(
        run_sample, lambda folder, n, price: forecast(load_run(folder), n, price), origin, "records.jsonl"
    )


def _tokens_text(group: dict[str, Any]) -> str:
    mean = group["output_tokens_mean"]
    return "unknown" if mean is None else f"{mean:.1f}"
