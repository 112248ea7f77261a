"""What a tuning may change about a budgeted program, and the program that one choice of it makes."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import dspy

from tale_dspy.backends.reasoning_params import Mode, check_mode
from tale_dspy.errors import UsageError
from tale_dspy.optimizers.scaling import scaled
from tale_dspy.optimizers.search.budget_override import budgeted_predictors, replace_module, with_estimator
from tale_dspy.optimizers.token_metric import net_tokens
from tale_dspy.programs.base import with_guidance

if TYPE_CHECKING:
    from optuna.trial import Trial

WORDINGS = (
    "Write down only the steps the answer needs.",
    "Reason in short notes instead of sentences.",
    "Be as brief as you can without losing a step of a calculation.",
)
"""Sentences that are tried in the instructions."""
OWN = "own"
"""The choice that leaves the program as it is."""

Demos = Mapping[str, Sequence[dspy.Example]]
"""Name of a budgeted predictor -> demos for it, the shortest answers first."""


@dataclass(frozen=True)
class SearchSpace:
    """What is tried. The program as it is always is.

    Raises:
        UsageError: If a number is out of its range.
    """

    wordings: Sequence[str] = WORDINGS
    """Sentences to add to the instructions of the reasoning, one at a time."""
    demos: Sequence[int] = (0, 2, 4)
    """Numbers of demos to add to the reasoning: right answers of the program itself, the shortest there are."""
    scales: tuple[float, float] | None = (0.25, 4.0)
    """Least and greatest factor on the budgets; None leaves them."""
    estimators: Mapping[str, dspy.Module] = field(default_factory=dict)
    """Estimators to try in the place of the program's own, by a name to tell them apart."""
    modes: Sequence[Mode] = ()
    """Ways to send a budget to try (`prompt`, `native`, `cap`, `auto`); none leaves the program's own."""

    def __post_init__(self) -> None:
        if self.scales is not None and not 0 < self.scales[0] < self.scales[1] < math.inf:
            raise UsageError(f"scales must be the least and the greatest factor, above 0, got {self.scales!r}")
        for k in self.demos:
            if isinstance(k, bool) or not isinstance(k, int) or k < 0:
                raise UsageError(f"demos must be whole numbers of at least 0, got {k!r}")
        for mode in self.modes:
            check_mode(mode)

    @property
    def most_demos(self) -> int:
        """How many demos are needed at most."""
        return max(self.demos, default=0)

    def unchanged(self) -> dict[str, Any]:
        """Return the choices that leave the program as it is."""
        unchanged = {name: options[0] for name, options in self._choice_lists().items()}
        return unchanged if self.scales is None else {**unchanged, "scale": 1.0}

    def suggest(self, trial: "Trial") -> dict[str, Any]:
        """Let Optuna choose."""
        choices: dict[str, Any] = {
            name: trial.suggest_categorical(name, options) for name, options in self._choice_lists().items()
        }
        if self.scales is not None:
            choices["scale"] = float(f"{trial.suggest_float('scale', *self.scales, log=True):.3g}")
        return choices

    def _choice_lists(self) -> dict[str, list[Any]]:
        """Return what there is to choose from, what changes nothing first; where there is no choice it is left out."""
        options: dict[str, list[Any]] = {
            "wording": [OWN, *self.wordings],
            "demos": list(dict.fromkeys([0, *self.demos])),
            "estimator": [OWN, *self.estimators],
            "mode": [OWN, *self.modes],
        }
        return {name: found for name, found in options.items() if len(found) > 1}

    def build(self, student: Any, choices: Mapping[str, Any], demos: Demos) -> Any:
        """Return a copy of the program as chosen.

        Args:
            student: Not changed.
            choices: As `suggest` gave them.
            demos: What is there to choose from.
        """
        program = scaled(student, choices.get("scale", 1.0))
        for name, module in budgeted_predictors(program).items():
            wording, estimator = choices.get("wording", OWN), choices.get("estimator", OWN)
            if wording != OWN:
                module.predict.signature = with_guidance(module.predict.signature, wording)
            module.predict.demos = [*module.predict.demos, *demos.get(name, ())[: choices.get("demos", 0)]]
            if choices.get("mode", OWN) != OWN:
                module.mode = choices["mode"]
            if estimator != OWN:
                program = replace_module(program, module, with_estimator(module, self.estimators[estimator].deepcopy()))
        return program


def collect_demos(
    program: Any, examples: Iterable[Any], is_right: Callable[[Any, Any], bool], k: int
) -> dict[str, list[dspy.Example]]:
    """Ask a program until it has given twice `k` right answers, and make demos of the `k` shortest.

    Args:
        program: Its budgeted predictors get demos; not changed.
        examples: Questions, in the order they are asked.
        is_right: Judges a prediction.
        k: How many are wanted; fewer are found where the program is seldom right.

    Returns:
        For each budgeted predictor its demos, the shortest whole answer first.
    """
    names = {id(module.predict): name for name, module in budgeted_predictors(program).items()}
    found: list[tuple[float, dict[str, dspy.Example]]] = []
    for example in examples:
        if len(found) >= 2 * k:
            break
        with dspy.context(trace=[]):
            try:
                pred = program(**example.inputs())
                right = is_right(example, pred)
            except Exception:  # the boundary to the user's program and metric: such an answer is no demo
                continue
            trace = list(dspy.settings.trace)
        if right:
            tokens = net_tokens(pred)
            found.append((math.inf if tokens is None else tokens, _predictor_steps(trace, names)))
    shortest = [steps for _, steps in sorted(found, key=lambda pair: pair[0])[:k]]
    return {name: [steps[name] for steps in shortest if name in steps] for name in names.values()}


def _predictor_steps(
    trace: Sequence[tuple[Any, dict[str, Any], Any]], names: Mapping[int, str]
) -> dict[str, dspy.Example]:
    """Return what each budgeted predictor was asked and answered, the last time where there were several."""
    return {
        names[id(predictor)]: dspy.Example(augmented=True, **inputs, **outputs)
        for predictor, inputs, outputs in trace
        if id(predictor) in names
    }
