"""`tale gate`: whether a tuned run is shorter and not worse.

A run is tuned by training its model or changing its prompt. The test has 95 % certainty.
"""

from pathlib import Path
from typing import Annotated

import typer

from tale_dspy.cli import flags

NAME = "gate"

MinSaving = Annotated[float, typer.Option(help="Least saving of output tokens, a fraction: 0.4 is 40 %.")]
MaxDrop = Annotated[float, typer.Option(help="Largest drop in accuracy allowed, a fraction: 0.01 is one point.")]


def run_command(
    base: Annotated[Path, typer.Argument(help="Run folder of the plain model, or of the old prompt.")],
    tuned: Annotated[Path, typer.Argument(help="Run folder of the tuned model, or of the new prompt.")],
    min_saving: MinSaving = 0.3,
    max_drop: MaxDrop = 0.01,
    json: flags.Json = False,
) -> int:
    """Test that a tuned run is shorter and not worse than its base.

    The exit code is 0 if it is shown to be, else 1. Both runs must have the same questions and decoding, and differ in
    the model or in the prompt, not in both.
    """
    from tale_dspy.cli.console import console, print_json
    from tale_dspy.comparison.gate import noninferiority_test
    from tale_dspy.comparison.load_runs import load_runs
    from tale_dspy.reports.verdict import rich_verdict

    verdict = noninferiority_test(*load_runs([base, tuned]), min_saving=min_saving, max_drop=max_drop)
    if json:
        print_json(verdict.to_json())
    else:
        console().print(rich_verdict(verdict))
    return 0 if verdict.passed else 1
