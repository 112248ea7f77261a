"""`tale report`: the paper's table, all figures and one page.

They are made from runs, searches and trained adapters.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tale_dspy.cli import flags
from tale_dspy.cli.console import say

if TYPE_CHECKING:
    from tale_dspy.reports import ReportSources
    from tale_dspy.reports.search_run import SearchRun

NAME = "report"

Folders = Annotated[
    list[Path],
    typer.Argument(
        help="Run folders; the first is what the others are compared with. Folders of searches: a row beside those of "
        "the runs, their figures, and how often the budgets of the runs lie in the ideal ranges found. And folders of "
        "trained adapters."
    ),
]


def run_command(
    runs: Folders,
    out: Annotated[
        Path, typer.Option(help="Folder for report.html, table.md, .tex, .csv, .json and the figures.")
    ] = Path("report"),
    json: flags.Json = False,
) -> None:
    """Print the table of several runs, and write it with all figures.

    The figures go into a folder and into one page, report.html.
    """
    from tale_dspy.cli.console import console, print_json
    from tale_dspy.reports import load_sources, rich_table, to_json, write_report
    from tale_dspy.reports.search_run import searched_row

    sources = load_sources(runs)
    rows = [*sources.rows, *map(searched_row, sources.searches)] if sources.runs else []
    searches = [_search_figures(search, sources) for search in sources.searches]
    if not json:
        screen = console()
        if rows:
            screen.print(rich_table(rows, width=screen.width))
        for search in sources.searches:
            _show_search(search, sources)
        for training in sources.trainings:
            say(training.verdict)
    written = write_report(sources, out)
    if json:
        print_json({"rows": to_json(rows), "searches": searches, "files": [str(p) for p in written]})
    else:
        say(f"written to {out}: {', '.join(str(p.relative_to(out)) for p in written)}")


def _search_figures(search: "SearchRun", sources: "ReportSources") -> dict[str, object]:
    """Return the figures of a search.

    They say how well the budgets of the runs fit its ideal ranges.
    """
    from dataclasses import asdict

    from tale_dspy.reports.search_run import range_qualities, range_sentence, search_table

    return {
        "search": str(search.folder),
        "predictor": search.predictor,
        "sampler": search.sampler,
        "figures": search_table(search),
        "provenance": search.provenance,
        "ranges": [
            {"run": str(run.path), **asdict(quality), "sentence": range_sentence(run.name, quality, search)}
            for run, quality in range_qualities(sources.runs, search)
        ],
    }


def _show_search(search: "SearchRun", sources: "ReportSources") -> None:
    from tale_dspy.cli.console import console
    from tale_dspy.display import visible
    from tale_dspy.reports.search_run import range_qualities, range_sentence, search_summary

    console().print(search_summary(search).rich())
    for run, quality in range_qualities(sources.runs, search):
        say(f"Ideal range, {visible(range_sentence(run.name, quality, search), ' ')}")
    say(f"Evidence: {visible(search.provenance, ' ')}")
