"""Advice names the run that pays, says what it is worth, and what to try where none does."""

import json
from typing import Any

import pytest
from make_runs import make_record, make_run

from tale_dspy.comparison.advice import Outcome, advise
from tale_dspy.errors import UsageError
from tale_dspy.runs.records import Run


def answers(n: int, *, wrong: int = 0, tokens: int = 100, **common: Any) -> list[Any]:
    """Records of which the first ones are wrong."""
    outcomes = ["wrong"] * wrong + ["correct"] * (n - wrong)
    return [make_record(i, outcome=o, output_tokens=tokens + i % 3, **common) for i, o in enumerate(outcomes)]


def without_budget(n: int, *, wrong: int = 0, tokens: int = 100, name: str = "cot") -> Run:
    return make_run(answers(n, wrong=wrong, tokens=tokens), name=name)


def with_budget(n: int, *, wrong: int = 0, tokens: int = 30, name: str = "budget:50", **common: Any) -> Run:
    return make_run(answers(n, wrong=wrong, tokens=tokens, token_budget=50, **common), name=name)


def test_the_run_that_saves_most_without_a_loss_is_taken() -> None:
    runs = [
        without_budget(600),
        with_budget(600, name="budget:50"),
        with_budget(600, tokens=60, name="budget:80"),
        with_budget(600, wrong=90, tokens=10, name="budget:9"),
    ]
    advice = advise(runs)
    assert advice.best is not None and advice.best.name == "budget:50"
    assert {run.name: run.outcome for run in advice.runs} == {
        "budget:9": "costs accuracy",
        "budget:50": "pays",
        "budget:80": "pays",
    }
    assert advice.sentence.startswith("take budget:50: 31.0 in place of 101.0 output tokens a question")
    assert json.loads(json.dumps(advice.to_json()))["best"] == "budget:50"
    figures = advice.to_json()["runs"][0]
    assert {"baseline", "run", "interval"} < figures["net_tokens"].keys() & figures["accuracy"].keys()


def test_the_questions_of_the_sentence_are_those_of_its_run() -> None:
    runs = [without_budget(600), with_budget(600), with_budget(40, wrong=40, tokens=10, name="budget:9")]
    advice = advise(runs)
    assert (advice.best and advice.best.name, advice.n) == ("budget:50", 40)
    assert "on 600 questions against cot" in advice.sentence


def test_the_baseline_is_the_most_accurate_run_without_a_budget() -> None:
    advice = advise([without_budget(300, wrong=60, name="dspy-cot"), without_budget(300), with_budget(300, wrong=60)])
    assert advice.baseline == "cot" and advice.best is None
    assert advice.sentence == "keep cot: on these 300 questions no budget pays"


@pytest.mark.parametrize(
    ("run", "outcome", "hint"),
    [
        (with_budget(100, wrong=1), "cannot decide", "questions to decide it"),
        (
            with_budget(100, wrong=40, skipped=True),
            "costs accuracy",
            "skip its reasoning (100 of 100 replies have none)",
        ),
        (
            with_budget(100, wrong=40, budget_source="fallback"),
            "costs accuracy",
            "100 of 100 estimates could not be used",
        ),
        (with_budget(100, wrong=40), "costs accuracy", "try a larger budget"),
        (with_budget(100, tokens=100), "saves nothing", "the replies are not shorter"),
    ],
)
def test_what_to_try_next_follows_from_the_cause(run: Run, outcome: Outcome, hint: str) -> None:
    (advice,) = advise([without_budget(100), run]).runs
    assert advice.outcome == outcome and any(hint in line for line in advice.hints), advice.hints


def test_what_cannot_be_advised_is_said() -> None:
    with pytest.raises(UsageError, match="no run is without a budget: run `tale eval cot`"):
        advise([with_budget(5)])
    with pytest.raises(UsageError, match="no run has a budget"):
        advise([without_budget(5)])
    with pytest.raises(UsageError, match="max_drop must be a fraction"):
        advise([without_budget(5), with_budget(5)], max_drop=2)
    with pytest.raises(UsageError, match="share no question"):
        advise([without_budget(5), with_budget(5), make_run([make_record(99)])])
