"""What a tuning may change about a budgeted program, and how it is applied."""

import math
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import dspy

from tale_dspy.adapter import TaleAdapter
from tale_dspy.backends.budget_planner import Mode
from tale_dspy.backends.reasoning_params import check_mode
from tale_dspy.budget import check_count
from tale_dspy.errors import UsageError
from tale_dspy.optimizers.scaling import has_scalable_budgets, scaled
from tale_dspy.optimizers.search.budget_override import budgeted_predictors, replace_module, with_estimator
from tale_dspy.optimizers.token_metric import net_tokens
from tale_dspy.programs.base import with_guidance
from tale_dspy.programs.copying import copy_program
from tale_dspy.programs.state import BudgetState
from tale_dspy.prompt_forms import prompt_form
from tale_dspy.protocols import JsonObject, Program

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
    forms: Sequence[str] = ()
    """Prompt forms to try (`tale_dspy.prompt_forms`), sent by a `TaleAdapter` in place of the program's adapter."""
    demos: Sequence[int] = (0, 2, 4)
    """Numbers of demos to add to the reasoning: right answers of the program itself."""
    demo_sets: int = 1
    """Sets of demos to choose from: the shortest right answers, then random ones among twice as many. Which answers
    are shown matters as much as how many."""
    scales: tuple[float, float] | None = (0.25, 4.0)
    """Least and greatest factor on the budgets; None leaves them, as does a tuning of budgets that are no numbers."""
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
        check_count(self.demo_sets, "demo_sets")
        for mode in self.modes:
            check_mode(mode)
        for form in self.forms:
            prompt_form(form)

    @property
    def most_demos(self) -> int:
        """How many demos are needed at most."""
        return max(self.demos, default=0)

    def of_program(self, student: Program) -> "SearchSpace":
        """Return the choices there are for a program.

        Budgets that are effort words, or that each call gives, have no factor.
        """
        return self if has_scalable_budgets(student) else replace(self, scales=None)

    def unchanged(self) -> JsonObject:
        """Return the choices that leave the program as it is."""
        unchanged = {name: options[0] for name, options in self._choice_lists().items()}
        return unchanged if self.scales is None else {**unchanged, "scale": 1.0}

    def suggest(self, trial: "Trial") -> JsonObject:
        """Let Optuna choose."""
        choices: JsonObject = {
            name: trial.suggest_categorical(name, options) for name, options in self._choice_lists().items()
        }
        if self.scales is not None:
            choices["scale"] = float(f"{trial.suggest_float('scale', *self.scales, log=True):.3g}")
        return choices

    def _choice_lists(self) -> dict[str, list[Any]]:
        """Return the options of each choice, the one that changes nothing first.

        A choice with one option is left out.
        """
        options: dict[str, list[Any]] = {
            "form": [OWN, *self.forms],
            "wording": [OWN, *self.wordings],
            "demos": list(dict.fromkeys([0, *self.demos])),
            "demo_set": list(range(self.demo_sets if self.most_demos else 1)),
            "estimator": [OWN, *self.estimators],
            "mode": [OWN, *self.modes],
        }
        return {name: choices for name, choices in options.items() if len(choices) > 1}

    def build(self, student: Any, choices: Mapping[str, Any], demos: Demos) -> Any:
        """Return a copy of the program as chosen.

        Args:
            student: Not changed.
            choices: As `suggest` gave them.
            demos: What is there to choose from.
        """
        program = scaled(student, choices["scale"]) if "scale" in choices else copy_program(student)
        for _, parameter in program.named_parameters():
            if isinstance(parameter, BudgetState):
                parameter.guarantee = None  # it was calibrated with other words and demos
        for name, module in budgeted_predictors(program).items():
            wording, estimator = choices.get("wording", OWN), choices.get("estimator", OWN)
            form = choices.get("form", OWN)
            if form != OWN:
                module.adapter = TaleAdapter(form)
            if wording != OWN:
                module.predict.signature = with_guidance(module.predict.signature, wording)
            chosen = choose_demos(demos.get(name, ()), choices.get("demos", 0), choices.get("demo_set", 0))
            module.predict.demos = [*module.predict.demos, *chosen]
            if choices.get("mode", OWN) != OWN:
                module.mode = choices["mode"]
            if estimator != OWN:
                program = replace_module(program, module, with_estimator(module, self.estimators[estimator].deepcopy()))
        return program


def choose_demos(candidates: Sequence[dspy.Example], k: int, demo_set: int) -> list[dspy.Example]:
    """Return one set of demos, the shortest first.

    Equal arguments give equal sets.

    Args:
        candidates: Right answers, the shortest first.
        k: How many are wanted.
        demo_set: 0 takes the shortest, every other number a random sample of its own.
    """
    if not k or demo_set == 0 or len(candidates) <= k:
        return list(candidates[:k])
    rows = random.Random(demo_set).sample(range(len(candidates)), k)
    return [candidates[row] for row in sorted(rows)]


def collect_demos(
    program: Any, examples: Iterable[Any], is_right: Callable[[Any, Any], bool], k: int
) -> dict[str, list[dspy.Example]]:
    """Ask a program until it has given enough right answers for demos.

    Enough is twice `k`; the demos are made of these.

    Args:
        program: Its budgeted predictors get demos; not changed.
        examples: Questions, in the order they are asked.
        is_right: Judges a prediction.
        k: How many one set takes; fewer are found where the program is seldom right.

    Returns:
        For each budgeted predictor its demos, the shortest whole answer first.
    """
    names = {id(module.predict): name for name, module in budgeted_predictors(program).items()}
    right: list[_RightAnswer] = []
    waiting = iter(examples)
    while block := list(islice(waiting, max(0, 2 * k - len(right)))):
        with ThreadPoolExecutor(len(block)) as pool:
            jobs = [pool.submit(copy_context().run, _answer_rightly, program, e, is_right) for e in block]
            right += [answer for job in jobs if (answer := job.result()) is not None]
    steps = [_predictor_steps(trace, names) for _, trace in sorted(right, key=lambda answer: answer[0])]
    return {name: [demos[name] for demos in steps if name in demos] for name in names.values()}


_Trace = Sequence[tuple[Any, JsonObject, Any]]
_RightAnswer = tuple[float, _Trace]


def _answer_rightly(program: Program, example: Any, is_right: Callable[[Any, Any], bool]) -> _RightAnswer | None:
    """Return the tokens and the trace of a right answer.

    It is None if the answer is wrong or missing.
    """
    with dspy.context(trace=[]):
        try:
            pred = program(**example.inputs())
            if not is_right(example, pred):
                return None
        except Exception:  # the boundary to the user's program and metric: such an answer is no demo
            return None
        tokens = net_tokens(pred)
        return math.inf if tokens is None else tokens, list(dspy.settings.trace)


def _predictor_steps(trace: _Trace, names: Mapping[int, str]) -> dict[str, dspy.Example]:
    """Return what each budgeted predictor was asked and answered.

    Of several calls of one predictor the last counts.
    """
    return {
        names[id(predictor)]: dspy.Example(augmented=True, **inputs, **outputs)
        for predictor, inputs, outputs in trace
        if id(predictor) in names
    }
