"""Compare with no budget now and then, where no gold is known.

Some questions are asked without a budget as well.

What a shadow check finds is booked on the ledgers of `tale_dspy.track`: how often both agree, and what the budget
saves.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from dspy import AdapterParseError, LMError, settings

from tale_dspy.accounting.calls import CallListener, ShadowResult
from tale_dspy.answers import answers_equal
from tale_dspy.errors import UsageError, first_line
from tale_dspy.ids import digest
from tale_dspy.programs.state import ModuleState
from tale_dspy.protocols import JsonObject
from tale_dspy.task_signature import BUDGET, REASONING

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ShadowCheck:
    """Which calls are asked a second time, without a budget.

    Raises:
        UsageError: If the share is no fraction above 0.
    """

    share: float
    """Share of the calls, from 0 to 1."""
    seed: int = 0
    """Another seed picks other calls; the same inputs are always picked, or never."""

    def __post_init__(self) -> None:
        if isinstance(self.share, bool) or not isinstance(self.share, int | float) or not 0 < self.share <= 1:
            raise UsageError(f"shadow_rate must be a share of the calls above 0 and at most 1, got {self.share!r}")

    def picks(self, inputs: Mapping[str, object]) -> bool:
        """Return whether a call with these inputs is checked by a shadow call."""
        return int(digest([self.seed, dict(inputs)]), 16) / 2**64 < self.share


class ShadowState(ModuleState):
    """Which calls of a module are checked, saved with it."""

    required = False

    def affects_output(self) -> bool:
        return False

    def __init__(self, shadow_rate: ShadowCheck | None) -> None:
        self._initial = shadow_rate
        self.shadow_rate = shadow_rate

    def dump_state(self, json_mode: bool = True) -> JsonObject:
        return {} if self.shadow_rate is None else asdict(self.shadow_rate)

    def load_state(self, state: JsonObject) -> None:
        self.shadow_rate = ShadowCheck(**state) if state else None

    def reset(self) -> None:
        self.shadow_rate = self._initial


def check_shadow_rate(value: object) -> ShadowCheck | None:
    """Read `shadow_rate=`: a share, a `ShadowCheck`, or None for no check."""
    if value is None or isinstance(value, ShadowCheck):
        return value
    return ShadowCheck(value)  # type: ignore[arg-type]  # it checks


@contextmanager
def shadow_call() -> Iterator[None]:
    """Let no failure of the second call reach the caller, whose answer stands."""
    try:
        yield
    except (AdapterParseError, LMError) as e:
        logger.warning("a shadow check brought no answer: %s", first_line(e))


def answers_agree(first: Any, second: Any, names: list[str]) -> bool:
    """Return whether two predictions give the same outputs, whatever their form."""
    return all(_same_value(first.get(name), second.get(name)) for name in names if name not in (REASONING, BUDGET))


def _same_value(a: object, b: object) -> bool:
    if isinstance(a, str) and isinstance(b, str):
        return answers_equal(a, b, "auto")
    return bool(a == b)


def book_shadow_result(result: ShadowResult) -> None:
    """Hand what a shadow check has found to every ledger around."""
    for module in settings.caller_modules or []:
        if isinstance(module, CallListener):
            module.add_shadow_result(result)
