"""`tale eval --dry-run`: what a run will take, from a paid sample of ten questions or from a past run."""

import random
import sys
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tale_dspy.cli.console import say
from tale_dspy.errors import SpendCapReached, UsageError

if TYPE_CHECKING:
    from tale_dspy.cli.plan import Plan
    from tale_dspy.comparison.forecast import RunForecast
    from tale_dspy.datasets import Dataset
    from tale_dspy.runs.records import Run

SAMPLE_USD = 1.0
"""Cap on a sample where --max-usd sets none and the price is known."""
SAMPLE_TOKENS = 40_960
"""Cap on the output tokens of a sample whose price is not known."""


def dry_run(plan: "Plan", past: Path | None, *, yes: bool, json: bool) -> int:
    """Print what a run is expected to take, and run no more than the sample.

    Raises:
        UsageError: If the sample costs money and nobody said yes.
        SpendCapReached: If a cap ended the sample before any answer.
    """
    from tale_dspy.cli.console import console, print_json
    from tale_dspy.comparison.forecast import forecast
    from tale_dspy.runs.records import load_run

    plan = plan.checked()
    data = plan.load_data()
    run = load_run(past) if past is not None else _sampled(plan, data, yes=yes)
    left = max(0, len(data) * plan.repeats - _done(plan))
    estimate = forecast(run, left, plan.price())
    estimate = replace(estimate, notes=(*estimate.notes, *_notes(plan, data, run, past)))
    if json:
        source = {"sample_from": str(run.path), "sample_cost_usd": None if past else run.summary["cost_usd"]}
        figures = {"program": plan.program, "model": plan.model, "data": data.name, **estimate.to_json(), **source}
        print_json({"dry_run": True, **figures})
    else:
        console().print(_table(plan, data, estimate))
        say(f"estimated from {run.path}")
    return 0


def _sampled(plan: "Plan", data: "Dataset", *, yes: bool) -> "Run":
    """Ask a few questions, after it is agreed to pay for them; they are kept beside the run's folder."""
    from tale_dspy.backends.prices import Price, price_of
    from tale_dspy.cli.console import confirmed, live_bar
    from tale_dspy.cli.evaluation import ask
    from tale_dspy.cli.models import language_model
    from tale_dspy.comparison.forecast import SAMPLE

    if plan.program == "budget:best":
        raise UsageError("budget:best searches before it runs: forecast one budget, such as budget:50")
    size = min(SAMPLE, len(data))
    lm = language_model(plan)
    price = plan.price() or price_of(lm)
    free = price == Price(0.0, 0.0)
    usd, tokens = plan.max_usd, plan.max_total_output_tokens
    if usd is None and tokens is None and not free:
        usd, tokens = (None, SAMPLE_TOKENS) if price is None else (SAMPLE_USD, None)
    if not free and not yes:
        most = f"{tokens} output tokens, at a price that is not known" if usd is None else f"${usd:g}"
        say(f"{size} questions are asked of {plan.model} as a sample, for at most {most}", err=True)
        if not confirmed():
            raise UsageError("the sample is paid: confirm, give --yes, or --from RUN to tell from a past run")
    picked = sorted(random.Random(plan.seed or 0).sample(range(len(data)), size))
    sample = replace(data, examples=[data.examples[i] for i in picked])
    folder = plan.folder()
    out = folder.parent / f"{folder.name}-sample"
    one = replace(plan, out=out, max_usd=usd, max_total_output_tokens=tokens, repeats=1)
    with redirect_stdout(sys.stderr), live_bar(f"{plan.program}, a sample") as progress:
        run = ask(one, progress, sample)
    if run.stopped and not run.records:
        from tale_dspy.accounting.ledger import Ledger

        raise SpendCapReached(f"{run.message}: give --max-usd, or --from RUN", Ledger())
    return run


def _done(plan: "Plan") -> int:
    """Count what the folder of the run holds already."""
    try:
        return (plan.folder() / "records.jsonl").read_bytes().count(b"\n")
    except OSError:
        return 0


def _notes(plan: "Plan", data: "Dataset", run: "Run", past: Path | None) -> list[str]:
    """Say what makes the sample another thing than the run."""
    notes = []
    if _done(plan):
        notes.append(f"{_done(plan)} answers in {plan.folder()} are finished and not counted")
    if past is not None:
        sampled = {"program": run.name, "model": run.summary["model"], "data": run.summary["data"]}
        planned = {"program": plan.program, "model": plan.model, "data": data.name}
        notes += [f"{past} is of {k} {sampled[k]}, not {planned[k]}" for k in planned if sampled[k] != planned[k]]
    elif run.stopped:
        notes.append(f"the sample ended early: {run.message}")
    return notes


def _digits(usd: float) -> int:
    """Return the decimals that leave something of a small sum."""
    return 4 if usd >= 0.01 or not usd else 6


def _table(plan: "Plan", data: "Dataset", estimate: "RunForecast") -> Any:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    title = (
        f"{plan.program} with {plan.model} on {data.name}: {estimate.answers} answers, estimated from {estimate.sample}"
    )
    caption = "\n".join(["Brackets are 95 % intervals.", *estimate.notes])
    table = Table(box=SIMPLE_HEAD, title=title, caption=caption, title_justify="left", caption_justify="left")
    table.add_column("Expected")
    table.add_column("Figure", justify="right")
    dollars = estimate.cost_usd
    rows = {
        "calls": estimate.calls.told(0),
        "prompt tokens": "unknown" if estimate.prompt_tokens is None else estimate.prompt_tokens.told(0),
        "output tokens": "unknown" if estimate.output_tokens is None else estimate.output_tokens.told(0),
        "US dollars": "unknown" if dollars is None else dollars.told(_digits(dollars.total)),
    }
    for name, value in rows.items():
        table.add_row(name, value)
    return table
