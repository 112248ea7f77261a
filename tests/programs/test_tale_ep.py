"""TaleEP: an estimate first, then the reasoning within it; what is sent is always sane."""

import asyncio
import re
from typing import Any

import dspy
import pytest
from fake_lm import fake_lm, sections

from tale_dspy import BudgetEstimator, TaleAdapter, TaleEP
from tale_dspy.errors import UsageError
from tale_dspy.testing import Request, ScriptedServer

REPLY = "Three and four.\nAnswer: [[7]]"


def test_it_asks_for_a_budget_and_keeps_to_it() -> None:
    lm = fake_lm("Budget: [[40]]", REPLY)
    with dspy.context(lm=lm):
        pred = TaleEP("question -> answer")(question="3+4?")
    assert lm.prompts[0].endswith('Below is the question:\n\nQuestion: "3+4?"\n')
    assert "under 40 tokens" in lm.prompts[1]
    assert (pred.answer, pred.token_budget, pred.output_tokens, pred.estimate_tokens) == ("7", 40, 5, 2)


BAD = {
    "no idea": (256, "fallback"),
    "": (256, "fallback"),
    "[[0]]": (256, "fallback"),
    "[[-1]]": (256, "fallback"),
    "[[99999999]]": (4096, "clamped"),
    "[[1e300]]": (256, "fallback"),
    "[[nan]]": (256, "fallback"),
    "[[" + "9" * 400 + "]]": (256, "fallback"),
}


@pytest.mark.parametrize("estimate", BAD, ids=range(len(BAD)))
def test_no_unusable_estimate_reaches_the_server_as_it_is(estimate: str) -> None:
    def reply(request: Request) -> str:
        return estimate if request.kind == "estimate" else REPLY

    with ScriptedServer(reply) as server:
        lm = dspy.LM("openai/scripted", api_base=server.url, api_key="key", cache=False)
        with dspy.context(lm=lm):
            pred = TaleEP("question -> answer")(question="3+4?")
        budgets = re.findall(r"under (\S+) tokens", server.requests[1].prompt)
    tokens, source = BAD[estimate]
    assert budgets == [str(tokens)]
    assert (pred.token_budget, pred.receipt["budget_source"]) == (tokens, source)
    assert pred.receipt["estimate_text"] == (estimate or None)


@pytest.mark.parametrize(
    ("limits", "estimate", "sent"),
    [
        ({"scale": 2}, "[[40]]", 80),
        ({"scale": 0.5}, "[[41]]", 21),
        ({"floor": 64}, "[[40]]", 64),
        ({"ceiling": 30}, "[[40]]", 30),
        ({"ceiling": 100_000}, "[[50000]]", 50_000),
        ({"scale": 0.5}, "[[8000]]", 4000),
        ({"scale": 2}, "no idea", 256),
        ({"ceiling": 30}, "no idea", 30),
    ],
)
def test_scale_floor_and_ceiling_are_applied_once(limits: dict[str, Any], estimate: str, sent: int) -> None:
    with dspy.context(lm=fake_lm(estimate, REPLY)):
        assert TaleEP("question -> answer", **limits)(question="3+4?").token_budget == sent


@pytest.mark.parametrize("limits", [{"scale": 0}, {"floor": 0}, {"floor": 9, "ceiling": 8}, {"ceiling": "9"}])
def test_unusable_limits_are_refused(limits: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        TaleEP("question -> answer", **limits)


def test_a_budget_given_at_the_call_saves_the_estimate() -> None:
    lm = fake_lm(REPLY)
    with dspy.context(lm=lm):
        pred = asyncio.run(TaleEP("question -> answer").acall(question="3+4?", token_budget=9))
    assert (len(lm.prompts), pred.token_budget, pred.receipt["budget_source"]) == (1, 9, "given")
    assert pred.estimate_tokens is None


@pytest.mark.parametrize("budget", [0, -3, 2.5, "9"])
def test_an_unusable_budget_at_the_call_is_refused(budget: Any) -> None:
    with pytest.raises(UsageError, match="token_budget"):
        TaleEP("question -> answer")(question="3+4?", token_budget=budget)


@pytest.mark.parametrize("names", [["question"], "question"])
def test_the_estimator_sees_only_what_it_should(names: Any) -> None:
    lm = fake_lm("[[40]]", REPLY)
    with dspy.context(lm=lm):
        TaleEP("context, question -> answer", estimate_from=names)(context="LONG", question="3+4?")
    assert ["LONG" in prompt for prompt in lm.prompts] == [False, True]


@pytest.mark.parametrize("names", [[], ["answer"], ["question", "nothing"], "quest"])
def test_the_estimator_can_only_see_inputs(names: Any) -> None:
    with pytest.raises(UsageError, match="estimate_from"):
        TaleEP("question -> answer", estimate_from=names)


def test_the_lm_of_a_call_holds_for_both_and_its_config_for_the_reasoning() -> None:
    used_lm, unused_lm = fake_lm("[[40]]", REPLY), fake_lm("")
    with dspy.context(lm=unused_lm):
        TaleEP("question -> answer")(question="3+4?", lm=used_lm, config={"temperature": 0.5})
    assert [r.config.temperature for r in used_lm.fake.requests] == [None, 0.5]
    assert unused_lm.prompts == []


# ---- estimators of the user


class Told(dspy.Module):
    """An estimator that gives what it is told to, and answers as empty a prediction as a user can make."""

    def __init__(self, value: Any) -> None:
        super().__init__()
        self.value = value

    def __len__(self) -> int:
        return 0

    def forward(self, **inputs: Any) -> Any:
        return dspy.Prediction(token_budget=self.value)

    async def aforward(self, **inputs: Any) -> Any:
        return self.forward(**inputs)


@pytest.mark.parametrize(
    ("value", "sent", "source"),
    [
        (40, 40, "estimate"),
        (40.2, 41, "estimate"),
        ("about 40 tokens", 40, "estimate"),
        (None, 256, "fallback"),
        (True, 256, "fallback"),
        (float("nan"), 256, "fallback"),
        (float("-inf"), 256, "fallback"),
        (-5, 256, "fallback"),
        (10**400, 4096, "clamped"),
        (-(10**400), 256, "fallback"),
        ([40], 40, "estimate"),
    ],
)
def test_any_module_can_estimate(value: Any, sent: int, source: str) -> None:
    lm = fake_lm(REPLY)
    with dspy.context(lm=lm):
        pred = TaleEP("question -> answer", Told(value))(question="3+4?")
        other = asyncio.run(TaleEP("question -> answer", Told(value)).acall(question="3+4?"))
    assert (pred.token_budget, pred.receipt["budget_source"], other.token_budget) == (sent, source, sent)
    assert pred.estimate_tokens is None


class Silent(dspy.Module):
    def forward(self, **inputs: Any) -> Any:
        return inputs.get("reply")


@pytest.mark.parametrize("reply", [None, 40, dspy.Prediction(budget=40)])
def test_an_estimator_without_a_budget_is_a_usage_error(reply: Any) -> None:
    with pytest.raises(UsageError, match="Silent must give a prediction with token_budget"):
        TaleEP("reply -> answer", Silent())(reply=reply)


def test_a_budget_estimator_with_limits_of_its_own_keeps_them() -> None:
    with dspy.context(lm=fake_lm("[[400]]", REPLY)):
        pred = TaleEP("question -> answer", BudgetEstimator("question -> answer", ceiling=100))(question="3+4?")
    assert (pred.token_budget, pred.receipt["budget_source"], pred.receipt["estimate"]) == (100, "clamped", 400.0)


def test_the_calls_of_an_estimator_of_ones_own_are_estimates() -> None:
    class Asks(dspy.Module):
        def __init__(self) -> None:
            super().__init__()
            self.ask = dspy.Predict("question -> tokens: int")

        def forward(self, question: str) -> Any:
            return dspy.Prediction(token_budget=self.ask(question=question).tokens)

    with dspy.context(lm=fake_lm("Tokens: [[30]]", REPLY)):
        pred = TaleEP("question -> answer", Asks())(question="3+4?")
    assert (pred.token_budget, pred.estimate_tokens, pred.output_tokens) == (30, 2, 5)


# ---- history and optimized predictors


def test_a_history_reaches_both_predictors() -> None:
    class Talk(dspy.Signature):
        question: str = dspy.InputField()
        history: dspy.History = dspy.InputField()
        answer: str = dspy.OutputField()

    lm = fake_lm("[[40]]", REPLY)
    history = dspy.History(messages=[{"question": "1+1?", "answer": "2"}])
    with dspy.context(lm=lm):
        TaleEP(Talk)(question="And one more?", history=history)
    assert [[m.role for m in r.messages] for r in lm.fake.requests] == [["user", "assistant", "user"]] * 2


def test_rewritten_instructions_and_demos_of_both_predictors_are_sent() -> None:
    program = TaleEP("question -> answer")
    for predictor, demo in zip(
        program.predictors(),
        [
            {"question": "1+1?", "reasoning": "R", "answer": "2", "token_budget": 5},
            {"question": "1+1?", "token_budget": "5"},
        ],
        strict=True,
    ):
        predictor.signature = predictor.signature.with_instructions("Rewritten.")
        predictor.demos = [demo]
    lm = fake_lm(lambda p: sections(p, "7"))
    with dspy.context(lm=lm, adapter=TaleAdapter()):
        program(question="3+4?")
    assert all(prompt.startswith("Rewritten.\n\n") for prompt in lm.prompts)
    assert [len(r.messages) for r in lm.fake.requests] == [3, 3]
