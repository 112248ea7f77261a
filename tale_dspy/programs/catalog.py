"""Every program there is, by its word on the command line.

A file in this folder is enough to add one.
"""

import importlib
import pkgutil
from functools import cache

from tale_dspy import programs
from tale_dspy.programs.registry import RegisteredModule, registered_modules


@cache
def import_programs() -> None:
    """Import every file of this folder, which registers the classes in it."""
    for module in pkgutil.walk_packages(programs.__path__, f"{programs.__name__}."):
        importlib.import_module(module.name)


def command_line_programs() -> dict[str, type[RegisteredModule]]:
    """Return the programs that have a command-line word of their own, by word."""
    import_programs()
    return {kind.cli_name: kind for kind in registered_modules().values() if kind.cli_name is not None}
