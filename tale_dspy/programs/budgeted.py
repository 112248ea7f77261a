"""Chain of thought within a budget that the caller gives."""

from typing import Any

from tale_dspy.adapter import BUDGET
from tale_dspy.backends.reasoning_params import Mode
from tale_dspy.budget import Budget, check_budget
from tale_dspy.errors import UsageError
from tale_dspy.programs.base import SignatureLike, TalePrediction
from tale_dspy.programs.budgeted_module import BudgetedModule
from tale_dspy.programs.recovery import Policy
from tale_dspy.programs.state import FixedBudgetState


class BudgetedChainOfThought(BudgetedModule):
    """Reason in fewer than `token_budget` tokens (paper, table 1).

    Args:
        signature: Inputs and outputs without the budget.
        token_budget: The budget of calls that give none, in tokens; None makes it an input that must be given.
        mode: How it is sent: `auto`, `prompt`, `native` or `cap` (see `BudgetedModule`); a call may give its own.
        adapter: Overrides the adapter for this module alone.
        on_truncation: What is done about an answer that was cut (`TaleModule`).
        callbacks: As in `dspy.Module`.
        **config: Settings of each call, such as `temperature`.

    Raises:
        UsageError: At a call without any budget, or if a budget is not a whole number of at least 1.

    Example:
        >>> cot = BudgetedChainOfThought("question -> answer")
        >>> cot(question="1+1?", token_budget=20).answer  # doctest: +SKIP
        '2'
    """

    def __init__(
        self,
        signature: SignatureLike,
        token_budget: int | None = None,
        *,
        mode: Mode = "auto",
        adapter: Any = None,
        on_truncation: Policy | None = None,
        callbacks: list[Any] | None = None,
        **config: Any,
    ) -> None:
        super().__init__(
            signature, mode=mode, adapter=adapter, on_truncation=on_truncation, callbacks=callbacks, **config
        )
        self.fixed = FixedBudgetState(None if token_budget is None else check_budget(token_budget))

    @property
    def token_budget(self) -> int | None:
        """The budget of calls that give none, in tokens."""
        return self.fixed.token_budget

    @token_budget.setter
    def token_budget(self, value: int | None) -> None:
        self.fixed.token_budget = None if value is None else check_budget(value)

    def _budget(self, kwargs: dict[str, Any]) -> Budget:
        given = self.token_budget if kwargs.get(BUDGET) is None else kwargs[BUDGET]
        if given is None:
            raise UsageError(f"{type(self).__name__} needs token_budget=..., at the call or at construction")
        return Budget(check_budget(given), "given")

    def forward(self, **kwargs: Any) -> TalePrediction:
        kwargs, mode = self.parted(kwargs)
        budget = self._budget(kwargs)
        reasoning_params = self.budget_request(kwargs, budget.tokens, mode)
        with self.booked() as calls:
            if kwargs.get(BUDGET) is None:
                self.check_promise(self.fixed, kwargs, mode)
            raw = self.predict(**self.arguments(kwargs, budget.tokens, reasoning_params))
        return self.answered(raw, calls, budget, mode, reasoning_params)

    async def aforward(self, **kwargs: Any) -> TalePrediction:
        kwargs, mode = self.parted(kwargs)
        budget = self._budget(kwargs)
        reasoning_params = self.budget_request(kwargs, budget.tokens, mode)
        with self.booked() as calls:
            if kwargs.get(BUDGET) is None:
                self.check_promise(self.fixed, kwargs, mode)
            raw = await self.predict.acall(**self.arguments(kwargs, budget.tokens, reasoning_params))
        return self.answered(raw, calls, budget, mode, reasoning_params)
