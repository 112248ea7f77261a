"""`calibrate`: find the smallest budgets with a guarantee of accuracy.

With confidence 1 - delta they lose at most a share epsilon of the right answers.

Lost is a question that is right without a budget and wrong with one. A scale on the budgets qualifies if an exact
binomial test rejects, at level delta, that more than a share epsilon of such questions is lost (Clopper and Pearson's
bound is at most epsilon). Scales are tested from the largest to the smallest, each at the full level, and the first
that fails ends it (fixed-sequence testing): so the chance that any scale that passed breaks the guarantee is at most
delta, whatever the model does. Distribution-free control of a thinking budget in this way is the idea of Thought
Calibration (arXiv 2505.18404) and Conformal Thinking (arXiv 2602.03814).

Instead of scales it may test effort words, from the most to the least, `none` (thinking switched off) among them, or
confidences of an estimator of words: the sequence and the guarantee are the same (PAC Reasoning, arXiv 2510.09133).

The guarantee is about questions of the same kind, asked in the same way: `programs/guarantee.py` says where it is void.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dspy

from tale_dspy.datasets import Dataset, data_hash
from tale_dspy.errors import SpendCapReached, UsageError
from tale_dspy.optimizers.calibration_settings import SCALES, Setting, SettingKind, descending_settings, with_setting
from tale_dspy.optimizers.scaling import budget_states
from tale_dspy.programs.guarantee import CalibrationGuarantee, calibration_context
from tale_dspy.protocols import JsonObject, Program
from tale_dspy.runs.describe import state_hash
from tale_dspy.runs.questions import questions_of
from tale_dspy.runs.records import Run
from tale_dspy.runs.shared_caps import SharedCaps
from tale_dspy.statistics import binomial_cdf, binomial_upper_bound


@dataclass(frozen=True)
class ScaleTest:
    """One scale, effort word or confidence on the questions of the calibration."""

    scale: Setting
    n: int
    """Questions, those that were wrong without a budget included."""
    lost: int
    """Right without a budget, wrong with one; an answer that failed counts as wrong."""
    bound: float
    """Exact upper bound of the share that is lost, with confidence 1 - delta."""
    passed: bool
    output_tokens: float | None = None
    """Mean completion tokens on the questions that were right without a budget; None if the provider does not tell."""
    kind: SettingKind = "scale"
    """What was lowered."""

    def __str__(self) -> str:
        return f"{self.kind} {self.scale if isinstance(self.scale, str) else format(self.scale, 'g')}"


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What a calibration came to. `print` it for the whole story."""

    epsilon: float
    delta: float
    tests: tuple[ScaleTest, ...]
    """In the order they were made; the last may have failed."""
    least_n: int
    """Questions below which no scale can qualify, even if none is lost."""
    program: Any
    """A copy of the program with the smallest scale that qualifies and the guarantee saved in it; None if none does."""
    stopped: str | None = None
    """The sentence of the cap that ended it early, or None: a smaller scale may qualify then."""

    @property
    def scale(self) -> Setting | None:
        """The smallest scale, or lowest word or confidence, that qualifies, or None."""
        return next((t.scale for t in reversed(self.tests) if t.passed), None)

    def __str__(self) -> str:
        goal = f"at most {100 * self.epsilon:g} % of right answers lost, confidence {100 * (1 - self.delta):g} %"
        lines = [
            f"{t}: {t.lost} of {t.n} lost, at most {100 * t.bound:.2f} % "
            f"({'passed' if t.passed else 'failed'}){_tokens_note(t)}"
            for t in self.tests
        ]
        passed = [test for test in self.tests if test.passed]
        headline = (
            f"{str(passed[-1]).capitalize()} qualifies"
            if passed
            else f"No {self.tests[0].kind if self.tests else 'scale'} qualifies"
        )
        needed = f"The least number of questions is {self.least_n}, with none lost."
        return "\n".join(
            [
                f"{headline}: {goal}. {needed}",
                *lines,
                *([self.stopped] if self.stopped else []),
                *self._cheaper_scale_hint(),
            ]
        )

    def _cheaper_scale_hint(self) -> Iterator[str]:
        """Say where a larger scale took fewer tokens.

        This happens below the ideal range, where replies grow again.
        """
        known = [t for t in self.tests if t.passed and t.output_tokens is not None]
        if known and known[-1].scale == self.scale:
            least = min(known, key=lambda t: t.output_tokens or 0.0)
            if (least.output_tokens or 0.0) < 0.98 * (known[-1].output_tokens or 0.0):
                yield f"{str(least).capitalize()} qualifies, too, with fewer tokens: below the ideal range they grow."


def _tokens_note(test: ScaleTest) -> str:
    return "" if test.output_tokens is None else f", {test.output_tokens:.1f} tokens"


def least_n(epsilon: float, delta: float) -> int:
    """Return how many questions a calibration needs at least.

    If none of them is lost, this many prove the guarantee.

    Raises:
        UsageError: If one of the two is not between 0 and 1.

    Example:
        >>> least_n(0.01, 0.05)
        299
    """
    for name, value in (("epsilon", epsilon), ("delta", delta)):
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1:
            raise UsageError(f"{name} must be between 0 and 1, got {value!r}")
    # With none lost of n, P(0 lost | loss epsilon) = (1 - epsilon)^n must be at most delta: n >= ln delta / ln(1 -
    # epsilon). 1e-9: a quotient that is whole but for rounding is not rounded up.
    return math.ceil(math.log(delta) / math.log1p(-epsilon) - 1e-9)


def scale_qualifies(lost: int, n: int, epsilon: float, delta: float) -> bool:
    """Return whether `lost` of `n` prove a loss of at most epsilon.

    The loss is a share of the right answers. It is an exact binomial test at level delta.
    """
    return binomial_cdf(lost, n, epsilon) <= delta


def in_sequence(
    counts: Iterable[tuple[Setting, int, int, float | None]],
    epsilon: float,
    delta: float,
    kind: SettingKind = "scale",
) -> Iterator[ScaleTest]:
    """Test scales in their order, until one fails.

    Args:
        counts: Scale, questions, how many of them are lost, and mean tokens. It is read no further than needed, so that
            a generator may ask for them.
        epsilon: Share that may be lost.
        delta: Chance that any scale that passes breaks the guarantee.
        kind: What the scales are.
    """
    # Fixed-sequence testing: the order is fixed before any answer is known, and the first failure ends it, so that each
    # test may use the whole delta without correction for their number.
    for scale, n, lost, tokens in counts:
        passed = scale_qualifies(lost, n, epsilon, delta)
        yield ScaleTest(scale, n, lost, binomial_upper_bound(lost, n, delta), passed, tokens, kind)
        if not passed:
            return


def calibrate(
    program: Program,
    valset: Dataset | Sequence[object],
    epsilon: float = 0.01,
    delta: float = 0.05,
    *,
    scales: Sequence[float] = SCALES,
    efforts: Sequence[str] | None = None,
    confidences: Sequence[float] | None = None,
    vanilla: object = None,
    out: str | Path | None = None,
    **options: object,
) -> Calibration:
    """Find the smallest budgets that lose few right answers.

    With confidence 1 - delta, they lose at most a share epsilon of the right answers.

    It asks all questions without a budget, then those answered rightly with all budgets of the program multiplied by
    each scale, the largest first, until one fails. Questions that were used to make the program prove nothing and are
    refused. A guarantee for another model, adapter, temperature, mode or data set is void: the program that is returned
    warns where it is asked so, and keeps this when it is saved and loaded. `evaluate` also warns if its instructions,
    demos or estimators were changed afterwards.

    Args:
        program: Holds one or more `TaleEP` or `BudgetedChainOfThought` with budgets; not changed.
        valset: Fresh questions of the kind the guarantee is for, `least_n(epsilon, delta)` of them at least.
        epsilon: Share of the questions that may be right without a budget and wrong with one.
        delta: Chance that the guarantee is wrong.
        scales: Factors on the budgets, the largest first.
        efforts: Effort words tested instead, each for all questions; the lowest that qualifies is taken. `none`
            is thinking switched off.
        confidences: Confidences of the program's `EffortEstimator` that are tested instead, such as `CONFIDENCES`.
        vanilla: The program without budgets; None takes them off a copy.
        out: A folder that keeps a run folder for each scale, so that a killed calibration continues; None for none.
        **options: Passed on to `evaluate`: `metric`, `lm`, `adapter`, `max_usd`, `concurrency` ... A cap ends the
            calibration with the scales finished until then.

    Raises:
        UsageError: If an argument cannot be used, there are fewer questions than `least_n`, some of them were used to
            make the program, or none is answered rightly without a budget.

    Example:
        >>> found = calibrate(program, fresh, epsilon=0.01, delta=0.05)  # doctest: +SKIP
        >>> print(found)  # doctest: +SKIP
        Scale 0.7 qualifies: at most 1 % of right answers lost, confidence 95 %. The least number of ...
        >>> found.program.save("calibrated.json")  # doctest: +SKIP
    """
    needed = least_n(epsilon, delta)
    kind, ordered = descending_settings(scales, efforts, confidences)
    if options.get("repeats", 1) != 1:
        raise UsageError("calibrate asks every question once: repeats would not be independent questions")
    with_setting(program, kind, ordered[0])  # says what cannot be lowered before anything is asked
    if len(valset) < needed:
        raise UsageError(
            f"{len(valset)} questions cannot prove that at most {100 * epsilon:g} % are lost with confidence "
            f"{100 * (1 - delta):g} %: at least {needed} are needed, even if none is lost"
        )
    asking = _CalibrationRuns(program, valset, vanilla, None if out is None else Path(out), options, kind)
    tests: list[ScaleTest] = []
    stopped = None
    try:
        for test in in_sequence(asking.counts(ordered), epsilon, delta, kind):
            tests.append(test)
    except SpendCapReached as e:
        stopped = str(e)
    passed = [t for t in tests if t.passed]
    guaranteed = asking.with_guarantee(passed[-1], epsilon, delta) if passed else None
    return Calibration(
        epsilon=epsilon, delta=delta, tests=tuple(tests), least_n=needed, program=guaranteed, stopped=stopped
    )


class _CalibrationRuns:
    """The runs of a calibration, the losses at each scale, and their context."""

    def __init__(
        self, program: Any, valset: Any, vanilla: Any, out: Path | None, options: JsonObject, kind: SettingKind
    ) -> None:
        from tale_dspy.programs.convert import unbudgeted

        self.kind: SettingKind = kind
        self.program, self.out = program, out
        self.vanilla = unbudgeted(program) if vanilla is None else vanilla
        self.caps = SharedCaps(options.pop("max_usd", None), options.pop("max_total_output_tokens", None))
        self.options = options
        self.name = valset.name if isinstance(valset, Dataset) else "examples"
        self.valset, self.questions = valset, questions_of(valset)
        self.ids = list(self.questions.ids())

    def counts(self, scales: Sequence[Setting]) -> Iterator[tuple[Setting, int, int, float | None]]:
        """Ask without a budget, then scale after scale, and count what is lost."""
        answered = {r.id for r in self._run_program(self.vanilla, self.valset, "vanilla").records if r.correct}
        answered_examples = [question.example for question in self.questions if question.id in answered]
        if not answered_examples:
            raise UsageError(
                f"none of {len(self.ids)} questions is answered rightly without a budget: see {self._vanilla_source()}"
            )
        questions = (
            replace(self.valset, examples=answered_examples) if isinstance(self.valset, Dataset) else answered_examples
        )
        for scale in scales:
            name = f"{self.kind}:{scale if isinstance(scale, str) else format(scale, 'g')}"
            run = self._run_program(with_setting(self.program, self.kind, scale), questions, name)
            lost = sum(not r.correct for r in run.records)
            # n counts all questions, also those wrong without a budget, which cannot be lost: the share is of all of
            # them.
            yield scale, len(self.ids), lost, run.summary["output_tokens_mean"]

    def _vanilla_source(self) -> str:
        return "the metric and the model" if self.out is None else str(self.out / "vanilla")

    def _run_program(self, program: Any, questions: Any, name: str) -> Run:
        overrides: JsonObject = {
            "name": name,
            "out": None if self.out is None else self.out / name.replace(":", "-"),
        }
        return self.caps.evaluate(program, questions, **{**self.options, **overrides})

    def with_guarantee(self, test: ScaleTest, epsilon: float, delta: float) -> Any:
        """Return a copy of the program at a scale, with the guarantee in it."""
        scaled_program = with_setting(self.program, self.kind, test.scale)
        measured = state_hash(scaled_program)
        overrides = {k: self.options[k] for k in ("lm", "adapter") if self.options.get(k) is not None}
        for module, state in budget_states(scaled_program):
            with dspy.context(**overrides), module.call_scope():
                under = calibration_context(module, {}, module.mode)
            state.guarantee = CalibrationGuarantee(
                epsilon=epsilon,
                delta=delta,
                scale=test.scale,
                n=test.n,
                lost=test.lost,
                model=under.model,
                adapter=under.adapter,
                temperature=under.temperature,
                mode=under.mode,
                data=self.name,
                data_hash=data_hash(self.ids),
                program=measured,
                budgets=state.budgets,
            )
            module.seen.add(self.ids, "val", self.options.get("lm"))
        return scaled_program
