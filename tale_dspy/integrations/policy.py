"""The budget of a question, outside DSPy.

It comes from a saved program, a fixed number, or an effort word.

A policy looks at a question's text alone and asks no model. What `tale_dspy.load` builds is one as soon as its
estimator makes no call, so that new estimators need no change here.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

import dspy

from tale_dspy.budget import DEFAULT_BUDGET, Budget, BudgetLike, BudgetLimits, BudgetValue, read_budget
from tale_dspy.errors import TaleError, UsageError
from tale_dspy.programs.budgeted import BudgetedChainOfThought
from tale_dspy.programs.estimators.effort_estimator import EffortEstimator
from tale_dspy.programs.estimators.estimator import UNLIMITED, BudgetEstimator
from tale_dspy.programs.estimators.regression_estimator import RegressionEstimator
from tale_dspy.programs.saving import load
from tale_dspy.programs.state import guarantees_of
from tale_dspy.programs.tale_ep import TaleEP
from tale_dspy.prompts import ESTIMATOR_INSTRUCTIONS
from tale_dspy.task_signature import BUDGET

logger = logging.getLogger(__name__)

RECHECK_S = 1.0
"""Seconds between two looks at whether a policy file has changed."""
MAX_WARNINGS = 100
"""Most different faults that a callback logs: their sentences may name what came with a request."""


class BudgetPolicy(Protocol):
    """Whatever gives a question a budget."""

    @property
    def default_tokens(self) -> int:
        """Least tokens for a question of which the policy sees only a part.

        An example is a question about an image.
        """
        ...

    def budget_for(self, text: str) -> BudgetValue | None:
        """Return the budget of a question.

        It is None where only the model can tell (`ModelEstimatePolicy`).
        """
        ...


@dataclass(frozen=True)
class FixedPolicy:
    """The same budget for every question."""

    budget: BudgetValue

    @property
    def default_tokens(self) -> int:
        return self.budget.tokens or 1

    def budget_for(self, text: str) -> BudgetValue | None:
        return self.budget


@dataclass(frozen=True)
class EstimatorPolicy:
    """The budgets of an estimator that asks no model.

    They stay within the limits of the program around it.
    """

    estimate: Callable[[str], Budget]
    """Gives the budget of a question's text."""
    default_tokens: int
    guarantee: str | None = None
    """What the program's calibration guarantees, in words."""

    def budget_for(self, text: str) -> BudgetValue | None:
        return self.estimate(text).value


@dataclass(frozen=True)
class ModelEstimatePolicy:
    """Budgets that the model itself estimates, as TALE-EP does.

    The source is arXiv 2412.18547, section 5.1.
    """

    estimator_limits: BudgetLimits
    """Applied to the number in the model's reply."""
    limits: BudgetLimits
    """Those of the program, applied to what comes out."""

    @property
    def default_tokens(self) -> int:
        return self.read(None).tokens or 1

    def budget_for(self, text: str) -> BudgetValue | None:
        return None

    def messages(self, text: str) -> list[dict[str, str]]:
        """Return the request that asks the model for a budget."""
        return [{"role": "system", "content": ESTIMATOR_INSTRUCTIONS}, {"role": "user", "content": text}]

    def read(self, reply: str | None) -> BudgetValue:
        """Return the budget in the model's reply; the default where it has none."""
        estimated = self.estimator_limits.apply(read_budget(reply), reply)
        if estimated.source == "fallback" or estimated.tokens is None:
            return estimated.value
        return self.limits.apply(float(estimated.tokens)).value


def as_policy(source: BudgetLike | dspy.Module | BudgetPolicy) -> BudgetPolicy:
    """Return the policy of a budget, a budgeted program or an estimator.

    A budget is a number of tokens or an effort word.

    Args:
        source: A policy is returned as it is.

    Raises:
        UsageError: If it gives no budget, or looks at more than one text.
    """
    if isinstance(source, int | str | BudgetValue):
        return FixedPolicy(BudgetValue.parse(source))
    return _module_policy(source) if isinstance(source, dspy.Module) else source


def _module_policy(module: dspy.Module) -> BudgetPolicy:
    if isinstance(module, BudgetedChainOfThought):
        if module.token_budget is None and module.effort is None:
            raise UsageError("the program takes its budget from each caller: give it one, as token_budget=200, to save")
        return FixedPolicy(BudgetValue(module.token_budget, module.effort))
    return _tale_ep_policy(estimating_program(module))


def estimating_program(module: dspy.Module) -> TaleEP:
    """Return the program whose estimator gives the budgets.

    An estimator alone is put into a program without limits of its own.

    Raises:
        UsageError: If there is no estimator.
    """
    if isinstance(module, TaleEP):
        return module
    if isinstance(module, RegressionEstimator | EffortEstimator):
        signature = module.signature.delete(BUDGET).append("answer", dspy.OutputField())
        return TaleEP(signature, module, ceiling=UNLIMITED)
    raise UsageError(
        f"{type(module).__name__} gives no budgets: a policy is a TaleEP, a BudgetedChainOfThought with a budget, "
        "a RegressionEstimator or an EffortEstimator"
    )


def _tale_ep_policy(program: TaleEP) -> BudgetPolicy:
    estimator, limits = program.estimator, program.limits.value
    if isinstance(estimator, BudgetEstimator):
        return ModelEstimatePolicy(estimator.limits.value, limits)
    if estimator.predictors():
        raise UsageError(f"{type(estimator).__name__} asks a model: only BudgetEstimator may do so in a policy")
    names = program.estimate_from or [name for name in program.predict.signature.input_fields if name != BUDGET]
    if len(names) != 1:
        raise UsageError(f"a policy sees one text, the estimator looks at {', '.join(names)}: set estimate_from")
    name = names[0]
    default = program.budget_for(**{name: ""}).tokens or DEFAULT_BUDGET
    guarantee = next(map(str, guarantees_of(program)), None)
    return EstimatorPolicy(lambda text: program.budget_for(**{name: text}), default, guarantee)


class PolicyFile:
    """A saved program on disk.

    It is read at first use, and again whenever it changes. A file that cannot be used never fails a request.

    Args:
        path: The JSON file that `program.save` wrote.
        warn: Called once with a sentence each time the file becomes unusable.
    """

    def __init__(self, path: str | Path, warn: Callable[[str], object]) -> None:
        self.path = Path(path)
        self._warn = warn
        self._checked = -RECHECK_S
        self._version: tuple[int, int, int] | None = None
        self._policy: BudgetPolicy | None = None
        self._is_read = False

    def current(self) -> BudgetPolicy | None:
        """Return the policy in the file as it is now, or None while it is unusable."""
        now = time.monotonic()
        if now - self._checked >= RECHECK_S:
            self._checked = now
            self._reload_file()
        return self._policy

    def _reload_file(self) -> None:
        reason = ""
        try:
            stat = self.path.stat()
            version = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        except OSError as error:
            version = None
            reason = f"{self.path} cannot be read: {error.strerror}"
        if self._is_read and version == self._version:
            return
        self._is_read, self._version, self._policy = True, version, None
        if version is not None:
            try:
                self._policy = as_policy(load(self.path))
                return
            except TaleError as error:
                reason = str(error)
        self._warn(f"no budgets: {reason}; requests pass through unchanged until the file is mended")


PolicyLike: TypeAlias = BudgetLike | Path | dspy.Module | BudgetPolicy
"""What a callback takes as its policy; a text that ends in `.json` is a file."""


class PolicySource:
    """The policy of a callback, fixed or in a file, and its warnings, each once."""

    def __init__(self, policy: PolicyLike) -> None:
        self._warned: set[str] = set()
        path = Path(policy) if isinstance(policy, str) and policy.endswith(".json") else policy
        self._file = PolicyFile(path, logger.warning) if isinstance(path, Path) else None
        self._fixed = None if isinstance(path, Path) else as_policy(path)

    def current(self) -> BudgetPolicy | None:
        """Return the policy, or None while its file cannot be used."""
        return self._fixed if self._file is None else self._file.current()

    @contextmanager
    def log_faults(self, consequence: str) -> Iterator[None]:
        """Log what goes wrong within the block instead of raising it.

        No request may fail because its budget does.

        Args:
            consequence: What becomes of the request. The same fault is logged once; after `MAX_WARNINGS` none is.
        """
        try:
            yield
        except Exception as error:  # the boundary: the user's request goes on
            sentence = f"{consequence}: {type(error).__name__}: {error}"
            if sentence not in self._warned and len(self._warned) < MAX_WARNINGS:
                self._warned.add(sentence)
                logger.warning(sentence)
