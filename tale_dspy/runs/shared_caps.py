"""Caps that several runs of one process share.

Each gets what those before it have left.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypedDict

from tale_dspy.accounting.cap_leases import LeasedLedger
from tale_dspy.accounting.ledger import Ledger
from tale_dspy.backends.prices import Price
from tale_dspy.datasets import Dataset
from tale_dspy.errors import SpendCapReached, UsageError
from tale_dspy.protocols import Program
from tale_dspy.runs.engine import evaluate_with_ledger
from tale_dspy.runs.options import RunOptions
from tale_dspy.runs.records import Run
from tale_dspy.runs.scoring import Metric


class CapsLeft(TypedDict):
    """The caps of the next run, as arguments of `evaluate`."""

    max_usd: float | None
    max_total_output_tokens: int | None


class SharedCaps:
    """Caps in dollars and tokens over several runs, searches and blocks.

    Tokens are completion tokens, blocks those of `track`. What may have been billed (a call that failed on its way
    back) counts with its worst case, as within one run.

    Args:
        max_usd: Cap on US dollars; None for none.
        max_total_output_tokens: Cap on completion tokens; None for none.

    Attributes:
        ledger: The sum of all runs so far.

    Raises:
        UsageError: If a cap is not a positive number.

    Example:
        >>> caps = SharedCaps(max_usd=2.0)
        >>> caps.left()["max_usd"]
        2.0
    """

    def __init__(self, max_usd: float | None = None, max_total_output_tokens: int | None = None) -> None:
        self.ledger: Ledger = Ledger(max_usd, max_total_output_tokens)

    @classmethod
    def leased(cls, ledger: LeasedLedger) -> "SharedCaps":
        """Return the caps of a process that leases them.

        What is left is known only when a call is about to be sent.
        """
        caps = cls()
        caps.ledger = ledger
        return caps

    def left(self) -> CapsLeft:
        """Return what the caps leave.

        Raises:
            SpendCapReached: If nothing is left of one.
        """
        if isinstance(self.ledger, LeasedLedger):
            return CapsLeft(max_usd=None, max_total_output_tokens=None)
        used, usd, tokens = self.ledger.used, self.ledger.max_usd, self.ledger.max_total_output_tokens
        left = CapsLeft(
            max_usd=None if usd is None else usd - used.usd,
            max_total_output_tokens=None if tokens is None else tokens - used.tokens,
        )
        for name, rest in left.items():
            if isinstance(rest, int | float) and rest <= 0:
                raise SpendCapReached(f"spend cap reached: nothing is left of {name}", self.ledger)
        return left

    @contextmanager
    def next_ledger(self, price: Price | None = None) -> Iterator[Ledger]:
        """Yield the ledger of the next piece of work, and add it up at the end.

        Args:
            price: Overrides the price of every model inside the block.

        Raises:
            SpendCapReached: If nothing is left of a cap.
        """
        self.left()
        ledger = self.ledger.successor(price)
        try:
            yield ledger
        finally:
            self.ledger.absorb(ledger)

    def evaluate(
        self,
        program: Program,
        examples: Dataset | Sequence[Any],
        *,
        metric: Metric | None = None,
        out: str | Path | None = None,
        allow_partial: bool = False,
        **options: Any,
    ) -> Run:
        """Evaluate a program under what is left of the caps.

        Args:
            program: As in `evaluate`.
            examples: As in `evaluate`.
            metric: As in `evaluate`.
            out: As in `evaluate`.
            allow_partial: Whether a run that a cap ended is returned; False raises.
            **options: As in `evaluate`, without caps.

        Raises:
            SpendCapReached: If nothing was left, or a cap ended the run; what was finished stays in `out`.
            UsageError: If the options hold caps of their own.
        """
        if not options.keys().isdisjoint(CapsLeft.__annotations__):
            raise UsageError("max_usd and max_total_output_tokens are those of the SharedCaps: give neither here")
        checked = RunOptions(**{**options, **self.left()})
        with self.next_ledger(checked.price) as ledger:
            run = evaluate_with_ledger(program, examples, metric, out, checked, ledger)
        if run.stopped and not allow_partial:
            raise SpendCapReached(run.message or f"the run was stopped: {run.stopped}", self.ledger)
        return run
