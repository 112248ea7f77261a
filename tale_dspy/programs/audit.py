"""For people without right answers: now and then ask without a budget as well, and compare.

What an audit finds is booked on the ledgers of `tale_dspy.track`: how often both agree, and what the budget saves.
"""

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from hashlib import blake2b
from typing import Any

from dspy.dsp.utils.settings import settings
from dspy.utils.exceptions import AdapterParseError, LMError

from tale_dspy.adapter import BUDGET, REASONING
from tale_dspy.answers import answers_equal
from tale_dspy.errors import UsageError
from tale_dspy.programs.state import ModuleState
from tale_dspy.receipts import Audited, Sink

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Audit:
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
            raise UsageError(f"audit must be a share of the calls above 0 and at most 1, got {self.share!r}")

    def picks(self, inputs: Mapping[str, Any]) -> bool:
        """Whether a call with these inputs is audited."""
        text = json.dumps([self.seed, sorted(inputs.items())], default=str, ensure_ascii=False)
        digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=6).digest()
        return int.from_bytes(digest) / 2**48 < self.share


class Audits(ModuleState):
    """Which calls of a module are audited, saved with it."""

    required = False

    def decides(self) -> bool:
        return False

    def __init__(self, audit: Audit | None) -> None:
        self._initial = audit
        self.audit = audit

    def dump_state(self, json_mode: bool = True) -> dict[str, Any]:
        return {} if self.audit is None else asdict(self.audit)

    def load_state(self, state: dict[str, Any]) -> None:
        self.audit = Audit(**state) if state else None

    def reset(self) -> None:
        self.audit = self._initial


def check_audit(value: object) -> Audit | None:
    """Return what `audit=` says: a share, an `Audit`, or None for no audit."""
    if value is None or isinstance(value, Audit):
        return value
    return Audit(value)  # type: ignore[arg-type]  # it checks


@contextmanager
def audited_call() -> Iterator[None]:
    """Let no failure of the second call reach the caller: his answer stands all the same."""
    try:
        yield
    except (AdapterParseError, LMError) as e:
        logger.warning("an audit brought no answer: %s", str(e).partition("\n")[0])


def agree(first: Any, second: Any, names: list[str]) -> bool:
    """Whether two predictions give the same outputs, whatever their form."""
    return all(_same(first.get(name), second.get(name)) for name in names if name not in (REASONING, BUDGET))


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, str) and isinstance(b, str):
        return answers_equal(a, b, "auto")
    return bool(a == b)


def book(found: Audited) -> None:
    """Hand what an audit has found to every ledger around."""
    for module in settings.caller_modules or []:
        if isinstance(module, Sink):
            module.audited(found)
