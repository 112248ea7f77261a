"""All budgets of a program multiplied, in a copy."""

from typing import Any

import dspy
import pytest

from tale_dspy import BudgetedChainOfThought, EffortEstimator, TaleEP, UsageError, VanillaCoT
from tale_dspy.optimizers.scaling import budget_states, scaled


class Two(dspy.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.first = TaleEP("question -> topic", scale=2.0)
        self.others = [BudgetedChainOfThought("topic -> answer", 10)]


def test_limits_and_fixed_budgets_are_multiplied_in_a_copy() -> None:
    program = Two()
    half = scaled(program, 0.7)
    assert (half.first.limits.value.scale, half.others[0].token_budget) == (1.4, 7)
    assert (program.first.limits.value.scale, program.others[0].token_budget) == (2.0, 10)
    assert len(budget_states(half)) == 2


def test_a_fixed_budget_stays_a_budget() -> None:
    assert scaled(BudgetedChainOfThought("question -> answer", 3), 0.01).token_budget == 1


@pytest.mark.parametrize("factor", [0, -1, float("nan"), float("inf"), True, "2"])
def test_a_factor_that_is_none_is_refused(factor: Any) -> None:
    with pytest.raises(UsageError, match="a scale must be a positive number"):
        scaled(TaleEP("question -> answer"), factor)


@pytest.mark.parametrize(
    ("program", "said"),
    [
        (VanillaCoT("question -> answer"), "VanillaCoT holds no TaleEP and no BudgetedChainOfThought"),
        (BudgetedChainOfThought("question -> answer"), "has none to scale: set one"),
        (TaleEP("question -> answer", EffortEstimator()), "calibrate over confidences="),
    ],
)
def test_a_program_without_budgets_is_refused(program: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        scaled(program, 2)
