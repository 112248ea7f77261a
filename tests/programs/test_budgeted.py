"""BudgetedChainOfThought: the budget that was given is the budget that is sent."""

import asyncio
from pathlib import Path
from typing import Any

import dspy
import numpy as np
import pytest
from fake_lm import fake_lm

import tale_dspy
from tale_dspy import BudgetedChainOfThought
from tale_dspy.errors import UsageError

REPLY = "Three and four.\nAnswer: [[7]]"


@pytest.mark.parametrize(
    ("built", "called", "sent"),
    [({"token_budget": 50}, {}, 50), ({}, {"token_budget": 9}, 9), ({"token_budget": 50}, {"token_budget": 9}, 9)],
)
def test_the_budget_of_the_call_comes_before_that_of_the_module(built: Any, called: Any, sent: int) -> None:
    lm = fake_lm(REPLY)
    with dspy.context(lm=lm):
        pred = BudgetedChainOfThought("question -> answer", **built)(question="3+4?", **called)
    assert f"under {sent} tokens" in lm.prompts[0]
    assert (pred.token_budget, pred.receipt["budget_source"]) == (sent, "given")
    assert pred.estimate_tokens is None


def test_none_at_a_call_means_not_given() -> None:
    with dspy.context(lm=fake_lm(REPLY)):
        module = BudgetedChainOfThought("question -> answer", 50)
        assert asyncio.run(module.acall(question="3+4?", token_budget=None)).token_budget == 50


def test_integers_of_numpy_are_budgets() -> None:
    with dspy.context(lm=fake_lm(REPLY)):
        pred = BudgetedChainOfThought("question -> answer")(question="3+4?", token_budget=np.int64(9))
    assert type(pred.token_budget) is int


def test_a_call_without_any_budget_says_how_to_give_one() -> None:
    with pytest.raises(UsageError, match="needs token_budget"):
        BudgetedChainOfThought("question -> answer")(question="3+4?")


@pytest.mark.parametrize("budget", [0, -5, 1.5, "50", True])
def test_no_other_budget_reaches_the_model(budget: Any) -> None:
    lm = fake_lm(REPLY)
    module = BudgetedChainOfThought("question -> answer")
    with dspy.context(lm=lm):
        for use in (
            lambda: module(question="Q", token_budget=budget),
            lambda: BudgetedChainOfThought("q -> a", budget),
        ):
            with pytest.raises(UsageError, match="token_budget must be a whole number"):
                use()
    with pytest.raises(UsageError):
        module.token_budget = budget
    assert lm.prompts == []


def test_its_budget_is_saved_with_it_also_inside_another_program(tmp_path: Path) -> None:
    class Program(dspy.Module):
        def __init__(self) -> None:
            super().__init__()
            self.solve = BudgetedChainOfThought("question -> answer")

    program, other = Program(), Program()
    program.solve.token_budget = 60
    program.save(tmp_path / "p.json")
    program.solve.save(tmp_path / "solve.json")
    other.load(tmp_path / "p.json")
    assert other.solve.token_budget == tale_dspy.load(tmp_path / "solve.json").token_budget == 60


def test_a_reset_copy_has_the_budget_it_was_built_with() -> None:
    module = BudgetedChainOfThought("question -> answer", 50)
    module.token_budget = 60
    assert module.deepcopy().token_budget == 60
    assert module.reset_copy().token_budget == 50
    module.token_budget = None
    assert module.token_budget is None


def test_dspy_evaluate_takes_budgets_from_the_examples() -> None:
    examples = [dspy.Example(question="3+4?", token_budget=b, answer="7") for b in (5, 50)]
    devset = [e.with_inputs("question", "token_budget") for e in examples]
    evaluate = dspy.Evaluate(devset=devset, metric=dspy.evaluate.answer_exact_match)
    with dspy.context(lm=fake_lm(REPLY)):
        result = evaluate(BudgetedChainOfThought("question -> answer"))
    assert [pred.token_budget for _, pred, _ in result.results] == [5, 50]
