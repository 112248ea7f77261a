"""The sums a ledger keeps: the calls of each role, and the shadow checks."""

from dataclasses import dataclass

from tale_dspy.accounting.calls import Call, ShadowResult, total_or_none


@dataclass
class RoleSum:
    """Calls and tokens of one role (`reason`, `estimate`, `metric`).

    A sum with an unknown part is None.
    """

    calls: int = 0
    paid_calls: int = 0
    """Calls sent from here: neither from the cache nor replayed from a run folder."""
    batch_calls: int = 0
    """Those of them that went through a batch API."""
    cached_calls: int = 0
    prompt_tokens: int | None = 0
    output_tokens: int | None = 0

    def add(self, call: Call) -> None:
        """Count one call in."""
        self.calls += 1
        self.cached_calls += call.cached
        self.paid_calls += not (call.cached or call.replayed)
        self.batch_calls += call.batch and not call.replayed
        self.prompt_tokens = total_or_none([self.prompt_tokens, call.prompt_tokens])
        self.output_tokens = total_or_none([self.output_tokens, call.output_tokens])

    def merge(self, other: "RoleSum") -> None:
        """Add the sums of another ledger's role."""
        self.calls += other.calls
        self.cached_calls += other.cached_calls
        self.paid_calls += other.paid_calls
        self.batch_calls += other.batch_calls
        self.prompt_tokens = total_or_none([self.prompt_tokens, other.prompt_tokens])
        self.output_tokens = total_or_none([self.output_tokens, other.output_tokens])


@dataclass
class ShadowSummary:
    """Answers with a budget against answers to the same questions without one.

    A sum with an unknown part is None.
    """

    calls: int = 0
    """Calls that were checked."""
    agreed: int = 0
    failed: int = 0
    """Checks whose other answer was none, so that nothing can be said."""
    net_tokens: int | None = 0
    """Completion tokens with a budget, estimates included."""
    vanilla_tokens: int | None = 0

    @property
    def saving(self) -> float | None:
        """Saved fraction of the tokens without a budget."""
        if self.net_tokens is None or not self.vanilla_tokens:
            return None
        return 1 - self.net_tokens / self.vanilla_tokens

    def add(self, result: ShadowResult) -> None:
        """Count one shadow check in."""
        self.calls += 1
        self.agreed += result.agrees is True
        self.failed += result.agrees is None
        if result.agrees is not None:
            self.net_tokens = total_or_none([self.net_tokens, result.net_tokens])
            self.vanilla_tokens = total_or_none([self.vanilla_tokens, result.vanilla_tokens])

    def merge(self, other: "ShadowSummary") -> None:
        """Add the checks of another ledger."""
        self.calls += other.calls
        self.agreed += other.agreed
        self.failed += other.failed
        self.net_tokens = total_or_none([self.net_tokens, other.net_tokens])
        self.vanilla_tokens = total_or_none([self.vanilla_tokens, other.vanilla_tokens])

    def __str__(self) -> str:
        saved = ""
        if self.saving is not None:
            saved = f", {abs(100 * self.saving):.1f} % {'fewer' if self.saving >= 0 else 'more'} net tokens with it"
        return f"  shadow: {self.agreed} of {self.calls - self.failed} answers the same without a budget{saved}"
