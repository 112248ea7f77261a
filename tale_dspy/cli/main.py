"""`tale`: the commands, and how errors become exit codes.

0 done, 1 failed, 2 wrong usage or bad input, 3 stopped by a cap, 4 waiting for batches, 130 interrupted; what was
finished is kept.
"""

import functools
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any

import typer

from tale_dspy.cli import (
    advise,
    demo,
    diff,
    distill,
    doctor,
    elasticity,
    evaluate,
    export,
    flags,
    gate,
    merge,
    report,
    reproduce,
    runs,
    search,
    show,
    streams,
    train,
    tune,
    view,
)
from tale_dspy.cli.config_file import with_config
from tale_dspy.cli.console import say
from tale_dspy.cli.flag_values import ValueNamingCommand, with_flag_name
from tale_dspy.errors import BatchWaiting, SpendCapReached, TaleError, UsageError

app = typer.Typer(
    name="tale",
    help="Token-budget-aware reasoning (TALE) for DSPy: run, compare and report.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def exits(command: Callable[..., Any]) -> Callable[..., Any]:
    """Turn a command's result or error into an exit code and one sentence.

    The sentence goes to stderr.
    """

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        code, sentence = 0, None
        try:
            code = command(*args, **kwargs) or 0
            sys.stdout.flush()
        except KeyboardInterrupt:
            code, sentence = 130, "interrupted: what was finished is kept, the same command continues"
        except BatchWaiting as e:
            code, sentence = 4, str(e)
        except SpendCapReached as e:
            code, sentence = 3, str(e)
        except UsageError as e:
            code, sentence = 2, f"error: {with_flag_name(command, str(e))}"
        except TaleError as e:
            code, sentence = 1, f"error: {e}"
        except BrokenPipeError:  # the reader of a pipe left, as `| head` does
            code = 1
            streams.drop_stdout()
        except OSError as e:
            code, sentence = 1, f"error: {e.filename or 'stdout'} cannot be used: {e.strerror or e}"
            streams.drop_stdout()
        if sentence:
            say(" ".join(sentence.split()), err=True)
        raise typer.Exit(code)

    return run


for _command in (
    evaluate,
    diff,
    advise,
    report,
    view,
    show,
    runs,
    search,
    elasticity,
    tune,
    distill,
    train,
    gate,
    doctor,
    reproduce,
    demo,
    export,
    merge,
):
    _decorate = app.command(_command.NAME, cls=ValueNamingCommand, epilog=flags.EPILOGS.get(_command.NAME))
    _decorate(exits(with_config(_command.run_command)))


@app.callback(invoke_without_command=True)
def _show_version(version: bool = typer.Option(False, "--version", help="Print the version and exit.")) -> None:
    if version:
        import tale_dspy

        typer.echo(tale_dspy.__version__)
        raise typer.Exit


def _raise_interrupt(*_: object) -> None:
    """End a command on SIGTERM as on Ctrl-C: with what was finished."""
    raise KeyboardInterrupt


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Args:
        argv: Arguments after the program's name; None takes the process's.
    """
    streams.set_up()
    if argv is None:
        signal.signal(signal.SIGTERM, _raise_interrupt)
    try:
        app(list(argv) if argv is not None else None, prog_name="tale")
        code = 0
    except UsageError as e:  # a --config file, which is read before the command runs
        say(f"error: {' '.join(str(e).split())}", err=True)
        code = 2
    except SystemExit as e:
        code = e.code if isinstance(e.code, int) else 0 if e.code is None else 1
    if argv is None and code:
        streams.leave_at_once(code)
    return code


if __name__ == "__main__":  # for `accelerate launch -m tale_dspy.cli.main`
    raise SystemExit(main())
