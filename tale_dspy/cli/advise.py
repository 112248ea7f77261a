"""`tale advise`: which of several runs pays, and what to try next."""

from pathlib import Path
from typing import Annotated

import typer

from tale_dspy.cli import flags
from tale_dspy.cli.console import print_json, say
from tale_dspy.errors import UsageError

NAME = "advise"


def run_command(
    runs: Annotated[
        list[Path], typer.Argument(help="Run folders on the same questions, one of them without a budget.")
    ],
    max_drop: Annotated[float, typer.Option(help="Points of accuracy that may be lost: 2 is from 61 % to 59 %.")] = 2.0,
    json: flags.Json = False,
) -> None:
    """Say which run pays on these questions, and what to try next.

    Every run with a budget is compared, question by question, with the most accurate one without. The output also says
    what each budget is worth.
    """
    from tale_dspy.comparison.advice import advise
    from tale_dspy.comparison.load_runs import load_runs

    if not 0 < max_drop < 100:
        raise UsageError(f"--max-drop is in points, above 0 and below 100, got {max_drop:g}")
    advice = advise(load_runs(runs), max_drop=max_drop / 100)
    if json:
        print_json(advice.to_json())
    else:
        say(advice)
