"""Groups of flags.

A command takes a dataclass as one parameter, and each of its fields is a flag.

Every flag can be set by an environment variable `TALE_<FLAG>` and by a file given as `--config`; the command line wins
over the environment, and the environment over the file. Help shows flags in panels, those a newcomer needs first.
"""

import functools
import inspect
from collections.abc import Callable, Collection
from dataclasses import MISSING, fields, is_dataclass
from inspect import Parameter, Signature
from typing import Annotated, Any, get_origin

from tale_dspy.cli.config_file import panel_order

Command = Callable[..., int]


def expand_dataclass(*, without: Collection[str] = ()) -> Callable[[Command], Command]:
    """Give a command the flags of the dataclasses that it takes.

    Required flags come first. A field is a flag where it is `Annotated`, as all of `cli.flags` are; any other keeps its
    default.

    Args:
        without: Fields that are no flags of this command, and keep their defaults.
    """

    def decorate(command: Command) -> Command:
        parameters = inspect.signature(command).parameters
        groups = {
            name: _flags_of(p.annotation, without) for name, p in parameters.items() if is_dataclass(p.annotation)
        }

        @functools.wraps(command)
        def run(**values: Any) -> int:
            for name, flags in groups.items():
                values[name] = parameters[name].annotation(**{flag.name: values.pop(flag.name) for flag in flags})
            return command(**values)

        flags = [flag for name, parameter in parameters.items() for flag in groups.get(name, [parameter])]
        flags = [flag.replace(kind=Parameter.KEYWORD_ONLY) for flag in flags]
        flags.sort(key=lambda flag: (flag.default is not Parameter.empty, panel_order(flag.name)))
        run.__signature__ = Signature(flags)  # type: ignore[attr-defined]  # what Typer reads
        return run

    return decorate


def _flags_of(group: Any, without: Collection[str]) -> list[Parameter]:
    """Return the fields of a dataclass that are flags, as parameters."""
    return [
        Parameter(
            field.name,
            Parameter.KEYWORD_ONLY,
            default=Parameter.empty if field.default is MISSING else field.default,
            annotation=field.type,
        )
        for field in fields(group)
        if get_origin(field.type) is Annotated and field.name not in without
    ]
