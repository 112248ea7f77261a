"""Faulty replies end alike on both engines: one outcome each, broken ones sent again."""

import dspy
import pytest
from faulty_replies import OUTCOMES, REPLIES

import tale_dspy
from tale_dspy.backends import attempts
from tale_dspy.testing import ScriptedServer

MODELS = {"model a number": "7", "model null": None, "model missing": None, "model a list": None}
"""What the record states of a reply whose body does not name `x`: never what was asked for."""


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "retry_delay", lambda *_: 0.0)


@pytest.mark.parametrize("engine", ["litellm", "auto"])
@pytest.mark.parametrize("name", REPLIES)
def test_a_faulty_reply_has_one_outcome_whatever_the_engine(name: str, engine: str) -> None:
    with ScriptedServer(REPLIES[name]) as server:
        lm = tale_dspy.LM("openai/x", api_base=server.url, api_key="k", engine=engine, cache=False)
        examples = [dspy.Example(question="2+2?", answer="4").with_inputs("question")]
        try:
            run = tale_dspy.evaluate(tale_dspy.VanillaCoT("question -> answer"), examples, lm=lm, retries=1)
        except tale_dspy.BackendError:  # the only question was an error
            outcome = "error"
        else:
            (record,) = run.records
            outcome = record.outcome
            assert record.output_tokens in (9, None)
            assert record.cost_usd is None  # no price is known, whatever the body says
            assert record.response_model == MODELS.get(name, "x")
        assert (outcome, server.stats.requests) == OUTCOMES.get(name, ("error", 2))
