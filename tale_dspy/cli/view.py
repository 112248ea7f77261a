"""`tale view`: the report of runs, searches and trainings in a browser."""

from pathlib import Path
from typing import Annotated

import typer

from tale_dspy.cli.console import say
from tale_dspy.cli.report import Folders

NAME = "view"


def run_command(
    runs: Folders,
    out: Annotated[
        Path | None, typer.Option(help="File to write; unset: report.html in the first of the folders.")
    ] = None,
    no_open: Annotated[bool, typer.Option("--no-open", help="Write the file and open no browser.")] = False,
) -> None:
    """Write the report as one HTML file, and open it in a browser.

    The file needs nothing else, so that it can be mailed.
    """
    import webbrowser

    from tale_dspy.reports import load_sources, report_page
    from tale_dspy.reports.page import write_page
    from tale_dspy.reports.report_folder import PAGE_FILE

    path = write_page(report_page(load_sources(runs)), out or runs[0] / PAGE_FILE)
    say(f"written: {path}")
    if not no_open and not webbrowser.open(path.resolve().as_uri()):
        say("no browser was found: open the file yourself", err=True)
