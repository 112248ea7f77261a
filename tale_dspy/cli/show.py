"""`tale show`: a run in the terminal, or one question with its whole reply."""

from pathlib import Path
from typing import Annotated

import typer

from tale_dspy.cli import flags
from tale_dspy.cli.console import say
from tale_dspy.errors import UsageError

NAME = "show"


def run_command(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run, search, tuning or trained adapter.")],
    question: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="Id of a question, or how it begins; unset: the run's table.")
    ] = None,
    json: flags.Json = False,
) -> None:
    """Show the figures of a run, and the questions it failed.

    With an ID, shows one question with everything that is known of it.
    """
    from tale_dspy.cli.console import console, print_json
    from tale_dspy.reports import report_rows, rich_table
    from tale_dspy.reports.question_view import failed_table, find_records, rich_record
    from tale_dspy.reports.search_run import is_search
    from tale_dspy.reports.training_run import is_training
    from tale_dspy.runs.records import load_run
    from tale_dspy.runs.tuning_folder import is_tuning

    if is_search(folder) or is_training(folder) or is_tuning(folder):
        _show_other(folder, question, json=json)
        return
    loaded, screen = load_run(folder), console()
    if question is None:
        if json:
            print_json(loaded.summary)
            return
        screen.print(rich_table(report_rows([loaded]), width=screen.width))
        failed = failed_table(loaded)
        if failed.rows:
            screen.print(failed.rich(screen.width))
        else:
            say(*failed.notes)
        return
    records = find_records(loaded, question)
    if json:
        print_json({"records": [record.to_json() for record in records]})
        return
    for record in records:
        screen.print(rich_record(loaded.name, record))


def _show_other(folder: Path, question: str | None, *, json: bool) -> None:
    """Show a search, a tuning or a trained adapter.

    There is a sentence on each, and its figures.
    """
    from tale_dspy.cli.console import console, print_json
    from tale_dspy.reports.search_run import is_search, load_search_runs, search_sentence, search_summary, search_table
    from tale_dspy.reports.training_run import is_training, load_training, training_table

    if question is not None:
        raise UsageError(f"{folder} is no run: only a run's questions are shown one by one; `tale view` shows all")
    screen = console()
    if is_training(folder):
        training = load_training(folder)
        if json:
            print_json(training.card)
        else:
            say(training.verdict)
            screen.print(training_table(training).rich(screen.width))
        return
    if not is_search(folder):
        _show_tuning(folder, json=json)
        return
    searches = load_search_runs(folder)
    if json:
        print_json({"searches": [{"predictor": s.predictor, **search_table(s)} for s in searches]})
        return
    for search in searches:
        say(search_sentence(search))
        screen.print(search_summary(search).rich(screen.width))


def _show_tuning(folder: Path, *, json: bool) -> None:
    """Show a tuning.

    It says how many variants were tried, its front, and the chosen program on fresh questions.
    """
    from tale_dspy.cli.console import console, print_json
    from tale_dspy.reports.tuning_run import front_table, load_tuning
    from tale_dspy.runs.tuning_folder import PROGRAM_FILE

    tuning = load_tuning(folder)
    table = front_table(tuning.front, tuning.chosen)
    if json:
        comparison = None if tuning.comparison is None else tuning.comparison.to_json()
        program = None if tuning.chosen is None else str(folder / PROGRAM_FILE)
        figures = {"trials": tuning.trials, "data": tuning.data, "front": table.values()}
        print_json({**figures, "comparison": comparison, "program_file": program})
        return
    say(tuning.sentence)
    if tuning.front:
        console().print(table.rich())
    if tuning.comparison is not None:
        say(f"on {tuning.comparison.n} fresh questions, against the same program without budgets:")
        say(tuning.comparison)
        say(f"the chosen program: {folder / PROGRAM_FILE}; runs inside: `tale runs {folder} --all`")
