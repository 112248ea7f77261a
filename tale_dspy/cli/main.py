"""`tale`: the commands, and how errors become exit codes.

0 done, 1 failed, 2 wrong usage or bad input, 3 stopped by a cap, 130 interrupted; what was finished is kept.
"""

import logging
import os
import sys
from collections.abc import Sequence

import click
import typer

from tale_dspy.cli import demo, diff, evaluate, report, reproduce
from tale_dspy.errors import SpendCapReached, TaleError, UsageError

app = typer.Typer(
    name="tale",
    help="Token-budget-aware reasoning (TALE) for DSPy: run, compare and report.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
for command in (evaluate, diff, report, reproduce, demo):
    app.command(command.NAME)(command.run)


@app.callback(invoke_without_command=True)
def _root(version: bool = typer.Option(False, "--version", help="Print the version and exit.")) -> None:
    if version:
        import tale_dspy

        typer.echo(tale_dspy.__version__)
        raise typer.Exit


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Args:
        argv: Arguments after the program's name; None takes the process's.
    """
    # Prices come from the table that is installed: the same on each run, and no fetch on a closed network.
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    try:
        code = app(list(argv) if argv is not None else None, standalone_mode=False)
    except click.exceptions.Exit as e:
        return e.exit_code
    except click.ClickException as e:
        e.show(sys.stderr)
        return 2
    except (KeyboardInterrupt, click.exceptions.Abort):
        _say("interrupted: what was finished is kept, the same command continues")
        return 130
    except SpendCapReached as e:
        _say(str(e))
        return 3
    except UsageError as e:
        _say(f"error: {e}")
        return 2
    except TaleError as e:
        _say(f"error: {e}")
        return 1
    except BrokenPipeError:
        return 1
    return code if isinstance(code, int) else 0


def _say(text: str) -> None:
    click.echo(text, err=True)


def entry() -> None:
    """Run as the `tale` script."""
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Worker threads that still wait for a reply of an ended run must not hold the process.
    os._exit(code)
