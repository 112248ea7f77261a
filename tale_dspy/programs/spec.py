"""Turn a word on the command line into a program.

Examples are `cot`, `budget:50`, `best.json` and `my_module:program`.
"""

import importlib
import inspect
import math
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dspy

from tale_dspy.budget import EFFORT_WORDS, BudgetValue, check_budget
from tale_dspy.display import suggestion
from tale_dspy.errors import UsageError
from tale_dspy.programs.budgeted import BudgetedChainOfThought
from tale_dspy.programs.catalog import command_line_programs
from tale_dspy.programs.saving import load
from tale_dspy.programs.vote import Vote

_FORMS = (
    "budget:N, budget:0.25x, budget:best, effort:WORD, effort:best, vote:N:PROGRAM, a saved program's .json, or "
    "module:attribute"
)
_DIGITS = 18  # more than any budget has; int() refuses some thousands
_FACTOR = re.compile(r"budget:(\d+(?:\.\d+)?)x")


def program_words() -> dict[str, Callable[[str], dspy.Module]]:
    """Return each program word, and what builds its program from a signature.

    Only words that are a program by themselves are included.
    """
    words: dict[str, Callable[[str], dspy.Module]] = {**command_line_programs(), "dspy-cot": dspy.ChainOfThought}
    return dict(sorted(words.items()))


def program_from(spec: str, signature: str) -> Any:
    """Build the program a word names.

    Args:
        spec: One of `program_words`, `budget:N`, `effort:WORD`, `vote:N:PROGRAM`, a path to a saved program, or
            `module:attribute`. `budget:0.25x` gives a program whose questions bring their budgets. An attribute may be
            a module, or a class or function that gives one, with the signature as its only argument or without any.
        signature: The task's signature, for programs that need one.

    Raises:
        UsageError: If the word names nothing.
    """
    words = program_words()
    if spec in words:
        return words[spec](signature)
    if scale_of(spec) is not None or spec in ("budget:best", "effort:best"):
        return BudgetedChainOfThought(signature)
    if spec.startswith("vote:"):
        return _vote_program(spec, signature)
    if spec.startswith("effort:"):
        return BudgetedChainOfThought(signature, _effort_value(spec))
    if spec.startswith("budget:"):
        return BudgetedChainOfThought(signature, _budget_tokens(spec))
    if spec.endswith((".json", ".pkl")):
        return load(Path(spec))
    if ":" in spec:
        return _import_program(spec, signature)
    raise _no_program(spec)


def check_program_word(spec: str) -> None:
    """Refuse a word that names no program, without building one.

    Raises:
        UsageError: If it is no program word, and has none of the forms that name a program.
    """
    if spec not in program_words() and ":" not in spec and not spec.endswith((".json", ".pkl")):
        raise _no_program(spec)


def _no_program(spec: str) -> UsageError:
    words = program_words()
    known = f": give {', '.join(words)}, {_FORMS}"
    return UsageError(f"there is no program {spec!r}{suggestion(spec, words) or known}")


def scale_of(spec: str) -> float | None:
    """Return the factor of `budget:0.25x`, or None for any other word."""
    match = _FACTOR.fullmatch(spec)
    if not match:
        return None
    if not 0 < float(match[1]) < math.inf:
        raise UsageError(f"{spec}: the factor must be above 0 and finite")
    return float(match[1])


def _budget_tokens(spec: str) -> int:
    text = spec.removeprefix("budget:")
    if not text.isascii() or not text.isdigit() or len(text) > _DIGITS:
        raise UsageError(f"{spec}: after budget: comes a whole number of tokens, a factor such as 0.25x, or best")
    return check_budget(int(text), spec)


def _vote_program(spec: str, signature: str) -> Vote:
    """Build `vote:PROGRAM`, or `vote:N:PROGRAM` with at most N votes."""
    _, first, *rest = spec.split(":", 2)
    if first.isascii() and first.isdigit() and len(first) <= _DIGITS and rest:
        return Vote(program_from(rest[0], signature), int(first))
    return Vote(program_from(spec.removeprefix("vote:"), signature))


def _effort_value(spec: str) -> BudgetValue:
    value = BudgetValue.parse(spec.removeprefix("effort:"))
    if value.effort is None:
        raise UsageError(f"{spec}: after effort: comes one of {', '.join(EFFORT_WORDS)}, such a word+N, or best")
    return value


def imported(spec: str) -> Any:
    """Import `module:attribute`.

    The current folder is on the path, as with `python -m`.

    Raises:
        UsageError: If there is no such module or attribute, or the module fails while it is imported.
    """
    name, _, attribute = spec.partition(":")
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        value = importlib.import_module(name)
    except (Exception, SystemExit) as e:  # the boundary to the user's module, which may raise anything
        raise UsageError(f"{spec}: module {name!r} cannot be imported: {type(e).__name__}: {e}") from e
    for part in attribute.split("."):
        try:
            value = getattr(value, part)
        except AttributeError:
            raise UsageError(f"{spec}: {name!r} has no attribute {attribute!r}") from None
    return value


def _import_program(spec: str, signature: str) -> Any:
    """Return the module of that name, or the result of a class or factory."""
    value = imported(spec)
    if not isinstance(value, dspy.Module) and callable(value):
        try:
            value = value(signature) if _needs_signature(value) else value()
        except Exception as e:  # the boundary to the user's factory
            raise UsageError(f"{spec} cannot be built: {type(e).__name__}: {e}") from e
    if not isinstance(value, dspy.Module):
        raise UsageError(f"{spec} must be a dspy.Module or give one when called, got {type(value).__name__}")
    return value


def _needs_signature(factory: object) -> bool:
    """Return whether a class or factory needs an argument.

    A class is inspected itself, since DSPy's metaclass takes any arguments.
    """
    maker: Any = factory
    try:
        if isinstance(factory, type):
            inspect.signature(maker.__init__).bind(None)
        else:
            inspect.signature(maker).bind()
    except TypeError:
        return True
    except ValueError:  # a builtin that does not tell
        return False
    return False
