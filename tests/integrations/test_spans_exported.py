"""Budgets on spans of OpenTelemetry's own SDK, as its exporter hands them on."""

import dspy
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes

import tale_dspy
from tale_dspy.integrations.spans import BudgetSpans, receipt_attributes
from tale_dspy.testing import Reply, Request, ScriptedServer


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracer(exporter: InMemorySpanExporter) -> trace.Tracer:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider.get_tracer("an instrumentation")


def reply(request: Request) -> Reply:
    if request.kind == "estimate":
        return Reply("Budget: [[40]]", completion_tokens=4)
    return Reply("2 + 2 = 4 [[4]]", reasoning="Two and two.", completion_tokens=9)


def test_the_exporter_gets_the_budget_of_the_module_in_the_span(
    tracer: trace.Tracer, exporter: InMemorySpanExporter
) -> None:
    with ScriptedServer(reply) as server:
        lm = tale_dspy.LM("openai/solver", api_base=server.url, api_key="none", cache=False)
        with tracer.start_as_current_span("TaleEP.forward"), dspy.context(lm=lm, callbacks=[BudgetSpans()]):
            pred = tale_dspy.TaleEP("question -> answer")(question="2+2?")
    (span,) = exporter.get_finished_spans()
    assert dict(span.attributes or {}) == dict(receipt_attributes(tale_dspy.receipt(pred)))
    assert span.attributes is not None
    assert (span.attributes["tale.budget.tokens"], span.attributes["gen_ai.usage.output_tokens"]) == (40, 4 + 9)
    assert span.attributes["gen_ai.usage.reasoning.output_tokens"] == 3


def test_the_names_are_those_of_the_conventions_for_generative_ai() -> None:
    known = {value for value in vars(gen_ai_attributes).values() if isinstance(value, str)}
    with ScriptedServer(reply) as server:
        lm = tale_dspy.LM("openai/solver", api_base=server.url, api_key="none", cache=False)
        with dspy.context(lm=lm):
            pred = tale_dspy.TaleEP("question -> answer")(question="2+2?")
    names = {name for name in receipt_attributes(tale_dspy.receipt(pred)) if not name.startswith("tale.")}
    assert "gen_ai.usage.output_tokens" in names
    assert names <= known
    assert gen_ai_attributes.GenAiOperationNameValues.INVOKE_AGENT.value == "invoke_agent"
