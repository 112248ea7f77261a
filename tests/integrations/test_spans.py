"""Budgets on OpenTelemetry's spans."""

import sys
from types import ModuleType
from typing import Any

import dspy
import pytest

import tale_dspy
from tale_dspy.integrations.spans import BudgetSpans, receipt_attributes
from tale_dspy.testing import ScriptedServer


class RecordedSpan:
    def __init__(self) -> None:
        self.attributes: dict[str, Any] = {}

    def set_attribute(self, key: str, value: Any) -> None:
        self.attributes[key] = value


@pytest.fixture
def span(monkeypatch: pytest.MonkeyPatch) -> RecordedSpan:
    """A span that is open, as OpenTelemetry's API gives it."""
    recorded = RecordedSpan()
    package, trace = ModuleType("opentelemetry"), ModuleType("opentelemetry.trace")
    trace.get_current_span = lambda: recorded  # type: ignore[attr-defined]
    package.trace = trace  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "opentelemetry", package)
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", trace)
    return recorded


def test_the_receipt_is_on_the_span(span: RecordedSpan) -> None:
    with ScriptedServer(lambda r: "Budget: [[40]]" if r.kind == "estimate" else "2 + 2 = 4 [[4]]") as server:
        lm = tale_dspy.LM("openai/solver", api_base=server.url, api_key="none", cache=False)
        with dspy.context(lm=lm, callbacks=[BudgetSpans()]):
            pred = tale_dspy.TaleEP("question -> answer")(question="2+2?")
    assert span.attributes == dict(receipt_attributes(tale_dspy.receipt(pred)))
    assert span.attributes["tale.budget.tokens"] == 40
    assert span.attributes["tale.budget.source"] == "estimate"
    assert span.attributes["gen_ai.usage.output_tokens"] == 6 + 2
    assert "tale.budget.effort" not in span.attributes


def test_other_modules_leave_the_span_alone(span: RecordedSpan) -> None:
    with ScriptedServer("[[ ## answer ## ]]\n4") as server:
        lm = dspy.LM("openai/solver", api_base=server.url, api_key="none", cache=False)
        with dspy.context(lm=lm, callbacks=[BudgetSpans()], adapter=dspy.ChatAdapter()):
            dspy.Predict("question -> answer")(question="2+2?")
    assert span.attributes == {}
