"""The predictor under search: asked with the budget that is told or without one, and everything else as it was."""

from typing import Any

import dspy
import pytest
from fake_lm import fake_lm

import tale_dspy
from tale_dspy.errors import UsageError
from tale_dspy.optimizers.search.budget_override import (
    ProbeContext,
    budgeted_predictors,
    replace_module,
    searchable_predictors,
    with_budget_override,
    with_estimator,
)


class Two(dspy.Module):
    """Plans, then solves."""

    def __init__(self) -> None:
        super().__init__()
        self.plan = tale_dspy.TaleEP("question -> plan")
        self.parts = {"solve": tale_dspy.BudgetedChainOfThought("question, plan -> answer", 30)}

    def forward(self, question: str) -> Any:
        return self.parts["solve"](question=question, plan=self.plan(question=question).plan)


def test_budgeted_predictors_are_found_by_name_and_estimators_are_none() -> None:
    inner = tale_dspy.TaleEP("question -> answer", estimator=tale_dspy.TaleEP("question -> token_budgets"))
    assert list(budgeted_predictors(inner)) == ["self"]
    assert list(budgeted_predictors(Two())) == ["plan", "parts[solve]"]


@pytest.mark.parametrize("program", [dspy.ChainOfThought("a -> b"), "text"])
def test_a_program_without_any_is_refused(program: Any) -> None:
    with pytest.raises(UsageError, match=r"must be a dspy\.Module|no budgeted predictor"):
        searchable_predictors(program)


def test_a_probes_budget_is_sent_and_none_asks_without() -> None:
    lm, probe = fake_lm("It is so. Answer: [[5]]"), ProbeContext(17)
    program = with_budget_override(tale_dspy.TaleEP("question -> answer"), "self", lambda: probe)
    with dspy.context(lm=lm):
        assert program(question="1+4?", token_budget=99).answer == "5"
        assert "under 17 tokens" in lm.prompts[-1] and len(lm.prompts) == 1  # nothing is estimated
        probe.budget = None
        assert program(question="1+4?").answer == "5"
    assert "tokens" not in lm.prompts[-1]
    assert probe.inputs == {"question": "1+4?"} and len(probe.calls) == 2


async def test_the_same_under_asyncio() -> None:
    lm, probe = fake_lm("It is so. Answer: [[5]]"), ProbeContext(17)
    program = with_budget_override(tale_dspy.TaleEP("question -> answer"), "self", lambda: probe)
    with dspy.context(lm=lm):
        await program.acall(question="1+4?")
        probe.budget = None
        await program.acall(question="1+4?")
    assert ["under 17 tokens" in p for p in lm.prompts] == [True, False] and len(probe.calls) == 2


def test_one_predictor_of_several_is_searched_with_its_own_inputs_and_calls() -> None:
    program, probe = Two(), ProbeContext(17)
    lm = fake_lm("Budget: [[12]]", "so Plan: [[add]]", "so Answer: [[5]]")
    with dspy.context(lm=lm):
        assert with_budget_override(program, "parts[solve]", lambda: probe)(question="1+4?").answer == "5"
    assert ["under 17" in p for p in lm.prompts] == [False, False, True]
    assert probe.inputs == {"question": "1+4?", "plan": "add"}
    assert [c.text for c in probe.calls] == ["so Answer: [[5]]"]
    assert isinstance(program.parts["solve"], tale_dspy.BudgetedChainOfThought)


def test_another_estimator_keeps_prompt_limits_and_memory() -> None:
    old = tale_dspy.TaleEP("question, context -> answer", estimate_from=["question"], ceiling=70)
    new = with_estimator(old, dspy.Predict("question -> token_budget"))
    assert new is old and new.limits.value.ceiling == 70 and new.estimate_from == ["question"]


def test_a_fixed_budget_becomes_an_estimated_one_of_the_same_prompt() -> None:
    fixed = tale_dspy.BudgetedChainOfThought("question -> answer", 30, on_skip="floor")
    fixed.predict.demos = [dspy.Example(question="q", answer="a")]
    fixed.seen.add(["00"], "train")
    estimator = dspy.Predict("question -> token_budget")
    new = with_estimator(fixed, estimator)
    assert isinstance(new, tale_dspy.TaleEP) and new.estimator is estimator
    assert new.predict is fixed.predict and new.seen.roles == {"00": "train"} and new.on_skip == "floor"
    program = Two()
    assert replace_module(program, program.parts["solve"], new) is program and program.parts["solve"] is new
    assert replace_module(fixed, fixed, new) is new
