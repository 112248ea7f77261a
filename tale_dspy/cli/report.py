"""`tale report`: the paper's table and figures from run folders."""

from pathlib import Path
from typing import Annotated

import typer

from tale_dspy.cli import flags

NAME = "report"


def run(
    runs: Annotated[list[Path], typer.Argument(help="Run folders; the first is what the others are compared with.")],
    out: Annotated[Path, typer.Option(help="Folder for table.md, .tex, .csv, .json and the figures.")] = Path("report"),
    json: flags.Json = False,
) -> None:
    """Print the table of several runs, and write it with the figures as Markdown, LaTeX, CSV, JSON, PNG and SVG."""
    from tale_dspy.cli.show import console, print_json
    from tale_dspy.reports import report_rows, rich_table, to_json, write_report
    from tale_dspy.runs.records import load_run

    loaded = [load_run(path) for path in runs]
    rows = report_rows(loaded)
    if json:
        written = write_report(loaded, out)
        print_json({"rows": to_json(rows), "files": [str(p) for p in written]})
        return
    screen = console()
    screen.print(rich_table(rows, width=screen.width))
    written = write_report(loaded, out)
    typer.echo(f"written to {out}: {', '.join(p.name for p in written)}")
