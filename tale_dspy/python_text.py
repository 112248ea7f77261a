"""Parse Python text in many threads at once."""

from collections.abc import Callable
from typing import TypeVar

_Value = TypeVar("_Value")

_TRIES = 100


def parse_in_threads(parse: Callable[[], _Value]) -> _Value:
    """Call a function that parses Python text, again where it was disturbed.

    CPython 3.11 counts the depth of syntax trees in one counter for all threads. Where the garbage collector hands over
    to another thread in the middle of `ast.parse`, the first one finds a foreign count and raises `SystemError`, though
    its text is fine. Python 3.12 and later have a counter for each thread.

    Args:
        parse: Parses a text; without side effects, as it may be called several times.

    Returns:
        What `parse` returns.

    Raises:
        SystemError: If a hundred calls were disturbed.
    """
    for _ in range(_TRIES - 1):
        try:
            return parse()
        except SystemError:
            continue
    return parse()
