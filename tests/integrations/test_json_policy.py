"""A policy in JSON gives the budgets of the program, read by another language."""

import json
import subprocess
from pathlib import Path

import dspy
import pytest

import tale_dspy
from tale_dspy.integrations.exports import export
from tale_dspy.integrations.json_policy import policy_document
from tale_dspy.programs.estimators.effort_estimator import OrdinalRegression
from tale_dspy.programs.estimators.regression import FeatureTerm
from tale_dspy.testing import word_problems
from tests.integrations.programs import REGRESSION, regression_program, saved

ODD_TEXTS = [
    "",
    " \n\t\u2003",
    "?",
    "3.5 + 2,000 = ? … \"Really?\" he said. (Yes!)... 'No.'",
    "A) one B) two C. three (D) four",
    "问题：小明有３个苹果，又买了５个。一共有多少？",
    "Сколько будет 12,5 × 3? Один; два: три.",
    "x\u0085y\x1cz. a\u3000b! \ufeffc. caf\u00e9 cafe\u0301 ²³ Ⅷ ٣٤",
    "👍🏽 " * 40 + "7",
    "word " * 30_000,
    "1" * 400,
    "...." * 300 + " 5",
]

NODE = """
import {{ loadPolicy }} from {reader};
import {{ readFileSync }} from "node:fs";
const budgetFor = loadPolicy({policy});
console.log(JSON.stringify(JSON.parse(readFileSync(0, "utf8")).map(budgetFor)));
"""


def budgets_in_node(policy: Path, texts: list[str]) -> list[int | str]:
    script = NODE.format(reader=json.dumps(str(policy.with_name("read_policy.mjs"))), policy=json.dumps(str(policy)))
    command = ["node", "--input-type=module", "-e", script]
    result = subprocess.run(command, input=json.dumps(texts), capture_output=True, text=True, check=True)
    budgets: list[int | str] = json.loads(result.stdout)
    return budgets


@pytest.mark.parametrize("scale", [1.0, 1.37])
def test_javascript_gives_the_same_budgets_on_200_questions(tmp_path: Path, scale: float) -> None:
    program = regression_program(scale)
    questions = [str(problem["question"]) for problem in word_problems(200 - len(ODD_TEXTS), seed=5)] + ODD_TEXTS
    expected = [program.budget_for(question=question).tokens for question in questions]
    assert len(set(expected)) > 20

    policy, _ = export(saved(program, tmp_path), "json-policy", tmp_path / "out" / "policy.json")

    assert budgets_in_node(policy, questions) == expected


def test_javascript_gives_the_same_words_on_200_questions(tmp_path: Path) -> None:
    terms = (FeatureTerm("question.words", 3.6, 0.3, 1.1), FeatureTerm("question.numbers", 1.2, 0.4, -0.7))
    fitted = OrdinalRegression(("minimal", "low+50", "low", "high"), (-1.0, 0.0, 1.4, 3.0), terms, 0.6, 100)
    estimator = tale_dspy.EffortEstimator("question -> answer", regression=fitted, default="medium")
    program = tale_dspy.TaleEP("question -> answer", estimator)
    questions = [str(problem["question"]) for problem in word_problems(200 - len(ODD_TEXTS), seed=6)] + ODD_TEXTS
    expected = [str(program.budget_for(question=question).value) for question in questions]
    assert len(set(expected)) >= 4 and {"low+50", "medium"} < set(expected)

    for module in (program, estimator, tale_dspy.EffortEstimator("question -> answer", default="low")):
        policy, _ = export(saved(module, tmp_path), "json-policy", tmp_path / "out" / "policy.json")
        unfitted = module is not program and module is not estimator
        assert budgets_in_node(policy, questions) == (["low"] * len(questions) if unfitted else expected)


def test_an_estimator_alone_and_an_unfitted_one_are_policies_too(tmp_path: Path) -> None:
    for name, estimator in {
        "fitted": tale_dspy.RegressionEstimator("question -> answer", regression=REGRESSION),
        "unfitted": tale_dspy.RegressionEstimator("question -> answer", default=77),
    }.items():
        expected = [estimator(question=text).token_budget for text in ODD_TEXTS]
        folder = tmp_path / name
        folder.mkdir()
        policy, _ = export(saved(estimator, folder), "json-policy", folder / "policy.json")
        assert budgets_in_node(policy, ODD_TEXTS) == expected


def test_a_fixed_budget_is_one_number(tmp_path: Path) -> None:
    program = tale_dspy.BudgetedChainOfThought("question -> answer", 120)
    policy, reader = export(saved(program, tmp_path), "json-policy", tmp_path / "policy.json")
    assert budgets_in_node(policy, ["a", ""]) == [120, 120]
    assert len(reader.read_text(encoding="utf-8").splitlines()) <= 60


def test_the_document_says_what_it_is_made_of() -> None:
    document = policy_document(regression_program())
    assert document["format"] == "tale-policy"
    assert document["program"] == {"scale": 1.3, "floor": 16, "ceiling": 700, "default": 256}
    assert [term["feature"] for term in document["regression"]["terms"]][:2] == ["words", "numbers"]  # type: ignore[index]


def test_budgets_that_a_model_gives_cannot_be_written() -> None:
    with pytest.raises(tale_dspy.UsageError, match="BudgetEstimator cannot be written as numbers"):
        policy_document(tale_dspy.TaleEP("question -> answer"))
    with pytest.raises(tale_dspy.UsageError, match="Predict gives no budgets"):
        policy_document(dspy.Predict("question -> answer"))
