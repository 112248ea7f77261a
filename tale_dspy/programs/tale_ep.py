"""TALE-EP: ask for a budget, then reason within it."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import dspy

from tale_dspy.accounting.receipts import Call, ShadowResult, role, total
from tale_dspy.adapter import BUDGET, REASONING
from tale_dspy.backends.reasoning_params import Mode, is_reasoning_model
from tale_dspy.budget import (
    DEFAULT_CEILING,
    DEFAULT_FLOOR,
    DEFAULT_THINKING,
    Budget,
    BudgetLimits,
    check_budget,
    read_budget,
)
from tale_dspy.errors import UsageError
from tale_dspy.programs.base import SignatureLike, TalePrediction, check_signature, only, receipt
from tale_dspy.programs.budgeted_module import BudgetedModule
from tale_dspy.programs.estimators.estimator import UNLIMITED, BudgetEstimator, input_signature
from tale_dspy.programs.reasoning_module import language_model, without_reasoning
from tale_dspy.programs.recovery import Policy
from tale_dspy.programs.shadow import ShadowCheck, ShadowState, agree, book, check_shadow_rate, shadow_call
from tale_dspy.programs.state import LimitsState


class TaleEP(BudgetedModule):
    """Estimate each question's budget, then reason in fewer tokens than that (paper, section 5.2, TALE-EP).

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
        that
            thinks natively is not asked for an estimate, which would cost it more than it saves.
        shadow_rate: Share of the calls that are also asked without a budget, such as 0.02: agreement and saving are
        booked in
            the ledgers of `tale_dspy.track`, for people without right answers. Saved with the program.
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
        >>> pred = program(question="...")  # doctest: +SKIP
        >>> print(receipt(pred))  # doctest: +SKIP
        TaleEP: budget 50 (estimate), 41 output tokens + 5 for the estimate, $0.000031 paid
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
        shadow_rate: float | ShadowCheck | None = None,
        adapter: Any = None,
        on_truncation: Policy | None = None,
        callbacks: list[Any] | None = None,
        **config: Any,
    ) -> None:
        found = check_signature(signature)
        self.estimate_from = _names(estimate_from, found)
        self.shadowed = ShadowState(check_shadow_rate(shadow_rate))
        super().__init__(found, mode=mode, adapter=adapter, on_truncation=on_truncation, callbacks=callbacks, **config)
        if estimator is None:
            # Its limits are this module's, which also know the scale.
            seen = input_signature(found, self.estimate_from)
            estimator = BudgetEstimator(seen, ceiling=UNLIMITED, adapter=adapter)
        self.estimator = estimator
        self.limits = LimitsState(BudgetLimits(scale=scale, floor=floor, ceiling=ceiling))

    @property
    def shadow_rate(self) -> ShadowCheck | None:
        """Which calls are also asked without a budget; may be set to a share, an `ShadowCheck` or None."""
        return self.shadowed.shadow_rate

    @shadow_rate.setter
    def shadow_rate(self, value: float | ShadowCheck | None) -> None:
        self.shadowed.shadow_rate = check_shadow_rate(value)

    def forward(self, **kwargs: Any) -> TalePrediction:
        kwargs, mode = self.parted(kwargs)
        with self.booked() as calls:
            budget = self._known(kwargs, mode)
            if budget is None:
                self.check_promise(self.limits, kwargs, mode)
                with role("estimate"):
                    budget = self._read(self.estimator(**self._seen(kwargs)))
            reasoning_params = self.budget_request(kwargs, budget.tokens, mode)
            raw = self.predict(**self.arguments(kwargs, budget.tokens, reasoning_params))
        return self._with_shadow(self.answered(raw, calls, budget, mode, reasoning_params), kwargs, mode)

    async def aforward(self, **kwargs: Any) -> TalePrediction:
        kwargs, mode = self.parted(kwargs)
        with self.booked() as calls:
            budget = self._known(kwargs, mode)
            if budget is None:
                self.check_promise(self.limits, kwargs, mode)
                with role("estimate"):
                    budget = self._read(await self.estimator.acall(**self._seen(kwargs)))
            reasoning_params = self.budget_request(kwargs, budget.tokens, mode)
            raw = await self.predict.acall(**self.arguments(kwargs, budget.tokens, reasoning_params))
        return await self._awith_shadow(self.answered(raw, calls, budget, mode, reasoning_params), kwargs, mode)

    def _with_shadow(self, pred: TalePrediction, kwargs: dict[str, Any], mode: Mode) -> TalePrediction:
        """Ask a picked call again without a budget, and book what that says; the answer stays the same."""
        if (call := self._audit_call(kwargs, mode)) is not None:
            with self.booked() as calls, role("shadow"), dspy.context(trace=None, send_stream=None):
                plain = None
                with shadow_call():
                    plain = self.predict(**call)
            book(self._compared(pred, plain, calls))
        return pred

    async def _awith_shadow(self, pred: TalePrediction, kwargs: dict[str, Any], mode: Mode) -> TalePrediction:
        if (call := self._audit_call(kwargs, mode)) is not None:
            with self.booked() as calls, role("shadow"), dspy.context(trace=None, send_stream=None):
                plain = None
                with shadow_call():
                    plain = await self.predict.acall(**call)
            book(self._compared(pred, plain, calls))
        return pred

    def _audit_call(self, kwargs: dict[str, Any], mode: Mode) -> dict[str, Any] | None:
        """Return what the predictor is asked without a budget, or None if this call is not audited."""
        signature = self.predict.signature
        if self.shadow_rate is None or not self.shadow_rate.picks(
            only(kwargs, [k for k in signature.input_fields if k != BUDGET])
        ):
            return None
        call = {**{k: v for k, v in kwargs.items() if k != BUDGET}, "signature": signature.delete(BUDGET)}
        # As VanillaCoT: visible reasoning beside the native one would make the saving look larger than it is.
        twice = mode != "prompt" and is_reasoning_model(language_model(self.predict, kwargs), self.settings(kwargs))
        return without_reasoning(self.predict, call) if twice else call

    def _compared(self, pred: TalePrediction, plain: dspy.Prediction | None, calls: list[Call]) -> ShadowResult:
        names = list(self.predict.signature.output_fields)
        wanted = [k for k in names if k != REASONING]
        answered = plain is not None and any(plain.get(k) is not None for k in wanted)
        spent = [pred.output_tokens, *([pred.estimate_tokens] if receipt(pred).of("estimate") else [])]
        return ShadowResult(
            agrees=agree(pred, plain, names) if answered else None,
            net_tokens=total(spent),
            vanilla_tokens=total([c.output_tokens for c in calls]),
        )

    def _known(self, kwargs: dict[str, Any], mode: Mode) -> Budget | None:
        """Return a budget that nobody need be asked for: the caller's, or that of a model that thinks natively."""
        given = kwargs.get(BUDGET)
        if given is not None:
            return Budget(check_budget(given), "given")
        if mode != "auto" or not isinstance(self.estimator, BudgetEstimator):
            return None
        if not is_reasoning_model(language_model(self.estimator.predict, kwargs), self.estimator.predict.config):
            return None
        limits: BudgetLimits = self.limits.value
        tokens = min(max(DEFAULT_THINKING, limits.floor), limits.ceiling)
        return Budget(tokens, "default") if self.budget_request(kwargs, tokens, mode).thinks else None

    def _seen(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        """Return what the estimator is called with."""
        names = self.estimate_from or [k for k in self.predict.signature.input_fields if k != BUDGET]
        return only(kwargs, [*names, "lm"])

    def _read(self, estimated: Any) -> Budget:
        """Turn an estimator's prediction into the budget that is sent; remember where a fallback came from."""
        if not isinstance(estimated, dspy.Prediction) or BUDGET not in estimated:
            raise UsageError(
                f"{type(self.estimator).__name__} must give a prediction with token_budget as an estimator"
            )
        limits: BudgetLimits = self.limits.value
        value = estimated[BUDGET]
        receipt = estimated._receipt if isinstance(estimated, TalePrediction) else None
        if receipt is None:
            return limits.apply(_number(value), value if isinstance(value, str) else None)
        if receipt.budget_source == "fallback":
            limits = replace(limits, scale=1.0)  # nothing was estimated
        budget = limits.apply(_number(value), receipt.estimate_text)
        source = receipt.budget_source if budget.source == "estimate" else None
        return replace(budget, source=source or budget.source, estimate=receipt.estimate)


def _names(estimate_from: Sequence[str] | None, signature: type[dspy.Signature]) -> list[str] | None:
    """Check the names of inputs for an estimator."""
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


def _number(value: Any) -> float | None:
    """Read what an estimator gave: a number, or a text with one."""
    if value is None or isinstance(value, bool):
        return None
    if not isinstance(value, int | float):
        return read_budget(str(value))
    try:
        return float(value)
    except OverflowError:  # an int beyond every float
        return math.inf if value > 0 else None
