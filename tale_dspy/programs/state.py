"""State of a module beside its predictors, as DSPy parameters: saved and loaded with it, and not predictors."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from dspy.predict.parameter import Parameter

from tale_dspy.budget import BudgetLimits, check_budget


class ModuleState(Parameter):  # type: ignore[misc]  # dspy ships no types
    """What a module of this library keeps and a `dspy.ChainOfThought` does not."""


class Limits(ModuleState):
    """The limits a module keeps its budgets within."""

    def __init__(self, limits: BudgetLimits) -> None:
        self._initial = limits
        self.value = limits

    def dump_state(self, json_mode: bool = True) -> dict[str, Any]:
        return asdict(self.value)

    def load_state(self, state: dict[str, Any]) -> None:
        self.value = BudgetLimits(**state)

    def reset(self) -> None:
        self.value = self._initial


class Fixed(ModuleState):
    """The budget of calls that give none."""

    def __init__(self, token_budget: int | None) -> None:
        self._initial = token_budget
        self.token_budget = token_budget

    def dump_state(self, json_mode: bool = True) -> dict[str, Any]:
        return {"token_budget": self.token_budget}

    def load_state(self, state: dict[str, Any]) -> None:
        told = state["token_budget"]
        self.token_budget = None if told is None else check_budget(told)

    def reset(self) -> None:
        self.token_budget = self._initial


class Seen(ModuleState):
    """Ids of the questions a program was tuned on, with their role: `train`, `val` or `search`.

    An evaluation on one of them is refused, or marked contaminated.
    """

    def __init__(self) -> None:
        self.roles: dict[str, str] = {}

    def add(self, ids: Iterable[str], role: str) -> None:
        """Note that an optimizer has used these questions."""
        self.roles.update(dict.fromkeys(ids, role))

    def dump_state(self, json_mode: bool = True) -> dict[str, Any]:
        return dict(self.roles)

    def load_state(self, state: dict[str, Any]) -> None:
        self.roles = {str(k): str(v) for k, v in state.items()}

    def reset(self) -> None:
        self.roles = {}


def seen_by(program: Any) -> dict[str, str]:
    """Return what every module of a program has seen."""
    found: dict[str, str] = {}
    for _, parameter in program.named_parameters():
        if isinstance(parameter, Seen):
            found |= parameter.roles
    return found
