"""State of a module beside its predictors, as DSPy parameters.

It is saved and loaded with the module.
"""

import functools
import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import asdict, astuple

from dspy import BaseLM, settings

from tale_dspy.accounting.calls import Call
from tale_dspy.backends.budget_planner import Mode
from tale_dspy.backends.reasoning_params import check_mode
from tale_dspy.budget import BudgetLimits, BudgetValue, check_budget
from tale_dspy.dspy_bridge import Parameter
from tale_dspy.programs.guarantee import CalibrationGuarantee
from tale_dspy.programs.skipping import SkipPolicy, check_on_skip
from tale_dspy.protocols import JsonObject, LanguageModel, Program

logger = logging.getLogger(__name__)


class ModuleState(Parameter, ABC):  # type: ignore[misc]  # dspy ships no types
    """What a module of this library keeps and a `dspy.ChainOfThought` does not.

    Attributes:
        required: Whether a saved program without it is refused; not what was added after programs had been saved.
    """

    required = True

    def affects_output(self) -> bool:
        """Return whether an answer may depend on it.

        Runs whose states differ are then not the same.
        """
        return True

    @abstractmethod
    def dump_state(self, json_mode: bool = True) -> JsonObject:
        """Return what is saved."""

    @abstractmethod
    def load_state(self, state: JsonObject) -> None:
        """Take what was saved."""

    @abstractmethod
    def reset(self) -> None:
        """Go back to what was given at construction."""


class BudgetState(ModuleState):
    """What a module's budgets come from, with a calibration's guarantee if any."""

    guarantee: CalibrationGuarantee | None = None

    @property
    @abstractmethod
    def budgets(self) -> tuple[float | int | str | None, ...]:
        """What a guarantee is about."""

    def _guarantee_state(self) -> JsonObject:
        return {} if self.guarantee is None else {"guarantee": self.guarantee.to_json()}

    def _load_guarantee(self, state: JsonObject) -> None:
        saved = state.get("guarantee")
        self.guarantee = None if saved is None else CalibrationGuarantee.from_json(saved)


class LimitsState(BudgetState):
    """The limits a module keeps its budgets within."""

    def __init__(self, limits: BudgetLimits) -> None:
        self._initial = limits
        self.value = limits

    @property
    def budgets(self) -> tuple[float | int | str | None, ...]:
        return astuple(self.value)

    def dump_state(self, json_mode: bool = True) -> JsonObject:
        return {**asdict(self.value), **self._guarantee_state()}

    def load_state(self, state: JsonObject) -> None:
        self.value = BudgetLimits(**{k: v for k, v in state.items() if k != "guarantee"})
        self._load_guarantee(state)

    def reset(self) -> None:
        self.value, self.guarantee = self._initial, None


class FixedBudgetState(BudgetState):
    """The budget of calls that give none."""

    def __init__(self, value: BudgetValue | None) -> None:
        self._initial = value
        self.value = value

    @property
    def budgets(self) -> tuple[float | int | str | None, ...]:
        return (None if self.value is None else self.value.to_json(),)

    def dump_state(self, json_mode: bool = True) -> JsonObject:
        return {"token_budget": None if self.value is None else self.value.to_json(), **self._guarantee_state()}

    def load_state(self, state: JsonObject) -> None:
        saved = state["token_budget"]
        self.value = None if saved is None else BudgetValue.parse(saved)
        self._load_guarantee(state)

    def reset(self) -> None:
        self.value, self.guarantee = self._initial, None


class BudgetModeState(ModuleState):
    """How a module sends its budgets."""

    required = False

    def __init__(self, mode: Mode) -> None:
        self._initial: Mode = mode
        self.mode: Mode = mode

    def dump_state(self, json_mode: bool = True) -> JsonObject:
        return {"mode": self.mode}

    def load_state(self, state: JsonObject) -> None:
        self.mode = check_mode(state["mode"])

    def reset(self) -> None:
        self.mode = self._initial


class SkipState(ModuleState):
    """What a module does about answers without the reasoning that was asked for."""

    required = False

    def __init__(self, on_skip: SkipPolicy | None, least_budget: int) -> None:
        self._initial = (on_skip, least_budget)
        self.on_skip: SkipPolicy | None = on_skip
        self.least_budget = least_budget

    def affects_output(self) -> bool:
        return self.on_skip is not None

    def dump_state(self, json_mode: bool = True) -> JsonObject:
        return {"on_skip": self.on_skip, "least_budget": self.least_budget}

    def load_state(self, state: JsonObject) -> None:
        self.on_skip = check_on_skip(state["on_skip"])
        self.least_budget = check_budget(state["least_budget"], "least_budget")

    def reset(self) -> None:
        self.on_skip, self.least_budget = self._initial


class ReasoningModeState(BudgetModeState):
    """Whether a natively thinking model is asked for its reasoning again.

    It belongs to a module without a budget.
    """

    def affects_output(self) -> bool:
        return self.mode != "auto"  # runs from before there was a choice are as those with the default


class TrainingExamples(ModuleState):
    """Role of each question a program was tuned on, and the model of the tuning.

    The role, by id of the question, is `train`, `val` or `search`. An evaluation on one of the questions is refused, or
    marked contaminated; with another model it is flagged.
    """

    def affects_output(self) -> bool:
        return False

    def __init__(self) -> None:
        self.roles: dict[str, str] = {}
        self.model: str | None = None

    def add(self, ids: Iterable[str], role: str, lm: LanguageModel | None = None) -> None:
        """Note that an optimizer has used these questions, and the LM it asked.

        The LM is None for the configured one.
        """
        self.roles.update(dict.fromkeys(ids, role))
        model = settings.lm if lm is None else lm
        if isinstance(model, BaseLM):
            self.model = str(model.model)

    def check_model(self, calls: Sequence[Call]) -> None:
        """Warn, once a pair of models, of another model than that of the tuning."""
        if self.model is None:
            return
        model = next((c.model for c in calls if c.role == "reason"), None)
        if model not in (None, self.model):
            _warn_of_other_model(self.model, model)

    def dump_state(self, json_mode: bool = True) -> JsonObject:
        return {**self.roles, **({} if self.model is None else {_MODEL: self.model})}

    def load_state(self, state: JsonObject) -> None:
        self.roles = {str(k): str(v) for k, v in state.items() if k != _MODEL}
        self.model = str(state[_MODEL]) if _MODEL in state else None

    def reset(self) -> None:
        self.roles, self.model = {}, None


_MODEL = "model"
"""Beside the ids, of which none is a word."""


@functools.cache
def _warn_of_other_model(tuned: str, used: str) -> None:
    logger.warning("this program was tuned with %s, and %s answers: its budgets may not suit it", tuned, used)


def tuned_with(program: Program) -> set[str]:
    """Return the models that the modules of a program were tuned with."""
    memories = (p for _, p in program.named_parameters() if isinstance(p, TrainingExamples))
    return {s.model for s in memories if s.model is not None}


def seen_by(program: Program) -> dict[str, str]:
    """Return what every module of a program has seen."""
    roles: dict[str, str] = {}
    for _, parameter in program.named_parameters():
        if isinstance(parameter, TrainingExamples):
            roles |= parameter.roles
    return roles


def guarantees_of(program: Program) -> list[CalibrationGuarantee]:
    """Return the guarantees of the budgets of a program, each once."""
    states = (p for _, p in program.named_parameters() if isinstance(p, BudgetState))
    return list(dict.fromkeys(s.guarantee for s in states if s.guarantee is not None))
