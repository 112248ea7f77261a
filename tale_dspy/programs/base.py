"""What all modules share: an adapter, a receipt for each answer, a file.

A `TaleModule` is one `dspy.Predict` named `predict`, as in `dspy.ChainOfThought`; subclasses decide its signature.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Self

import dspy
from dspy import Completions, ensure_signature

from tale_dspy.accounting.calls import Call, record_calls
from tale_dspy.accounting.receipts import Receipt, status_of
from tale_dspy.adapter import TaleAdapter
from tale_dspy.adapter_names import adapter_named, describe_adapter
from tale_dspy.budget import Budget
from tale_dspy.errors import SignatureError, UsageError
from tale_dspy.programs.guarantee import calibration_context, warn_if_invalid
from tale_dspy.programs.predictor import TalePredict, checked_settings, load_parameters, savable_settings
from tale_dspy.programs.recovery import Policy, check_on_truncation
from tale_dspy.programs.registry import BuildContext, RegisteredModule, describe_signature, signature_from
from tale_dspy.programs.skipping import skips_reasoning
from tale_dspy.programs.state import BudgetState, TrainingExamples
from tale_dspy.programs.steps import Steps, arun_steps, call_of, run_steps
from tale_dspy.programs.typenames import type_from_text, type_to_text
from tale_dspy.protocols import CallArguments, JsonObject
from tale_dspy.python_text import parse_in_threads
from tale_dspy.task_signature import BUDGET, REASONING, output_fields, own_instructions

ADDED = (REASONING, BUDGET, "output_tokens", "estimate_tokens", "receipt")
"""Names a module adds to a signature or to its predictions."""
RESERVED_INPUTS = ("lm", "config", "demos", "signature", "new_signature", "prediction", "self")
"""Input names that `dspy.Predict` or Python takes for itself."""

SignatureLike = str | type[dspy.Signature]


class TalePrediction(dspy.Prediction):  # type: ignore[misc]  # dspy ships no types
    """A prediction that carries its receipt outside its fields.

    So `keys()` are still those of the signature.
    """

    def __init__(self, base: object = None, **kwargs: object) -> None:
        super().__init__(base, **kwargs)
        self._receipt: Receipt | None = base._receipt if isinstance(base, TalePrediction) else None

    def __deepcopy__(self, memo: dict[int, object]) -> "TalePrediction":
        return _with_attributes(copy.deepcopy(self.__dict__, memo))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle everything but the signature of the completions.

        That is a class made at run time, which no pickle can name.
        """
        completions = None if self._completions is None else Completions(dict(self._completions.items()))
        return _with_attributes, ({**self.__dict__, "_completions": completions},)

    @property
    def receipt(self) -> JsonObject | None:
        """What the answer asked for and spent, as plain JSON.

        `tale_dspy.receipt(pred)` is the typed view.
        """
        return None if self._receipt is None else self._receipt.to_json()

    @property
    def token_budget(self) -> int | None:
        """The budget that was sent, in tokens; None where none was."""
        return self._field_or(BUDGET, None if self._receipt is None else self._receipt.token_budget)

    @property
    def effort(self) -> str | None:
        """The effort word of the budget, or the signature's field of that name.

        It is None where no word was sent.
        """
        word: str | None = self._store.get("effort", None if self._receipt is None else self._receipt.effort)
        return word

    @property
    def output_tokens(self) -> int | None:
        """Completion tokens of the reasoning call; None if unknown."""
        return self._field_or("output_tokens", None if self._receipt is None else self._receipt.output_tokens)

    @property
    def estimate_tokens(self) -> int | None:
        """Completion tokens of the budget call; None where none was made."""
        return self._field_or("estimate_tokens", None if self._receipt is None else self._receipt.estimate_tokens)

    def _field_or(self, name: str, value: int | None) -> int | None:
        """Return the field of that name if the signature has one, else a value.

        A `BudgetEstimator` has such a field.
        """
        field_value: int | None = self._store.get(name, value)
        return field_value


class TaleModule(RegisteredModule, abstract=True):
    """One budget-aware predictor with a receipt.

    It uses the adapter the user configured, or else `TaleAdapter`. A module that `tale_dspy.budgeted` made of one of
    DSPy's keeps `dspy.ChatAdapter`, so that only the budget changes.

    Args:
        signature: Inputs and outputs, as a string or a `dspy.Signature`.
        adapter: Overrides the adapter for this module alone.
        on_truncation: What is done about a reply that is empty or was cut, since thinking used its room up.
            `force_answer` sends the thought back and asks for the answer in a small allowance, once; `retry_larger`
            asks again with twice the budget and twice max_tokens, at most twice. None does nothing: such a reply is
            `empty` or `truncated`.
        callbacks: As in `dspy.Module`.
        **config: Settings of each call, such as `temperature`.

    Raises:
        SignatureError: If the signature is none, or has a field of a name the module adds or reserves.
        UsageError: If the adapter or the recovery is none.

    Attributes:
        guidance: A sentence in the instructions that makes the module what it is.
    """

    guidance: str | None = None

    def __init__(
        self,
        signature: SignatureLike,
        *,
        adapter: Any = None,
        on_truncation: Policy | None = None,
        callbacks: list[Any] | None = None,
        **config: Any,
    ) -> None:
        super().__init__(callbacks=callbacks)
        if adapter is not None and not isinstance(adapter, dspy.Adapter):
            raise UsageError(f"adapter must be a dspy.Adapter such as TaleAdapter(), got {adapter!r}")
        self.adapter = adapter
        self.predict = TalePredict(self.extend_signature(check_signature(signature)), **config)
        self.on_truncation = on_truncation
        self.seen = TrainingExamples()

    @property
    def on_truncation(self) -> Policy | None:
        """What is done about a reply that is empty or was cut."""
        return self.predict.on_truncation

    @on_truncation.setter
    def on_truncation(self, value: Policy | None) -> None:
        self.predict.on_truncation = check_on_truncation(value)

    @classmethod
    def extend_signature(cls, signature: type[dspy.Signature]) -> type[dspy.Signature]:
        """Return the signature of the inner predictor."""
        extended = with_reasoning(signature)
        return with_guidance(extended, cls.guidance) if cls.guidance else extended

    def forward(self, **kwargs: object) -> TalePrediction:
        return run_steps(self.steps(kwargs))

    async def aforward(self, **kwargs: object) -> TalePrediction:
        return await arun_steps(self.steps(kwargs))

    def steps(self, kwargs: CallArguments) -> Steps[TalePrediction]:
        """Yield the calls of one answer and return its prediction.

        `forward` and `aforward` drive it.
        """
        with self.call_scope() as calls:
            raw = yield call_of(self.predict, kwargs)
        return self.with_receipt_of(raw, calls)

    @contextmanager
    def call_scope(self) -> Iterator[list[Call]]:
        """Put the module's adapter in force for a block, and collect its calls."""
        with record_calls(adapter=self.adapter_in_force()) as calls:
            yield calls

    def adapter_in_force(self, configured: object = None) -> Any:
        """Return the adapter of the module, the configured one, or its default."""
        configured = configured or dspy.settings.adapter
        return self.adapter or configured or self.predict.default_adapter or default_adapter()

    def check_guarantee(self, state: BudgetState, kwargs: CallArguments, mode: str) -> None:
        """Warn where a call is outside what the budgets were calibrated for.

        Budgets without a calibration give no warning.
        """
        if state.guarantee is not None:
            warn_if_invalid(state.guarantee, calibration_context(self, kwargs, mode), state.budgets)

    def with_receipt_of(self, raw: dspy.Prediction, calls: list[Call], budget: Budget | None = None) -> TalePrediction:
        """Copy a predictor's prediction into a new one with a receipt.

        The old prediction stays in DSPy's trace.
        """
        self.seen.check_model(calls)
        names = [k for k in output_fields(self.predict.signature) if k not in (REASONING, BUDGET)]
        receipt = Receipt(
            program=type(self).__name__,
            status=status_of(calls, any(raw.get(k) is not None for k in names)),
            token_budget=budget.tokens if budget else None,
            effort=budget.effort if budget else None,
            budget_source=budget.source if budget else None,
            fallback_reason=budget.fallback_reason if budget else None,
            estimate=budget.estimate if budget else None,
            estimate_text=budget.raw if budget else None,
            skipped=skips_reasoning(raw, calls),
            calls=calls,
        )
        return with_receipt(raw, receipt)

    def describe(self) -> JsonObject:
        """Return class, signature with types, adapter and settings.

        `tale_dspy.load` needs them beside DSPy's state.
        """
        signature = self.predict.signature
        reasoning = signature.output_fields.get(REASONING)
        return {
            **super().describe(),
            "signature": describe_signature(signature),
            "reasoning": None if reasoning is None else type_to_text(reasoning.annotation),
            "adapter": describe_adapter(self.adapter),
            "config": savable_settings(self.predict.config),
        }

    @classmethod
    def from_description(cls, about: Mapping[str, Any], context: BuildContext) -> Self:
        """Build the module that `describe` described."""
        module = cls(signature_from(about["signature"]), **cls.options_from(about, context))
        _set_reasoning(module.predict, about["reasoning"])
        return module

    @classmethod
    def options_from(cls, about: Mapping[str, Any], context: BuildContext) -> JsonObject:
        """Return the arguments of the constructor beside the signature.

        A subclass that has others adds them.
        """
        return {"adapter": adapter_named(about["adapter"]), **checked_settings(about["config"])}

    def load_state(self, state: JsonObject, *, allow_unsafe_lm_state: bool = False) -> None:
        """Load a state of this class.

        The state of a plain `dspy.ChainOfThought` is loaded by field name. What the state does not tell (an estimator,
        the limits, the guidance of a control) stays as it is.

        Raises:
            StateError: If its fields are not this program's. DSPy itself would assign them by position.
        """
        load_parameters(self, state, allow_unsafe_lm_state=allow_unsafe_lm_state)
        about = state.get("tale_dspy")
        is_this_class = isinstance(about, dict) and about.get("class") == type(self).__name__
        if self.guidance and not is_this_class and self.guidance not in self.predict.signature.instructions:
            self.predict.signature = with_guidance(self.predict.signature, self.guidance)

    def __repr__(self) -> str:  # pyright: ignore[reportIncompatibleMethodOverride]  (dspy infers LiteralString)
        return f"{type(self).__name__}({self.predict.signature.signature!r})"


def with_receipt(raw: dspy.Prediction, receipt: Receipt) -> TalePrediction:
    """Return a copy of a prediction with a receipt.

    Fields and completions are those of the prediction.
    """
    return _with_attributes({**vars(raw), "_store": dict(raw._store), "_receipt": receipt})


def _with_attributes(attributes: JsonObject) -> TalePrediction:
    pred = TalePrediction.__new__(TalePrediction)
    pred.__dict__.update(attributes)
    return pred


def receipt(pred: object) -> Receipt:
    """Return the typed view of `pred.receipt`.

    Raises:
        TypeError: If the prediction does not come from a module of this library.
    """
    if not isinstance(pred, TalePrediction) or pred._receipt is None:
        raise TypeError(
            f"{type(pred).__name__} carries no receipt: only predictions of tale_dspy modules do; "
            "tale_dspy.track() books any program"
        )
    return pred._receipt


@lru_cache(maxsize=1)
def default_adapter() -> TaleAdapter:
    """Return the adapter used where the user configured none."""
    return TaleAdapter()


def check_signature(signature: SignatureLike) -> type[dspy.Signature]:
    """Return a signature class, or say which of its names is taken.

    Raises:
        SignatureError: If it is none, a field has a name of `ADDED`, or an input one of `RESERVED_INPUTS`.
    """
    checked: type[dspy.Signature] = _as_signature(signature)
    taken = [k for k in checked.fields if k in ADDED] + [k for k in checked.input_fields if k in RESERVED_INPUTS]
    if taken:
        raise SignatureError(f"the signature has a field {taken[0]!r}, a name this module adds or reserves: rename it")
    return checked


def _as_signature(signature: Any) -> Any:
    try:
        resolved = parse_in_threads(lambda: ensure_signature(signature))
    except (ValueError, SyntaxError, TypeError) as e:
        raise SignatureError(f"{signature!r} is no signature: {e}") from e
    if not isinstance(resolved, type) or not issubclass(resolved, dspy.Signature):
        raise SignatureError(
            f"a signature is a text such as 'question -> answer' or a dspy.Signature, got {resolved!r}"
        )
    return resolved


def _set_reasoning(predict: Any, text: str | None) -> None:
    """Restore the type of a predictor's reasoning.

    It may be another than `str` after `budgeted`, or there may be no reasoning field.
    """
    if text is None and REASONING in predict.signature.output_fields:
        predict.signature = predict.signature.delete(REASONING)
    elif text not in (None, "str"):
        predict.signature = predict.signature.with_updated_fields(REASONING, type_=type_from_text(text))


def with_reasoning(signature: type[dspy.Signature]) -> type[dspy.Signature]:
    """Put `reasoning` before the outputs, as `dspy.ChainOfThought` does."""
    extended: type[dspy.Signature] = signature.prepend(REASONING, dspy.OutputField(desc="${reasoning}"), type_=str)
    return extended


def with_budget(signature: type[dspy.Signature]) -> type[dspy.Signature]:
    """Put `token_budget` after the inputs.

    `TaleAdapter` renders it as a phrase, others as a sentence.
    """
    field = dspy.InputField(desc="Think in fewer tokens than this")
    extended: type[dspy.Signature] = signature.append(BUDGET, field, type_=int)
    return extended


def with_guidance(signature: type[dspy.Signature], guidance: str) -> type[dspy.Signature]:
    """Add a sentence to the instructions; it replaces those that DSPy generates."""
    instructions = own_instructions(signature)
    guided: type[dspy.Signature] = signature.with_instructions(
        f"{instructions}\n\n{guidance}" if instructions else guidance
    )
    return guided


def only(inputs: CallArguments, names: Sequence[str]) -> JsonObject:
    """Return the inputs of these names."""
    return {k: v for k, v in inputs.items() if k in names}
