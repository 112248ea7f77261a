"""The budget of a question from a program, a number, a word, or a file that changes."""

from pathlib import Path

import dspy
import pytest

import tale_dspy
from tale_dspy.budget import BudgetLimits, BudgetValue
from tale_dspy.integrations import policy as module
from tale_dspy.integrations.policy import ModelEstimatePolicy, PolicyFile, as_policy
from tests.integrations.programs import regression_program, saved

QUESTION = "A train covers 60 miles in 1.5 hours. How fast is it?"


def test_a_program_whose_estimator_asks_no_model_is_a_policy() -> None:
    program = regression_program()
    given = as_policy(program).budget_for(QUESTION)
    budget = program.budget_for(question=QUESTION)
    assert given == BudgetValue(budget.tokens)


def test_an_estimator_of_somebody_elses_is_a_policy_too() -> None:
    class WordCount(dspy.Module):
        def forward(self, question: str) -> dspy.Prediction:
            return dspy.Prediction(token_budget=10 * len(question.split()))

    assert as_policy(tale_dspy.TaleEP("question -> answer", WordCount())).budget_for("a b c") == BudgetValue(30)


def test_a_number_a_word_and_a_fixed_budget() -> None:
    assert as_policy(80).budget_for("x") == BudgetValue(80)
    assert as_policy("low").budget_for("x") == BudgetValue(effort="low")
    assert as_policy(tale_dspy.BudgetedChainOfThought("q -> a", 70)).budget_for("x") == BudgetValue(70)


def test_what_gives_no_budget_is_refused() -> None:
    for source in ("some", 0, True, tale_dspy.BudgetedChainOfThought("q -> a"), dspy.Predict("q -> a")):
        with pytest.raises(tale_dspy.UsageError):
            as_policy(source)
    two_inputs = tale_dspy.TaleEP("context, question -> answer", tale_dspy.RegressionEstimator("question -> answer"))
    with pytest.raises(tale_dspy.UsageError, match="looks at context, question"):
        as_policy(two_inputs)


def test_an_estimator_that_asks_a_model_of_its_own_is_refused() -> None:
    program = tale_dspy.TaleEP("question -> answer", dspy.Predict("question -> token_budget: int"))
    with pytest.raises(tale_dspy.UsageError, match="Predict asks a model"):
        as_policy(program)


def test_the_estimate_of_the_model_is_read_as_tale_ep_reads_it() -> None:
    asking = as_policy(tale_dspy.TaleEP("question -> answer", scale=2.0, floor=20, ceiling=300))
    assert isinstance(asking, ModelEstimatePolicy)
    assert asking.budget_for(QUESTION) is None
    assert asking.messages(QUESTION)[1] == {"role": "user", "content": QUESTION}
    assert asking.read("Budget: [[50]]") == BudgetValue(100)
    assert asking.read("Budget: [[5000]]") == BudgetValue(300)
    assert asking.read("no idea") == BudgetValue(BudgetLimits().default)


def test_a_file_is_read_again_when_it_changes_and_complained_of_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RECHECK_S", 0.0)
    warnings: list[str] = []
    path = saved(tale_dspy.BudgetedChainOfThought("q -> a", 70), tmp_path)
    file = PolicyFile(path, warnings.append)

    def budget() -> BudgetValue | None:
        policy = file.current()
        return None if policy is None else policy.budget_for("x")

    assert (budget(), budget()) == (BudgetValue(70), BudgetValue(70))
    saved(tale_dspy.BudgetedChainOfThought("question -> answer", 1234), tmp_path)
    assert budget() == BudgetValue(1234)
    path.unlink()
    assert (budget(), budget()) == (None, None)
    path.write_text("{")
    assert (budget(), budget()) == (None, None)
    saved(dspy_without_budget(), tmp_path)
    assert budget() is None
    assert ["No such file" in warnings[0], "as JSON" in warnings[1], "takes its budget" in warnings[2]] == [True] * 3
    assert len(warnings) == 3


def dspy_without_budget() -> dspy.Module:
    return tale_dspy.BudgetedChainOfThought("question -> answer")
