"""Errors of flags that name the value they cannot take, and its source."""

import inspect
import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any, get_args, get_origin

import typer
from typer.core import TyperArgument, TyperCommand, TyperOption
from typer.models import OptionInfo


def misfit(annotation: object, setting: object) -> str | None:
    """Return what a flag takes where a file gives another kind of value, or None.

    Another kind is a list, true or false.
    """
    kind = get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation
    kinds = [get_origin(part) or part for part in (kind, *get_args(kind))]
    if isinstance(setting, bool) and bool not in kinds:
        return "a number" if {int, float} & set(kinds) else "a text"
    if isinstance(setting, list) and not {list, tuple, Sequence} & set(kinds):
        return "one value"
    return None


class ValueNamingCommand(TyperCommand):
    """A command that says which value a flag cannot take, and where it came from."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # of the click that typer ships
        """Read the flags; an error of one gets its value."""
        from pydantic import ValidationError

        try:
            return super().parse_args(ctx, args)
        except typer.BadParameter as e:
            if isinstance(e.__cause__, ValidationError):
                e.message += f", got {e.__cause__.errors()[0]['input']!r}{_origin(ctx, e.param)}"
            raise


def _origin(context: typer.Context, parameter: object) -> str:
    """Say where a value that stands on no command line came from."""
    if not isinstance(parameter, TyperOption | TyperArgument) or parameter.name is None:
        return ""
    source = context.get_parameter_source(parameter.name)
    if source is None:
        return ""
    return {"ENVIRONMENT": f" from ${parameter.envvar}", "DEFAULT_MAP": " from --config"}.get(source.name, "")


_NAMES_AN_ARGUMENT = re.compile(r"([a-z][a-z_]*)(?= must be )")


def with_flag_name(command: Callable[..., object], sentence: str) -> str:
    """Name the flag where an error names the argument of Python.

    `max_usd must be ...` becomes `--max-usd must be ...`. A flag with a name of its own is left as it is: what is
    called so in Python may be another one.
    """
    match = _NAMES_AN_ARGUMENT.match(sentence)
    parameter = inspect.signature(command).parameters.get(match[1]) if match else None
    if match is None or parameter is None:
        return sentence
    options = [info for info in get_args(parameter.annotation)[1:] if isinstance(info, OptionInfo)]
    # Inside Annotated, Typer keeps the first name as the default.
    names = [str(name) for info in options for name in (info.default, *(info.param_decls or ()))]
    if not options or any(name.startswith("--") for name in names):
        return sentence
    return f"--{match[1].replace('_', '-')}{sentence[match.end() :]}"
