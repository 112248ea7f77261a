"""`tale search`: the best budget of each question, and an estimator.

The estimator learns from the budgets, and the report says what they gain.
"""

import sys
from collections.abc import Callable
from contextlib import nullcontext, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tale_dspy.cli import flags
from tale_dspy.cli.console import say
from tale_dspy.cli.groups import expand_dataclass
from tale_dspy.cli.plan import EVAL_ONLY, Plan
from tale_dspy.cli.search_setup import PreparedSearch, SearchOptions, prepare_search
from tale_dspy.errors import SpendCapReached, UsageError
from tale_dspy.protocols import JsonObject

if TYPE_CHECKING:
    from tale_dspy.backends.prices import Price
    from tale_dspy.cli.dry_run import SampledCommand
    from tale_dspy.comparison.forecast import RunForecast
    from tale_dspy.datasets import Dataset
    from tale_dspy.optimizers.budget_search import BudgetSearch
    from tale_dspy.optimizers.search.gain import FixedBudgetComparison
    from tale_dspy.optimizers.search.ideal_range import IdealRangeMetrics
    from tale_dspy.runs.options import Tally

NAME = "search"
PROGRAM_FILE = "program.json"


@dataclass(frozen=True, kw_only=True)
class SearchFlags(Plan):
    """The flags of `tale eval`, with a search's program and metric."""

    program: Annotated[
        str,
        typer.Argument(help="tale-ep, budget:N ... (below)"),
    ] = "tale-ep"
    metric: Annotated[
        str | None,
        typer.Option(help="module:attribute; agrees-with-vanilla where right means the answer without budget."),
    ] = None

    def load_data(self, *, labelled: bool = True) -> "Dataset":
        """Load the questions; where right means agreement, they may be without gold."""
        from tale_dspy.optimizers.budget_search import AGREES

        return super().load_data(labelled=labelled and self.metric != AGREES)


@expand_dataclass(without=(*EVAL_ONLY, "retry_errors", "repeats", "preset", "allow_leak"))
def run_command(
    settings: SearchOptions,
    plan: SearchFlags,
    dry_run: flags.DryRun = False,
    past: flags.Past = None,
    yes: flags.Yes = False,
    json: flags.Json = False,
) -> int:
    """Search each question's best budget, and learn to estimate it."""
    from tale_dspy.cli.console import print_json

    plan = replace(plan, out=plan.out or plan.folder().with_name(f"{plan.folder().name}--search")).checked()
    if dry_run or past is not None:
        from tale_dspy.cli.dry_run import dry_run as run_dry

        return run_dry(_sampled_command(settings), plan, past, yes=yes, json=json)
    with redirect_stdout(sys.stderr):
        stopped = None
        if plan.ray is not None or plan.shards is not None:
            from tale_dspy.cli.ray_search import search_on_ray

            merged, stopped = search_on_ray(plan, settings)
            outcome = search(merged, settings)
        else:
            outcome = search(plan, settings)
    outcome = replace(outcome, stopped=stopped or outcome.stopped)
    if outcome.stopped:
        say(f"{outcome.stopped}; kept in {plan.out}, the same command continues", err=True)
    if json:
        print_json(outcome.to_json())
    else:
        for line in outcome.lines():
            say(line)
    return 3 if outcome.stopped else 0


@dataclass(frozen=True)
class SearchOutcome:
    """A search and what was made of it."""

    search: "BudgetSearch"
    file: Path
    gains: "dict[str, FixedBudgetComparison | None]"
    """By predictor; None where nothing could be compared."""
    stopped: str | None
    """The sentence of the cap that ended it early, or None."""
    ranges: "dict[str, IdealRangeMetrics]"
    """By predictor: how often the learned budgets lie in the ideal ranges of the questions they were learned from."""

    def to_json(self) -> JsonObject:
        """Return the summary of the search, with gains and the program's file."""
        gains = {name: gain and gain.to_json() for name, gain in self.gains.items()}
        gain_figures = {"gain": next(iter(gains.values()))} if len(gains) == 1 else {"gains": gains}
        ranges = {name: vars(quality) for name, quality in self.ranges.items()}
        return {**self.search.summary, **gain_figures, "ideal_range": ranges, "program_file": str(self.file)}

    def lines(self) -> list[str]:
        """Say what was found, what it gains, and where it is."""
        figures = self.search.summary.get("predictors", {"self": self.search.summary})
        lines = []
        for name, summary in figures.items():
            head = "" if len(figures) == 1 else f"{name}: "
            lines += [f"{head}{line}" for line in figure_lines(summary)]
            if name in self.gains:
                gain = self.gains[name]
                lines.append(f"{head}{gain if gain else 'no gain: no question has a budget that was searched'}")
            if name in self.ranges:
                rough = "" if self.search.sampler == "grid" else ", by ranges that only --sampler grid shows fully"
                lines.append(f"{head}learned: {self.ranges[name]} (of the questions it learned from{rough})")
        return [*lines, *self.search.notices.values(), f"kept in {self.search.out}; the program: {self.file}"]


def figure_lines(summary: JsonObject) -> list[str]:
    """Write the figures of one predictor's search."""
    from tale_dspy.comparison.formatting import number

    judged = (
        " (right means agreement with the answer without a budget)" if summary["judged_by"] == ["agreement"] else ""
    )
    lines = [
        f"{summary['n']} questions: {summary['vanilla_right']} right without a budget{judged}, "
        f"{summary['found']} of them with a best budget, "
        f"{summary['no_gain']} without gain, {summary['not_confirmed']} not confirmed on fresh draws; "
        f"{summary['wrong']} wrong and not searched, {summary['errors']} errors"
    ]
    if summary["found"]:
        lines.append(
            f"tokens where a budget was found: {number(summary['vanilla_tokens_mean'])} without, "
            f"{number(summary['best_tokens_mean'])} with it (selected at {number(summary['selected_tokens_mean'])}), "
            f"{number(summary['trials_mean'], 2)} budgets tried a question"
        )
    if summary["unanswered"]:
        lines.append(
            f"{summary['unanswered']} questions miss answers that no batch brought in time: the same command asks again"
        )
    return lines


def _sampled_command(settings: SearchOptions) -> "SampledCommand":
    """Return how a search is forecast.

    The forecast reads the journals of a sample or of a past search, the comparison included.
    """
    from tale_dspy.cli.dry_run import SampledCommand, folder_origin

    def ask(plan: Plan, progress: "Callable[[Tally], None] | None", sample: "Dataset") -> str | None:
        return search(plan, settings, sample, progress).stopped

    return SampledCommand(ask, _forecast, folder_origin, "search.jsonl")


def _forecast(folder: Path, questions: int, price: "Price | None") -> "RunForecast":
    """Forecast from a search the cost of another with `questions` questions.

    Only some of them are compared with budget:best.
    """
    from tale_dspy.comparison.forecast import QuestionCost, forecast_costs, journal_costs
    from tale_dspy.optimizers.search.gain import QUESTIONS
    from tale_dspy.optimizers.search.records import SEARCH_FILE

    searched = journal_costs([folder / "calls.jsonl"], price) if (folder / SEARCH_FILE).is_file() else {}
    if not searched:
        raise UsageError(f"nothing can be estimated from {folder}: it is no search with answers")
    compared = journal_costs((folder / "gain").rglob("calls.jsonl"), price)
    share = min(1.0, QUESTIONS / max(1, questions))
    costs = [cost.plus(compared.get(key, QuestionCost(0, 0, 0, 0)), share) for key, cost in searched.items()]
    notes = ["a sampler learns from question to question: a longer search takes fewer calls for each"]
    return forecast_costs(costs, questions, notes=notes)


def search(
    plan: Plan,
    settings: SearchOptions,
    data: "Dataset | None" = None,
    progress: "Callable[[Tally], None] | None" = None,
) -> SearchOutcome:
    """Search, save the program, and compare with the best fixed budget.

    Args:
        plan: What is asked, and how.
        settings: How it is searched.
        data: The questions; None loads those of the plan.
        progress: As in `evaluate`; None draws a bar.
    """
    from tale_dspy.cli.console import live_bar

    job = prepare_search(plan, settings, data)
    budget_search = job.search
    with nullcontext(progress) if progress else live_bar(f"search on {plan.data}") as report:
        budget_search.options = replace(budget_search.options, progress=report)
        program = budget_search.compile(job.student, trainset=job.data)
    file = plan.run_folder() / PROGRAM_FILE
    program.save(file)
    gains: dict[str, FixedBudgetComparison | None] = {}
    stopped = budget_search.stopped
    try:
        # A comparison takes a round for each fixed budget: none through a batch, whose rounds take hours. Nor is there
        # one of a shard: all of them are compared once they are merged.
        compared = () if stopped or plan.batch or plan.shard else (row.predictor for row in budget_search.rows)
        for name in dict.fromkeys(compared):
            gains[name] = _gain(job, name, progress)
    except SpendCapReached as e:
        stopped = f"{e} (no comparison with budget:best)"
    return SearchOutcome(budget_search, file, gains, stopped, _ideal_ranges(budget_search, program))


def _ideal_ranges(budget_search: "BudgetSearch", program: Any) -> "dict[str, IdealRangeMetrics]":
    from tale_dspy.optimizers.search.budget_override import budgeted_predictors
    from tale_dspy.optimizers.search.ideal_range import learned_quality
    from tale_dspy.programs.tale_ep import TaleEP

    ranges: dict[str, IdealRangeMetrics] = {}
    for name, module in budgeted_predictors(program).items():
        rows = [row for row in budget_search.rows if row.predictor == name]
        quality = learned_quality(module.estimator, rows) if isinstance(module, TaleEP) and rows else None
        if quality is not None:
            ranges[name] = quality
    return ranges


def _gain(job: PreparedSearch, name: str, progress: "Callable[[Tally], None] | None") -> "FixedBudgetComparison | None":
    from tale_dspy.cli.console import live_bar
    from tale_dspy.optimizers.search.gain import agreement_metric, compare_with_fixed

    budget_search = job.search
    rows = [row for row in budget_search.rows if row.predictor == name]
    metric = agreement_metric(rows) if isinstance(budget_search.metric, str) else budget_search.metric
    place = None if budget_search.out is None else budget_search.out / "gain" / name
    uncapped = {k: v for k, v in job.options.items() if k not in ("max_usd", "max_total_output_tokens")}
    with nullcontext(progress) if progress else live_bar("against budget:best") as report:
        shared = {**uncapped, "progress": report, "out": place, "caps": budget_search.caps}
        try:
            return compare_with_fixed(job.student, rows, job.data, metric=metric, **shared)
        except UsageError:  # nothing was searched
            return None
