"""`tale show`: a run in the terminal.

Or one of its questions with the whole reply.
"""

from pathlib import Path
from typing import Annotated

import typer

from tale_dspy.cli import flags

NAME = "show"


def run_command(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    question: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="Id of a question, or how it begins; unset: the run's table.")
    ] = None,
    json: flags.Json = False,
) -> None:
    """Show the figures of a run and the questions it failed.

    With an ID, shows one question with everything that is known of it.
    """
    from tale_dspy.cli.console import console, print_json
    from tale_dspy.reports import report_rows, rich_table
    from tale_dspy.reports.question_view import failed_table, find_records, rich_record
    from tale_dspy.runs.records import load_run

    loaded, screen = load_run(folder), console()
    if question is None:
        if json:
            print_json(loaded.summary)
            return
        screen.print(rich_table(report_rows([loaded]), width=screen.width))
        screen.print(failed_table(loaded).rich(screen.width))
        return
    records = find_records(loaded, question)
    if json:
        print_json({"records": [record.to_json() for record in records]})
        return
    for record in records:
        screen.print(rich_record(loaded.name, record))
