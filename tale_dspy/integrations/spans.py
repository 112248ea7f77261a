"""Budgets on the spans that an instrumentation of DSPy makes.

The spans are OpenTelemetry's, or those of MLflow's autolog.

Example:
    >>> import dspy
    >>> with dspy.context(callbacks=[BudgetSpans(), *dspy.settings.callbacks]):
    ...     answer = program(question="1+1?").answer
"""

import sys
from collections.abc import Mapping
from typing import Protocol

from tale_dspy.accounting.calls import total_or_none
from tale_dspy.accounting.receipts import Receipt
from tale_dspy.dspy_bridge import BaseCallback
from tale_dspy.programs.base import TalePrediction

AttributeValue = str | int | float


class _OtelSpan(Protocol):
    def set_attribute(self, key: str, value: AttributeValue) -> None:
        """Set one attribute."""
        ...


class BudgetSpans(BaseCallback):  # type: ignore[misc]  # dspy ships no types
    """Write a module's receipt on the span that is open while it ends.

    What OpenTelemetry's conventions for generative AI name stands under their names, the rest under `tale.`; see
    `receipt_attributes`. Put it before the callbacks of the instrumentation, which end the span. Without a span, or
    without the instrumentation's package, nothing happens.
    """

    def on_module_end(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, call_id: str, outputs: object, exception: Exception | None = None
    ) -> None:
        receipt = outputs._receipt if isinstance(outputs, TalePrediction) else None
        if receipt is None:
            return
        attributes = receipt_attributes(receipt)
        for span in _open_spans():
            for name, value in attributes.items():
                span.set_attribute(name, value)


def receipt_attributes(receipt: Receipt) -> Mapping[str, AttributeValue]:
    """Return the figures of a receipt as attributes of a span.

    Unknown figures are left out. `gen_ai.usage.*` are the sums over the calls of the program, the estimate included.
    """
    calls = receipt.calls
    attributes: dict[str, AttributeValue | None] = {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.usage.input_tokens": receipt.prompt_tokens,
        "gen_ai.usage.output_tokens": total_or_none([call.output_tokens for call in calls]),
        "gen_ai.usage.reasoning.output_tokens": receipt.reasoning_tokens,
        "tale.budget.tokens": receipt.token_budget,
        "tale.budget.effort": receipt.effort,
        "tale.budget.source": receipt.budget_source,
        "tale.budget.mode": receipt.mode,
        "tale.output_tokens": receipt.output_tokens,
        "tale.estimate_tokens": receipt.estimate_tokens,
        "tale.calls": len(calls),
    }
    return {name: value for name, value in attributes.items() if value is not None}


def _open_spans() -> list[_OtelSpan]:
    """Return the spans that are open here.

    A tracing package that is not imported has none.
    """
    spans: list[_OtelSpan] = []
    if "opentelemetry.trace" in sys.modules:
        from opentelemetry import trace

        spans.append(trace.get_current_span())
    if "mlflow.tracing" in sys.modules:
        import mlflow

        active = mlflow.get_current_active_span()
        if active is not None:
            spans.append(active)
    return spans
