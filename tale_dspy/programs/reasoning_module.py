"""What modules share whose budget is no number.

A model that thinks natively is not asked for its reasoning again.

Such a model is paid for its hidden thought; a visible chain of thought after it would be paid as well and say the
same. Modules with a number of tokens to send do so, too: `tale_dspy.programs.budgeted_module`.
"""

from collections.abc import Mapping
from typing import Any

import dspy

from tale_dspy.accounting.calls import Call
from tale_dspy.backends.budget_planner import Mode
from tale_dspy.backends.model_control import is_reasoning_model
from tale_dspy.backends.reasoning_params import check_mode
from tale_dspy.errors import UsageError
from tale_dspy.fields import after_thought, thought
from tale_dspy.programs.base import SignatureLike, TaleModule, TalePrediction
from tale_dspy.programs.recovery import Policy
from tale_dspy.programs.state import ReasoningModeState
from tale_dspy.programs.steps import Steps, call_of
from tale_dspy.protocols import CallArguments, Predictor
from tale_dspy.task_signature import REASONING, output_fields


class ReasoningModule(TaleModule, abstract=True):
    """Reasoning without a number of tokens to send.

    A call may give `mode=` itself, unless the signature has an input of that name.

    Args:
        signature: Inputs and outputs of the task.
        mode: `auto` asks a model that thinks natively for the outputs alone, and its thought stands for `reasoning`;
            `prompt` asks every model for its reasoning in the reply, as the paper does. There is no number to send by
            `native` or `cap`.
        adapter: Overrides the adapter for this module alone.
        on_truncation: What is done about an answer that was cut (`TaleModule`).
        callbacks: As in `dspy.Module`.
        **config: Settings of each call, such as `temperature`.

    Raises:
        UsageError: If the mode is another.
    """

    def __init__(
        self,
        signature: SignatureLike,
        *,
        mode: Mode = "auto",
        adapter: Any = None,
        on_truncation: Policy | None = None,
        callbacks: list[Any] | None = None,
        **config: object,
    ) -> None:
        super().__init__(signature, adapter=adapter, on_truncation=on_truncation, callbacks=callbacks, **config)
        self.mode_state = ReasoningModeState(self.check_mode(mode))

    @property
    def mode(self) -> Mode:
        """Whether a natively thinking model is asked for its reasoning again.

        It is `auto` or `prompt`.
        """
        return self.mode_state.mode

    @mode.setter
    def mode(self, value: Mode) -> None:
        self.mode_state.mode = self.check_mode(value)

    @classmethod
    def check_mode(cls, mode: object) -> Mode:
        """Return a mode, or say why it is none of this module.

        Raises:
            UsageError: If it is not `auto` or `prompt`.
        """
        known = check_mode(mode)
        if known not in ("auto", "prompt"):
            raise UsageError(
                f"{cls.__name__} has no number of tokens to send by mode {known}: its modes are auto and prompt"
            )
        return known

    def steps(self, kwargs: CallArguments) -> Steps[TalePrediction]:
        call = self.prepare_call(kwargs)
        with self.call_scope() as calls:
            raw = yield call_of(self.predict, call)
        return self.to_prediction(raw, calls)

    def prepare_call(self, kwargs: CallArguments) -> CallArguments:
        """Return the arguments the predictor is called with.

        They ask for no reasoning field where the model thinks natively.
        """
        mode = self.mode
        if "mode" in kwargs and "mode" not in self.predict.signature.input_fields:
            kwargs = {**kwargs}
            call_mode = kwargs.pop("mode")
            mode = mode if call_mode is None else self.check_mode(call_mode)
        settings = {**self.predict.config, **(kwargs.get("config") or {})}
        if mode == "prompt" or not is_reasoning_model(language_model(self.predict, kwargs), settings):
            return kwargs
        return without_reasoning(self.predict, kwargs)

    def to_prediction(self, raw: dspy.Prediction, calls: list[Call]) -> TalePrediction:
        """Return the prediction with its receipt."""
        pred = self.with_receipt_of(raw, calls)
        with_thought(pred, self.predict, calls)
        return pred


def language_model(predict: Predictor, kwargs: Mapping[str, object]) -> Any:
    """Return the LM that a predictor will ask."""
    return kwargs.get("lm") or predict.lm or dspy.settings.lm


def without_reasoning(predict: Any, kwargs: CallArguments) -> CallArguments:
    """Return the arguments of a call whose signature has no reasoning field."""
    signature = kwargs.get("signature", predict.signature)
    if REASONING not in output_fields(signature):
        return kwargs
    return {**kwargs, "signature": after_thought(signature, REASONING)}


def with_thought(pred: TalePrediction, predict: Predictor, calls: list[Call]) -> None:
    """Fill a reasoning field that was not asked for with native thinking."""
    field = output_fields(predict.signature).get(REASONING)
    if field is not None and REASONING not in pred._store:
        last = next((c.thought for c in reversed(calls) if c.role == "reason"), None)
        pred._store = {REASONING: None if last is None else thought(last, field), **pred._store}
