"""`tale tune`: try wordings, forms, demos and budgets, and take the best."""

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

if TYPE_CHECKING:
    from tale_dspy.optimizers.search_space import SearchSpace
    from tale_dspy.optimizers.tuning import TuningOptions, TuningResult

NAME = "tune"


@dataclass(frozen=True)
class TuneFlags:
    """What only a tuning takes."""

    optimizer: Annotated[
        str, typer.Option(help="pareto (wording, form, demos and budgets together), mipro or gepa (DSPy's).")
    ] = "pareto"
    prompt_model: Annotated[
        str | None, typer.Option(help="Model that rewrites instructions under mipro and gepa; unset: --model.")
    ] = None
    trials: Annotated[int, typer.Option(help="Variants that are tried.")] = 24
    max_drop: Annotated[
        float,
        typer.Option(help="Choose the shortest program at most this many points less accurate than the best of all."),
    ] = 1.0
    mean_tokens: Annotated[
        float | None,
        typer.Option("--max-tokens", help="Choose the most accurate program of at most this many tokens a question."),
    ] = None
    forms: Annotated[
        str | None,
        typer.Option(help="Prompt forms to try, separated by commas. Unset: all but the paper's; none: no other form."),
    ] = None
    demos: Annotated[
        str, typer.Option(help="Numbers of demos to try: right answers of the program itself, from these questions.")
    ] = "0,3"
    demo_sets: Annotated[int, typer.Option(help="Sets of demos to try: the shortest answers, then random ones.")] = 3
    fresh: Annotated[
        int | None, typer.Option(help="Questions kept back to measure the chosen program on; unset: a third.")
    ] = None


@dataclass(frozen=True, kw_only=True)
class TunePlan(Plan):
    """The flags of `tale tune`.

    They are those of `tale eval`, with a program of its own and another name for the limit of a reply.
    """

    program: Annotated[str, typer.Argument(help="tale-ep, budget:N ... (below)")] = "tale-ep"
    max_tokens: Annotated[int | None, typer.Option("--reply-tokens", help="Of one reply; unset: the provider's.")] = (
        None
    )


@expand_dataclass(without=(*EVAL_ONLY, *SHARD_FLAGS, *BATCH_FLAGS, "repeats", "preset", "allow_leak", "form"))
def run_command(tuning: TuneFlags, plan: TunePlan, json: flags.Json = False) -> int:
    """Tune wording, form, demos and budgets for accuracy and tokens together."""
    from tale_dspy.cli.console import console, print_json
    from tale_dspy.reports.tuning_run import front_table

    if plan.max_tokens is not None and plan.max_tokens < 1:
        raise UsageError(f"--reply-tokens must be at least 1, got {plan.max_tokens}")
    plan = replace(plan, out=plan.out or plan.folder().with_name(f"{plan.folder().name}--tune")).checked()
    with redirect_stdout(sys.stderr):
        result = tune(plan, _options(tuning, plan))
    files = _report(result, plan.folder())
    if result.stopped:
        say(f"{result.stopped}; kept in {plan.out}, the same command continues", err=True)
    if json:
        print_json(_figures(result, plan.folder(), files))
    else:
        n = result.front[0].measured.n
        say(f"{len(result.front)} programs on the front, measured on {n} questions of {result.front.data}:")
        console().print(front_table(result.front, result.chosen).rich())
        _say_result(result, plan.folder())
    return 3 if result.stopped else 0


def tune(plan: Plan, options: "TuningOptions") -> "TuningResult":
    """Tune the program of a plan into its folder."""
    import dspy

    from tale_dspy.cli.console import live_bar
    from tale_dspy.cli.evaluation import set_up
    from tale_dspy.cli.models import check_provider
    from tale_dspy.optimizers.tuning import Tuning
    from tale_dspy.programs.spec import imported, program_from
    from tale_dspy.runs.shared_caps import SharedCaps

    dspy.disable_logging()  # what matters of it comes back as an outcome or an error
    data = plan.load_data()
    student = program_from(plan.program, data.signature)
    settings = set_up(plan, student, data)
    caps = SharedCaps(settings.pop("max_usd"), settings.pop("max_total_output_tokens"))
    metric = None if plan.metric is None else imported(plan.metric)
    check_provider(plan, settings["lm"])
    with live_bar(f"tune on {plan.data}") as progress:
        settings |= {"progress": progress}
        return Tuning(options, metric=metric, caps=caps, out=plan.folder(), **settings).run(student, data)


def _options(tuning: TuneFlags, plan: Plan) -> "TuningOptions":
    from tale_dspy.backends.lm import LM
    from tale_dspy.optimizers.tuning import TuningOptions

    if not 0 <= tuning.max_drop <= 100:
        raise UsageError(f"--max-drop is in points, from 0 to 100, got {tuning.max_drop:g}")
    return TuningOptions(
        optimizer=tuning.optimizer,  # type: ignore[arg-type]  # checked there
        trials=tuning.trials,
        max_drop=tuning.max_drop / 100,
        max_tokens=tuning.mean_tokens,
        fresh=tuning.fresh,
        space=_space(tuning, plan),
        prompt_lm=None if tuning.prompt_model is None else LM(tuning.prompt_model),
        seed=plan.seed or 0,
    )


def _space(tuning: TuneFlags, plan: Plan) -> "SearchSpace":
    from tale_dspy.optimizers.search_space import SearchSpace
    from tale_dspy.prompt_forms import DEFAULT_FORM, PAPER, PROMPT_FORMS

    if tuning.forms is None:
        forms = [name for name in PROMPT_FORMS if name not in (PAPER, DEFAULT_FORM)] if plan.adapter == "tale" else []
    else:
        forms = [name.strip() for name in tuning.forms.split(",") if name.strip() not in ("", "none")]
    try:
        demos = [int(count) for count in tuning.demos.split(",")]
    except ValueError:
        raise UsageError(f"--demos must be whole numbers separated by commas, got {tuning.demos!r}") from None
    return SearchSpace(forms=forms, demos=demos, demo_sets=tuning.demo_sets)


def _report(result: "TuningResult", folder: Path) -> list[Path]:
    """Draw the front, and report the fresh questions; without matplotlib say so."""
    from tale_dspy.errors import MissingExtraError
    from tale_dspy.reports import ReportSources, write_report
    from tale_dspy.reports.front_figure import pareto_front
    from tale_dspy.reports.rows import run_provenance_sentences
    from tale_dspy.runs.records import load_run
    from tale_dspy.runs.tuning_folder import FRESH_RUNS, FRONT_FOLDER

    chosen = next((i for i, point in enumerate(result.front) if point is result.chosen), None)
    figures = [point.measured for point in result.front]
    try:
        runs = [] if result.comparison is None else [load_run(folder / name) for name in FRESH_RUNS]
        evidence = run_provenance_sentences(runs[:1])
        files = pareto_front(result.front.tried, figures, chosen, result.front.data, evidence).save(
            folder / FRONT_FOLDER
        )
        if runs:
            files += write_report(ReportSources(runs), folder / "report")
    except MissingExtraError as e:
        say(f"no figure is drawn: {e}", err=True)
        return []
    return files


def _say_result(result: "TuningResult", folder: Path) -> None:
    from tale_dspy.runs.tuning_folder import FRONT_FOLDER, PROGRAM_FILE

    say(f"chosen (*): {result.chosen}")
    if result.comparison is not None:
        say(f"on {result.comparison.n} fresh questions, against the same program without budgets:")
        say(result.comparison)
    say(f"kept in {folder}; the program: {folder / PROGRAM_FILE}, the others: {folder / FRONT_FOLDER}")


def _figures(result: "TuningResult", folder: Path, files: list[Path]) -> dict[str, Any]:
    from tale_dspy.runs.tuning_folder import PROGRAM_FILE

    points = [
        {"choices": dict(p.choices), **vars(p.measured), "fresh": p.is_fresh, "chosen": p is result.chosen}
        for p in result.front
    ]
    return {
        "front": points,
        "data": result.front.data,
        "comparison": None if result.comparison is None else result.comparison.to_json(),
        "cost_usd": result.cost_usd,
        "stopped": "cap" if result.stopped else None,
        "program_file": str(folder / PROGRAM_FILE),
        "run_dir": str(folder),
        "files": [str(p) for p in files],
    }
