"""`tale export`: a saved program or a run, for tools beside DSPy."""

from pathlib import Path
from typing import Annotated

import typer

from tale_dspy.cli import flags
from tale_dspy.cli.console import say

NAME = "export"


def run_command(
    source: Annotated[Path, typer.Argument(help="A saved program's .json (litellm, json-policy) or a run folder.")],
    to: Annotated[
        str,
        typer.Option(help="litellm, json-policy (program); inspect, mlflow, parquet (run).", show_default=False),
    ],
    out: Annotated[Path, typer.Option(help="File or folder to write to.", show_default=False)],
    json: flags.Json = False,
) -> None:
    """Write a program's budgets, or a run, for other tools.

    Budgets for a LiteLLM proxy or another language; a run for inspect_ai, mlflow or Parquet.
    """
    from tale_dspy.cli.console import print_json
    from tale_dspy.integrations.exports import export

    written = export(source, to, out)
    if json:
        print_json({"to": to, "files": [str(path) for path in written]})
    else:
        say(f"written: {', '.join(map(str, written))}")
