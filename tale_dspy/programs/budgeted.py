"""Chain of thought within a budget that the caller gives."""

from typing import Any

from tale_dspy.backends.budget_planner import Mode
from tale_dspy.budget import Budget, BudgetLike
from tale_dspy.errors import UsageError
from tale_dspy.programs.base import SignatureLike
from tale_dspy.programs.budgeted_module import BudgetedModule, budget_value
from tale_dspy.programs.recovery import Policy
from tale_dspy.programs.skipping import SkipPolicy
from tale_dspy.programs.state import FixedBudgetState
from tale_dspy.protocols import CallArguments


class BudgetedChainOfThought(BudgetedModule):
    """Reason in fewer than `token_budget` tokens (paper, table 1).

    Args:
        signature: Inputs and outputs without the budget.
        token_budget: The budget of calls that give none, in tokens; a word such as `low`, or `low+50`, is taken, too.
            None makes it an input that must be given.
        effort: Effort word of calls that give no budget: sent by the model's reasoning control. Alone, the prompt tells
            no number; beside `token_budget`, the prompt tells the number and the control takes the word.
        mode: How it is sent: `auto`, `prompt`, `native` or `cap` (see `BudgetedModule`); a call may give its own.
        on_skip: What is done where the model skips the reasoning: `unbudgeted`, `floor` or None (`BudgetedModule`).
        adapter: Overrides the adapter for this module alone.
        on_truncation: What is done about an answer that was cut (`TaleModule`).
        callbacks: As in `dspy.Module`.
        **config: Settings of each call, such as `temperature`.

    Raises:
        UsageError: At a call without any budget, or if a budget is not a whole number of at least 1.

    Example:
        >>> cot = BudgetedChainOfThought("question -> answer")
        >>> cot(question="1+1?", token_budget=20).answer
        '2'
    """

    def __init__(
        self,
        signature: SignatureLike,
        token_budget: BudgetLike | None = None,
        *,
        effort: str | None = None,
        mode: Mode = "auto",
        on_skip: SkipPolicy | None = None,
        adapter: Any = None,
        on_truncation: Policy | None = None,
        callbacks: list[Any] | None = None,
        **config: Any,
    ) -> None:
        super().__init__(
            signature,
            mode=mode,
            on_skip=on_skip,
            adapter=adapter,
            on_truncation=on_truncation,
            callbacks=callbacks,
            **config,
        )
        self.fixed = FixedBudgetState(budget_value(token_budget, effort))

    @property
    def token_budget(self) -> int | None:
        """The budget of calls that give none, in tokens."""
        return None if self.fixed.value is None else self.fixed.value.tokens

    @token_budget.setter
    def token_budget(self, value: BudgetLike | None) -> None:
        self.fixed.value = budget_value(value, None)

    @property
    def effort(self) -> str | None:
        """The effort word of calls that give no budget."""
        return None if self.fixed.value is None else self.fixed.value.effort

    @effort.setter
    def effort(self, value: str | None) -> None:
        self.fixed.value = budget_value(self.token_budget, value)

    def known_budget(self, kwargs: CallArguments, mode: Mode) -> Budget:
        call_budget = self.given_budget(kwargs)
        if call_budget is not None:
            return call_budget
        value = self.fixed.value
        if value is None:
            raise UsageError(
                f"{type(self).__name__} needs token_budget=... or effort=..., at the call or at construction"
            )
        self.check_guarantee(self.fixed, kwargs, mode)
        return Budget(value.tokens, "given", effort=value.effort)
