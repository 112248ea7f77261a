"""`--dry-run`: the calls, tokens and cost of a command that asks questions.

They are estimated from a paid sample of ten questions or from a past folder.

What commands differ in is a `SampledCommand`: how the sample is asked, and how its folder is read.
"""

import random
import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tale_dspy.cli.console import say
from tale_dspy.errors import SpendCapReached, UsageError

if TYPE_CHECKING:
    from tale_dspy.backends.prices import Price
    from tale_dspy.cli.plan import Plan
    from tale_dspy.comparison.forecast import RunForecast
    from tale_dspy.datasets import Dataset
    from tale_dspy.runs.options import Tally

SAMPLE_USD = 1.0
"""Cap on a sample where --max-usd sets none and the price is known."""
SEARCH_ROUNDS = 4
"""Rounds of batches that a search takes: without a budget, a ladder of budgets, and two of fresh draws."""
SAMPLE_TOKENS = 40_960
"""Cap on the output tokens of a sample whose price is not known."""


@dataclass(frozen=True)
class SampledCommand:
    """A command whose price can be forecast from some of its questions."""

    ask: "Callable[[Plan, Callable[[Tally], None] | None, Dataset], str | None]"
    """Asks the questions of a sample, and stores the answers in the plan's folder; returns why it ended early."""
    forecast: "Callable[[Path, int, Price | None], RunForecast]"
    """Forecasts from a folder what a number of answers take."""
    origin: Callable[[Path], Mapping[str, object]]
    """Says what a folder is of: `model`, `data`, and `program` where it must be the same."""
    results: str | None = None
    """File of the command's folder with a line for each finished answer; None where answers are in several."""


def dry_run(command: SampledCommand, plan: "Plan", past: Path | None, *, yes: bool, json: bool) -> int:
    """Print what a command is expected to take, and ask no more than the sample.

    Raises:
        UsageError: If the sample costs money and nobody said yes, or the past folder is of another command.
        SpendCapReached: If a cap ended the sample before any answer.
    """
    from tale_dspy.cli.console import console, print_json
    from tale_dspy.comparison.forecast import journal_costs
    from tale_dspy.runs.batch_log import BATCHES_FILE

    plan = plan.checked()
    data = plan.load_data()
    if plan.shard is not None:
        plan, data = _of_shard(plan, plan.shard, data)
    folder, stopped = (past, None) if past is not None else _ask_sample(command, plan, data, yes=yes)
    finished = 0 if command.results is None else _finished_answers(plan.folder() / command.results)
    left = max(0, len(data) * plan.repeats - finished)
    try:
        estimate = command.forecast(folder, left, plan.price())
    except UsageError:
        if stopped is None:
            raise
        from tale_dspy.accounting.ledger import Ledger

        raise SpendCapReached(f"{stopped}: give --max-usd, or --from RUN", Ledger()) from None
    notes = [f"{finished} answers in {plan.folder()} are finished and not counted"] if finished else []
    notes += [f"the sample ended early: {stopped}"] if stopped else []
    notes += _differences(command, plan, data, past)
    estimate = replace(estimate, notes=(*estimate.notes, *notes))
    if plan.batch:
        half = plan.price() is not None or not (folder / BATCHES_FILE).exists()
        estimate = estimate.through_batch(_batch_rounds(command, folder), half=half)
    if json:
        paid = [cost.usd for cost in journal_costs(folder.rglob("calls.jsonl")).values()] if past is None else [None]
        usd = None if None in paid else sum(cost for cost in paid if cost is not None)
        source = {"sample_from": str(folder), "sample_cost_usd": usd}
        figures = {"program": plan.program, "model": plan.model, "data": data.name, **estimate.to_json(), **source}
        print_json({"dry_run": True, **figures})
    else:
        console().print(_forecast_table(plan, data, estimate))
        say(f"estimated from {folder}")
    return 0


def _of_shard(plan: "Plan", shard: str, data: "Dataset") -> "tuple[Plan, Dataset]":
    """Return plan and questions of one shard, as those of a whole command."""
    from tale_dspy.runs.questions import questions_of
    from tale_dspy.runs.shards import Shard

    part = Shard.parse(shard)
    examples = [question.example for question in questions_of(data) if part.holds(question.id)]
    if not examples:
        raise UsageError(f"shard {shard} holds none of the {len(data)} questions of {data.name}")
    usd, tokens = part.share_of_caps(plan.max_usd, plan.max_total_output_tokens)
    whole = replace(plan, shard=None, out=plan.run_folder(), max_usd=usd, max_total_output_tokens=tokens)
    return whole, replace(data, examples=examples, hashes=None)


def _ask_sample(command: SampledCommand, plan: "Plan", data: "Dataset", *, yes: bool) -> tuple[Path, str | None]:
    """Ask a few questions, after the user has agreed to pay for them.

    The answers are stored beside the command's folder.
    """
    from tale_dspy.backends.prices import Price, price_of
    from tale_dspy.cli.console import confirmed, live_bar
    from tale_dspy.cli.models import language_model
    from tale_dspy.comparison.forecast import SAMPLE

    if plan.program in ("budget:best", "effort:best"):
        raise UsageError(f"{plan.program} searches before it runs: forecast one budget, such as budget:50")
    size = min(SAMPLE, len(data))
    price = plan.price() or price_of(language_model(plan))
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
    out = plan.folder().with_name(f"{plan.folder().name}-sample")
    one = replace(plan, out=out, max_usd=usd, max_total_output_tokens=tokens, repeats=1, batch=False)
    with redirect_stdout(sys.stderr), live_bar(f"{plan.program}, a sample") as progress:
        return out, command.ask(one, progress, sample)


def _finished_answers(results: Path) -> int:
    """Count what the folder of the command holds already."""
    try:
        return results.read_bytes().count(b"\n")
    except OSError:
        return 0


def _differences(command: SampledCommand, plan: "Plan", data: "Dataset", past: Path | None) -> list[str]:
    """Say what makes a past folder another thing than the command."""
    if past is None:
        return []
    planned = {"program": plan.program, "model": plan.model, "data": data.name}
    origin = command.origin(past)
    return [
        f"{past} is of {k} {origin[k]}, not {planned[k]}" for k in planned if k in origin and origin[k] != planned[k]
    ]


def folder_origin(folder: Path) -> dict[str, object]:
    """Read model and data from the folder of a run or a search."""
    from tale_dspy.runs.files import read_json

    config = read_json(folder / "run.json")["config"]
    return {"model": config["model"], "data": config["data"]["name"]}


def _batch_rounds(command: SampledCommand, folder: Path) -> int:
    """Return how many rounds of batches a command takes.

    Each call of a question waits for the one before.
    """
    from tale_dspy.runs.columns import RECORDS
    from tale_dspy.runs.records import load_run

    if command.results != RECORDS:
        return SEARCH_ROUNDS
    return max((record.calls for record in load_run(folder).records), default=1)


def _dollar_digits(usd: float) -> int:
    """Return the decimals that leave something of a small sum."""
    return 4 if usd >= 0.01 or not usd else 6


def _forecast_table(plan: "Plan", data: "Dataset", estimate: "RunForecast") -> Any:
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
        "calls": estimate.calls.to_text(0),
        "prompt tokens": "unknown" if estimate.prompt_tokens is None else estimate.prompt_tokens.to_text(0),
        "output tokens": "unknown" if estimate.output_tokens is None else estimate.output_tokens.to_text(0),
        "US dollars": "unknown" if dollars is None else dollars.to_text(_dollar_digits(dollars.total)),
    }
    if estimate.batch_rounds is not None:
        rows["rounds of batches"] = f"{estimate.batch_rounds}, and one for what expires or fails"
    for name, value in rows.items():
        table.add_row(name, value)
    return table
