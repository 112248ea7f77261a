"""`tale report`: the paper's table and figures from run folders, and the figures of searches."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tale_dspy.cli import flags

if TYPE_CHECKING:
    from tale_dspy.reports.search_run import SearchRun
    from tale_dspy.runs.records import Run

NAME = "report"


def run(
    runs: Annotated[
        list[Path],
        typer.Argument(
            help="Run folders; the first is what the others are compared with. And folders of searches: a row beside "
            "those of the runs, their figures, and how often the budgets of the runs lie in the ideal ranges found."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for table.md, .tex, .csv, .json and the figures.")] = Path("report"),
    json: flags.Json = False,
) -> None:
    """Print the table of several runs, and write it with the figures as Markdown, LaTeX, CSV, JSON, PNG and SVG."""
    from tale_dspy.cli.show import console, print_json
    from tale_dspy.reports import report_rows, rich_table, to_json, write_report
    from tale_dspy.reports.search_run import is_search, load_search_runs, searched_row
    from tale_dspy.runs.records import load_run

    searches = [(path, found) for path in runs if is_search(path) for found in load_search_runs(path)]
    loaded = [load_run(path) for path in runs if not is_search(path)]
    more = [searched_row(found) for _, found in searches] if loaded else []
    rows = [*report_rows(loaded), *more] if loaded else []
    told = [_told(path, found, loaded) for path, found in searches]
    if not json:
        screen = console()
        if rows:
            screen.print(rich_table(rows, width=screen.width))
        for search in told:
            _show(search)
    written = write_report(loaded, out, more) if loaded else []
    for i, (path, found) in enumerate(searches):
        written += _draw(found, out if len(searches) == 1 else out / f"{i + 1:02d}_{_stem(path)}")
    if json:
        print_json({"rows": to_json(rows), "searches": told, "files": [str(p) for p in written]})
    else:
        typer.echo(f"written to {out}: {', '.join(str(p.relative_to(out)) for p in written)}")


def _told(path: Path, search: "SearchRun", runs: "Sequence[Run]") -> dict[str, Any]:
    """Return the figures of a search, and how well the budgets of the runs fit its ideal ranges."""
    from dataclasses import asdict

    from tale_dspy.reports.search_run import range_sentence, run_range_quality, search_table

    measured = [(run, run_range_quality(run, search)) for run in runs]
    known = [(run, quality) for run, quality in measured if quality is not None]
    return {
        "search": str(path),
        "predictor": search.predictor,
        "sampler": search.sampler,
        "figures": search_table(search),
        "provenance": search.provenance,
        "ranges": [
            {"run": str(run.path), **asdict(q), "sentence": range_sentence(run.name, q, search)} for run, q in known
        ],
    }


def _show(told: dict[str, Any]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    from tale_dspy.cli.show import console
    from tale_dspy.reports.text import visible

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column(Text(visible(f"Search {told['search']}", " ")), overflow="fold")
    table.add_column(Text(told["sampler"]), justify="right")
    for name, value in told["figures"].items():
        table.add_row(Text(visible(name, " ")), Text(value))
    console().print(table)
    for found in told["ranges"]:
        typer.echo(f"Ideal range, {visible(found['sentence'], ' ')}")
    typer.echo(f"Evidence: {visible(told['provenance'], ' ')}")


def _draw(search: "SearchRun", folder: Path) -> list[Path]:
    from tale_dspy.errors import UsageError
    from tale_dspy.reports.search_figures import search_figures

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise UsageError(f"the figures cannot be written to {folder}: {e.strerror}") from e
    return search_figures(search, folder)


def _stem(path: Path) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", path.name)[:40].strip("-.") or "search"
