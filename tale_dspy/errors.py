"""The exceptions of tale_dspy.

    TaleError(Exception)
     +- UsageError(ValueError)           wrong usage or bad input: the command line exits with 2
     |   +- DataError                    a data set, file or row that cannot be used
     |   +- SignatureError               a signature a module cannot take
     |   +- StateError                   a saved program that does not fit
     |   +- RunFolderError               a run folder that is broken, busy or of another configuration
     |   +- UnpricedModelError           a money cap on a model without a known price
     +- MissingExtraError(ImportError)   an optional dependency is not installed
     +- BackendError                     the provider refuses everything (key, model, quota) or the disk is full
    SpendCapReached(BaseException)       a spend cap ended the work
    BatchWaiting(BaseException)          a run through a batch API was left before the provider had answered

`SpendCapReached` and `BatchWaiting` stand outside `Exception` on purpose, as `KeyboardInterrupt` does:
`dspy.Evaluate`, `dspy.Parallel`, MIPROv2 and GEPA catch `Exception` and would score the stop as a wrong answer.
"""

from typing import Protocol


class SpendSums(Protocol):
    """What a `tale_dspy.Ledger` says was spent."""

    spent_usd: float
    output_tokens: int

    def spent(self) -> str:
        """Say in a few words what was spent."""
        ...

    def to_json(self) -> dict[str, object]:
        """Return the sums as plain JSON."""
        ...


class TaleError(Exception):
    """Base class of every error this library raises on purpose."""


class UsageError(TaleError, ValueError):
    """An argument, a file or a combination of options that cannot be used.

    The message names it and the rule.
    """


class DataError(UsageError):
    """A data set that cannot be read.

    It is missing, empty, or has a row without the needed columns.
    """


class SignatureError(UsageError):
    """A signature that already has a field of a name the module adds or reserves."""


class StateError(UsageError):
    """A saved program that does not fit what it is loaded into.

    Its fields or its class differ.
    """


class RunFolderError(UsageError):
    """A run folder that cannot be used.

    It is none, is in use by another process, or holds another configuration.
    """


class UnpricedModelError(UsageError):
    """A cap in US dollars, and a model whose price is unknown."""


class MissingExtraError(TaleError, ImportError):
    """An optional dependency is missing. The message holds the exact pip line.

    Args:
        package: The module that could not be imported, such as `matplotlib`.
        extra: The extra of this distribution that installs it, such as `report`.
    """

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed: pip install 'tale-dspy[{extra}]'")


class BackendError(TaleError):
    """The whole run cannot go on.

    The key, model or quota is refused, or results cannot be written.
    """


class SpendCapReached(BaseException):
    """A cap on money or output tokens was reached.

    The call that would have passed it was not sent.

    Attributes:
        ledger: What was spent until then.
    """

    def __init__(self, message: str, ledger: SpendSums) -> None:
        super().__init__(message)
        self.ledger = ledger


class BatchWaiting(BaseException):
    """A run through a batch API that was left before it was answered.

    The same call continues it later.
    """


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or the name of its class."""
    return str(error).strip().partition("\n")[0] or type(error).__name__
