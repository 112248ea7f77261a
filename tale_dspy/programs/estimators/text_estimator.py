"""The base of estimators that read a question's texts and ask no model."""

from collections.abc import Mapping

import dspy
from dspy import make_signature

from tale_dspy.errors import UsageError
from tale_dspy.programs.base import SignatureLike, check_signature
from tale_dspy.programs.estimators.text_features import FEATURES, features, text_of
from tale_dspy.programs.predictor import load_parameters
from tale_dspy.programs.registry import RegisteredModule, describe_signature
from tale_dspy.protocols import JsonObject
from tale_dspy.task_signature import BUDGET


class TextEstimator(RegisteredModule, abstract=True):
    """The base of estimators that count features of a question's texts.

    Attributes:
        signature: From the inputs that are looked at to a budget.
    """

    signature: type[dspy.Signature]

    gives_budget = True

    @property
    def names(self) -> list[str]:
        """Names of the inputs that are looked at."""
        return list(self.signature.input_fields)

    def texts(self, inputs: Mapping[str, object]) -> dict[str, str]:
        """Return the text of each input that is read.

        It is "" where the input is missing or has no text.
        """
        return {name: text_of(inputs.get(name)) for name in self.names}

    def describe(self) -> JsonObject:
        return {**super().describe(), "signature": describe_signature(self.signature)}

    def load_state(self, state: JsonObject, *, allow_unsafe_lm_state: bool = False) -> None:
        """Load what `save` wrote.

        Raises:
            StateError: If it is none of this estimator's, of other inputs, or needs an embedder that is not there.
        """
        load_parameters(self, state, allow_unsafe_lm_state=allow_unsafe_lm_state)

    def __repr__(self) -> str:  # pyright: ignore[reportIncompatibleMethodOverride]  (dspy infers LiteralString)
        return f"{type(self).__name__}({self.signature.signature!r})"


def join_texts(texts: Mapping[str, str]) -> str:
    """Return what an embedder is given: the texts that are not blank, one a line."""
    return "\n".join(text for text in texts.values() if text.strip())


def text_counts(texts: Mapping[str, str]) -> dict[str, float]:
    """Return the counts of each text as `field.feature`."""
    return {f"{k}.{name}": n for k, text in texts.items() for name, n in zip(FEATURES, features(text), strict=True)}


def budget_signature(signature: SignatureLike) -> type[dspy.Signature]:
    """Return a signature from the inputs of another to a budget.

    Raises:
        UsageError: If the signature has no input.
    """
    inputs = check_signature(signature).input_fields
    if not inputs:
        raise UsageError("the signature must have an input to estimate a budget from, it has none")
    fields: JsonObject = {k: (f.annotation, f) for k, f in inputs.items()}
    fields[BUDGET] = (int, dspy.OutputField())
    text_signature: type[dspy.Signature] = make_signature(fields)
    return text_signature
