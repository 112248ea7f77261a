"""TALE-EP: ask for a budget, then reason within it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import dspy

from tale_dspy.accounting.calls import Call, ShadowResult, role, total_or_none
from tale_dspy.backends.budget_planner import Mode
from tale_dspy.backends.model_control import is_reasoning_model
from tale_dspy.budget import (
    DEFAULT_CEILING,
    DEFAULT_FLOOR,
    DEFAULT_THINKING,
    Budget,
    BudgetLimits,
    check_budget,
    check_effort,
    read_budget,
)
from tale_dspy.errors import UsageError
from tale_dspy.programs.base import SignatureLike, TalePrediction, check_signature, only, receipt
from tale_dspy.programs.budgeted_module import BudgetedModule
from tale_dspy.programs.estimators.estimator import UNLIMITED, BudgetEstimator, input_signature
from tale_dspy.programs.reasoning_module import language_model, without_reasoning
from tale_dspy.programs.recovery import Policy
from tale_dspy.programs.registry import BuildContext, RegisteredModule, build_module
from tale_dspy.programs.shadow import (
    ShadowCheck,
    ShadowState,
    answers_agree,
    book_shadow_result,
    check_shadow_rate,
    shadow_call,
)
from tale_dspy.programs.skipping import LEAST_BUDGET, SkipPolicy
from tale_dspy.programs.state import LimitsState
from tale_dspy.programs.steps import Steps, call_of
from tale_dspy.protocols import CallArguments, JsonObject
from tale_dspy.task_signature import BUDGET, REASONING


class TaleEP(BudgetedModule):
    """Estimate each question's budget, then reason in fewer tokens than that.

    It is TALE-EP (paper, section 5.2).

    Args:
        signature: Inputs and outputs of the task.
        estimator: A module that takes the inputs and gives `token_budget`; None asks the same model with the paper's
            prompt (`BudgetEstimator`).
        estimate_from: Names of the inputs the estimator sees; None for all. Leave a long context out if the question
            alone tells how much thought it needs: the estimator's prompt is paid, too.
        scale: Factor on the estimate (the paper's alpha, appendix A.8).
        floor: Smallest budget sent, in tokens.
        ceiling: Largest budget sent, in tokens.
        mode: How budgets are sent: `auto`, `prompt`, `native` or `cap` (see `BudgetedModule`). Under `auto` a model
            that thinks natively is not asked for an estimate, which would cost it more than it saves.
        on_skip: What is done where the budget makes the model skip its reasoning: `unbudgeted`, `floor` or None
            (`BudgetedModule`).
        least_budget: Tokens below which a model's own estimate cannot be meant, and falls back. In the paper's form
            every estimate is sent as it is, unless `on_skip` is set; so are those of an estimator with demos.
        shadow_rate: Share of the calls that are also asked without a budget, such as 0.02: agreement and saving are
            booked in the ledgers of `tale_dspy.track`, for people without right answers. Saved with the program.
        adapter: Overrides the adapter for this module alone.
        on_truncation: What is done about an answer that was cut (`TaleModule`).
        callbacks: As in `dspy.Module`.
        **config: Settings of the reasoning call, such as `temperature`.

    A call may give `token_budget=` itself; then nothing is estimated. `lm=` holds for both calls, `config=` and `mode=`
    for the reasoning call. The estimate is asked for with the least thinking the model allows.

    Raises:
        SignatureError: If the signature has a field of a name the module adds or reserves.
        UsageError: If `estimate_from` names no input or one that is none, or the limits are not usable; at a call, if
            an estimator of your own gives no `token_budget`.

    Example:
        >>> program = TaleEP("question -> answer")
        >>> pred = program(question=question)
        >>> print(receipt(pred))
        TaleEP: budget ... (estimate), ... output tokens + ... for the estimate, $0.0000... paid
    """

    def __init__(
        self,
        signature: SignatureLike,
        estimator: dspy.Module | None = None,
        estimate_from: Sequence[str] | None = None,
        scale: float = 1.0,
        floor: int = DEFAULT_FLOOR,
        ceiling: int = DEFAULT_CEILING,
        *,
        mode: Mode = "auto",
        on_skip: SkipPolicy | None = None,
        least_budget: int = LEAST_BUDGET,
        shadow_rate: float | ShadowCheck | None = None,
        adapter: Any = None,
        on_truncation: Policy | None = None,
        callbacks: list[Any] | None = None,
        **config: object,
    ) -> None:
        task = check_signature(signature)
        self.estimate_from = _checked_names(estimate_from, task)
        self.shadowed = ShadowState(check_shadow_rate(shadow_rate))
        super().__init__(
            task,
            mode=mode,
            on_skip=on_skip,
            least_budget=least_budget,
            adapter=adapter,
            on_truncation=on_truncation,
            callbacks=callbacks,
            **config,
        )
        if estimator is None:
            # Its limits are this module's, which also know the scale.
            estimated_from = input_signature(task, self.estimate_from)
            estimator = BudgetEstimator(estimated_from, ceiling=UNLIMITED, adapter=adapter)
        self.estimator = estimator
        self.limits = LimitsState(BudgetLimits(scale=scale, floor=floor, ceiling=ceiling))

    @property
    def shadow_rate(self) -> ShadowCheck | None:
        """Which calls are also asked without a budget.

        It can be set to a share, a `ShadowCheck` or None.
        """
        return self.shadowed.shadow_rate

    @shadow_rate.setter
    def shadow_rate(self, value: float | ShadowCheck | None) -> None:
        self.shadowed.shadow_rate = check_shadow_rate(value)

    cli_name = "tale-ep"
    added_modules = ("estimator",)

    def describe(self) -> JsonObject:
        known = isinstance(self.estimator, RegisteredModule) and self.estimator.gives_budget
        estimator = self.estimator.describe() if known else {"class": type(self.estimator).__name__}
        return {**super().describe(), "estimate_from": self.estimate_from, "estimator": estimator}

    @classmethod
    def options_from(cls, about: Mapping[str, Any], context: BuildContext) -> JsonObject:
        options = super().options_from(about, context)
        if about["estimate_from"] is not None:
            options["estimate_from"] = about["estimate_from"]
        if about["estimator"] is not None:
            options["estimator"] = build_module(about["estimator"], context, estimator=True)
        return options

    def steps(self, kwargs: CallArguments) -> Steps[TalePrediction]:
        pred = yield from super().steps(kwargs)
        shadow = self._shadow_call(*self.split_mode(kwargs))
        if shadow is not None:
            with self.call_scope() as calls, role("shadow"), dspy.context(trace=None, send_stream=None):
                plain = None
                with shadow_call():
                    plain = yield call_of(self.predict, shadow)
            book_shadow_result(self._shadow_result(pred, plain, calls))
        return pred

    def estimate_steps(self, kwargs: CallArguments, mode: Mode) -> Steps[Budget]:
        self.check_guarantee(self.limits, kwargs, mode)
        with role("estimate"):
            return self._budget_from((yield call_of(self.estimator, self._estimator_inputs(kwargs))))

    def _shadow_call(self, kwargs: CallArguments, mode: Mode) -> JsonObject | None:
        """Return what the predictor is asked without a budget, or None.

        It is None if this call has no shadow.
        """
        signature = self.predict.signature
        if self.shadow_rate is None or not self.shadow_rate.picks(
            only(kwargs, [k for k in signature.input_fields if k != BUDGET])
        ):
            return None
        spare = (BUDGET, "effort") if self.takes("effort", kwargs) else (BUDGET,)
        call = {**{k: v for k, v in kwargs.items() if k not in spare}, "signature": signature.delete(BUDGET)}
        # As VanillaCoT: visible reasoning beside the native one would make the saving look larger than it is.
        lm = language_model(self.predict, kwargs)
        twice = mode != "prompt" and is_reasoning_model(lm, self.call_settings(kwargs))
        return without_reasoning(self.predict, call) if twice else call

    def _shadow_result(self, pred: TalePrediction, plain: dspy.Prediction | None, calls: list[Call]) -> ShadowResult:
        names = list(self.predict.signature.output_fields)
        wanted = [k for k in names if k != REASONING]
        answered = plain is not None and any(plain.get(k) is not None for k in wanted)
        spent = [pred.output_tokens, *([pred.estimate_tokens] if receipt(pred).of("estimate") else [])]
        return ShadowResult(
            agrees=answers_agree(pred, plain, names) if answered else None,
            net_tokens=total_or_none(spent),
            vanilla_tokens=total_or_none([c.output_tokens for c in calls]),
        )

    def known_budget(self, kwargs: CallArguments, mode: Mode) -> Budget | None:
        """Return a budget that needs no estimate, or None.

        It is the caller's, or that of a model that thinks natively.
        """
        call_budget = self.given_budget(kwargs)
        if call_budget is not None:
            return call_budget
        if mode != "auto" or not isinstance(self.estimator, BudgetEstimator):
            return None
        if not is_reasoning_model(language_model(self.estimator.predict, kwargs), self.estimator.predict.config):
            return None
        limits: BudgetLimits = self.limits.value
        tokens = min(max(DEFAULT_THINKING, limits.floor), limits.ceiling)
        return Budget(tokens, "default") if self.budget_request(kwargs, tokens, mode).thinks else None

    def budget_for(self, **kwargs: Any) -> Budget:
        """Return the budget these inputs would get, without answering them.

        A `BudgetEstimator` is called for it.
        """
        with role("estimate"):
            return self._budget_from(self.estimator(**self._estimator_inputs(kwargs)))

    def _cannot_be_meant(self, estimate: float | None) -> bool:
        """Return whether a model's estimate is too small for any reasoning.

        The budget then falls back.
        """
        learned = not isinstance(self.estimator, BudgetEstimator) or bool(self.estimator.predict.demos)
        if estimate is None or learned:
            return False
        guarded = self.on_skip is not None or not self.asks_in_paper_form()
        return guarded and estimate < self.skip_state.least_budget

    def _estimator_inputs(self, kwargs: CallArguments) -> CallArguments:
        names = self.estimate_from or [k for k in self.predict.signature.input_fields if k != BUDGET]
        return only(kwargs, [*names, "lm"])

    def _budget_from(self, estimated: Any) -> Budget:
        """Turn an estimator's prediction into the budget that is sent.

        A budget that is a fallback says where it comes from.
        """
        word = estimated.get("effort") if isinstance(estimated, dspy.Prediction) else None
        receipt = estimated._receipt if isinstance(estimated, TalePrediction) else None
        if word is not None:  # an estimator of words, such as EffortEstimator
            tokens = estimated.get(BUDGET)
            return Budget(
                None if tokens is None else check_budget(tokens),
                "estimate" if receipt is None else receipt.budget_source or "estimate",
                effort=check_effort(word),
                fallback_reason=None if receipt is None else receipt.fallback_reason,
            )
        if not isinstance(estimated, dspy.Prediction) or BUDGET not in estimated:
            raise UsageError(
                f"{type(self.estimator).__name__} must give a prediction with token_budget as an estimator"
            )
        limits: BudgetLimits = self.limits.value
        value = estimated[BUDGET]
        if receipt is None:
            return limits.apply(_as_number(value), value if isinstance(value, str) else None)
        if self._cannot_be_meant(receipt.estimate):
            fallback = replace(limits, scale=1.0).apply(None, receipt.estimate_text, "too small to reason in")
            return replace(fallback, estimate=receipt.estimate)
        if receipt.budget_source == "fallback":
            limits = replace(limits, scale=1.0)  # nothing was estimated
        budget = limits.apply(_as_number(value), receipt.estimate_text)
        source = receipt.budget_source if budget.source == "estimate" else None
        reason = receipt.fallback_reason or budget.fallback_reason
        return replace(budget, source=source or budget.source, estimate=receipt.estimate, fallback_reason=reason)


def _checked_names(estimate_from: Sequence[str] | None, signature: type[dspy.Signature]) -> list[str] | None:
    if estimate_from is None:
        return None
    names = [estimate_from] if isinstance(estimate_from, str) else list(estimate_from)
    inputs = ", ".join(signature.input_fields)
    if not names:
        raise UsageError(f"estimate_from must name at least one of the inputs {inputs}")
    for name in names:
        if name not in signature.input_fields:
            raise UsageError(f"estimate_from names {name!r}, but the inputs are {inputs}")
    return names


def _as_number(value: object) -> float | None:
    """Read what an estimator gave: a number, or a text with one."""
    if value is None or isinstance(value, bool):
        return None
    if not isinstance(value, int | float):
        return read_budget(str(value))
    try:
        return float(value)
    except OverflowError:  # an int beyond every float
        return math.inf if value > 0 else None
