"""FewShotEstimator: searched budgets before the question."""

from pathlib import Path
from typing import Any

import dspy
import pytest
from fake_lm import fake_lm, text_of

import tale_dspy
from tale_dspy.errors import UsageError
from tale_dspy.programs.estimators.few_shot_estimator import FewShotEstimator
from tale_dspy.programs.tale_ep import TaleEP

DEMOS = [{"question": "1+1?", "token_budget": 5}, dspy.Example(question="2*3*4?", token_budget=20, answer="24")]


def said(lm: Any) -> list[str]:
    """All messages of the last request but the system's."""
    return [text_of(message) for message in lm.fake.requests[-1].messages]


def test_demos_stand_before_the_question_in_the_papers_format() -> None:
    with dspy.context(lm=(lm := fake_lm("Budget: [[40]]"))):
        pred = FewShotEstimator("question -> answer", DEMOS)(question="9-2?")
    assert (pred.token_budget, pred.estimate_tokens) == (40, 2)
    assert said(lm)[-5:-1] == [
        'Below is the question:\n\nQuestion: "1+1?"\n',
        "Budget: [[5]]",
        'Below is the question:\n\nQuestion: "2*3*4?"\n',
        "Budget: [[20]]",
    ]
    assert said(lm)[-1].endswith('Question: "9-2?"\n')


def test_demos_are_saved_and_loaded_with_the_program(tmp_path: Path) -> None:
    TaleEP("question -> answer", FewShotEstimator("question -> answer", DEMOS, floor=7)).save(tmp_path / "p.json")
    lm = fake_lm("Budget: [[2]]", "Answer: [[7]]")
    pred = tale_dspy.load(tmp_path / "p.json", lm=lm)(question="9-2?")
    assert (pred.token_budget, pred.answer) == (7, "7")
    assert sum("1+1?" in prompt for prompt in map(text_of, lm.fake.requests[0].messages)) == 1


@pytest.mark.parametrize(
    ("demo", "told"),
    [
        ({"token_budget": 5}, "must have one of the inputs question"),
        ({"question": None, "token_budget": 5}, "must have one of the inputs question"),
        ({"question": "1+1?"}, "token_budget must be a whole number"),
        ({"question": "1+1?", "token_budget": 0}, "of at least 1, got 0"),
    ],
)
def test_a_demo_without_its_parts_is_refused(demo: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        FewShotEstimator("question -> answer", [demo])
