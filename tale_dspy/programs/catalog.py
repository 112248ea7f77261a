"""Every program there is, by its word on the command line.

A file in this folder is enough to be one.
"""

import importlib
import pkgutil
from functools import cache

from tale_dspy import programs
from tale_dspy.programs.registry import RegisteredModule, registered_modules


@cache
def import_programs() -> None:
    """Import every file of this folder.

    The classes in them are then registered.
    """
    for module in pkgutil.walk_packages(programs.__path__, f"{programs.__name__}."):
        importlib.import_module(module.name)


def command_line_programs() -> dict[str, type[RegisteredModule]]:
    """Return the programs by their word on the command line.

    Those that have one of their own.
    """
    import_programs()
    return {kind.cli_name: kind for kind in registered_modules().values() if kind.cli_name is not None}
