"""`tale distill`: from a search to rows to train on."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tale_dspy.cli import flags
from tale_dspy.cli.console import say
from tale_dspy.errors import DataError, UsageError
from tale_dspy.protocols import JsonObject

if TYPE_CHECKING:
    from tale_dspy.training.distill import DistillationResult

NAME = "distill"


def run_command(
    search: Annotated[Path, typer.Argument(metavar="SEARCH", help="Folder of a search, or its search.jsonl.")],
    out: Annotated[Path, typer.Option(help="File of the rows, .jsonl.")],
    format: Annotated[str, typer.Option(help="sft: short replies; dpo: short replies preferred to vanilla ones.")] = (
        "sft"
    ),
    program: Annotated[
        str, typer.Option(help="What will be deployed: cot, dspy-cot, a saved program's .json or module:attribute.")
    ] = "cot",
    signature: Annotated[
        str | None, typer.Option(help="Of --program, where it needs one; default: the inputs of the search -> answer.")
    ] = None,
    adapter: flags.Adapter = "tale",
    exclude: Annotated[
        list[str] | None,
        typer.Option(help="Run, search, file or data set whose questions are left out; may be given several times."),
    ] = None,
    min_neighbor_accuracy: Annotated[
        float,
        typer.Option(help="Least share of right replies among those as short, so that none is luck; 0: take any."),
    ] = 0.9,
    budgets: Annotated[
        str | None,
        typer.Option(help="Make a row for each of these budgets, stated in the prompt, such as 50,100,200."),
    ] = None,
    json: flags.Json = False,
) -> None:
    """Turn a search into training rows.

    A row is a plain prompt, rendered as PROGRAM will ask it, with the model's own short reply.
    """
    from tale_dspy.cli.console import print_json
    from tale_dspy.cli.evaluation import dspy_adapter
    from tale_dspy.cli.plan import check_adapter
    from tale_dspy.optimizers.search.offline_eval import inputs_of
    from tale_dspy.optimizers.search.records import load_search
    from tale_dspy.programs.spec import program_from
    from tale_dspy.training.distill import distill

    if out.suffix != ".jsonl":
        raise UsageError(f"--out must be a .jsonl file, got {str(out)!r}")
    check_adapter(adapter)
    rows = load_search(search)
    if not rows:
        raise DataError(f"{search} has no rows: nothing to train on")
    inputs = ", ".join(inputs_of(rows[0]))
    levels = parse_budgets(budgets) if budgets else []
    spec = "budget:1" if levels and program == "cot" else program  # a program whose prompt states a budget
    deployed = program_from(spec, signature or f"{inputs} -> answer")
    options: Any = {
        "adapter": dspy_adapter(adapter),
        "exclude": exclude or (),
        "min_neighbor_accuracy": min_neighbor_accuracy,
        "budgets": levels,
    }
    distilled = distill(rows, format, deployed, **options)  # type: ignore[arg-type]  # the format is checked there
    distilled.save(out)
    if json:
        print_json({**_figures_of(distilled), "out": str(out)})
        return
    for reason, n in distilled.left_out.items():
        say(f"{n} left out: {reason}", err=True)
    rows_made = f"{len(distilled.dataset):,} rows from " if levels else ""
    of_searched = f"{distilled.questions:,} of {distilled.searched:,} searched questions"
    say(f"{rows_made}{of_searched} -> {out}{_saving_note(distilled)}")


def parse_budgets(text: str) -> list[int]:
    """Read budgets such as `50,100,200`.

    Raises:
        UsageError: If one is no whole number.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise UsageError(f"--budgets must be whole numbers such as 50,100,200, got {text!r}")
    return [int(part) for part in parts]


def _figures_of(distilled: "DistillationResult") -> JsonObject:
    counts = {"format": distilled.format, "searched": distilled.searched, "rows": len(distilled.dataset)}
    return {**counts, "left_out": distilled.left_out, "saving": distilled.saving}


def _saving_note(distilled: "DistillationResult") -> str:
    return (
        ""
        if distilled.saving is None
        else f" ({100 * distilled.saving:.1f} % fewer output tokens than without a budget)"
    )
