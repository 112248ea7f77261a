"""A TaleEP in the hands of DSPy's optimizers and wrappers: both predictors are seen, rewritten and kept."""

from collections.abc import Callable
from typing import Any

import dspy
import pytest
from dspy.teleprompt import GEPA, BootstrapFewShot, LabeledFewShot, MIPROv2
from fake_lm import FakeLM, fake_lm, sections

from tale_dspy import TaleEP

TRAIN = [dspy.Example(question=f"{n}+1?", answer=str(n + 1)).with_inputs("question") for n in range(8)]


def solve(prompt: str) -> str:
    """Answer the questions of `TRAIN`, and anything DSPy's own modules ask."""
    for n in range(8):
        if f"{n}+1?" in prompt.split("\n\n")[-1] or f"{n}+1?\n\nThink step by step." in prompt:
            return sections(prompt, str(n + 1))
    return sections(prompt, "Think hard.")


def right(example: Any, pred: Any, *args: Any) -> Any:
    return pred.answer == example.answer


@pytest.fixture
def lm() -> FakeLM:
    return fake_lm(solve)


def test_labelled_demos_go_to_the_reasoner_alone(lm: FakeLM) -> None:
    compiled = LabeledFewShot(k=2).compile(TaleEP("question -> answer"), trainset=TRAIN)
    with dspy.context(lm=lm):
        pred = compiled(question="7+1?")
    assert [len(r.messages) for r in lm.fake.requests] == [1, 5]
    assert pred.answer == "8"


def test_bootstrap_keeps_traces_of_both_predictors(lm: FakeLM) -> None:
    student = TaleEP("question -> answer", least_budget=10)
    with dspy.context(lm=lm):
        compiled = BootstrapFewShot(metric=right, max_bootstrapped_demos=2, max_labeled_demos=0).compile(
            student, trainset=TRAIN
        )
        compiled(question="7+1?")
    assert {name: len(p.demos) for name, p in compiled.named_predictors()} == {"predict": 2, "estimator.predict": 2}
    assert compiled.predict.demos[0].token_budget == 10
    assert "under 10 tokens" in lm.fake.requests[-1].messages[0].parts[0].text
    assert student.predict.demos == []


def test_mipro_rewrites_both_predictors(lm: FakeLM) -> None:
    optimizer = MIPROv2(
        metric=right, prompt_model=lm, task_model=lm, auto=None, num_candidates=2, max_bootstrapped_demos=1,
        max_labeled_demos=1, num_threads=1,
    )  # fmt: skip
    with dspy.context(lm=lm):
        compiled = optimizer.compile(
            TaleEP("question -> answer"), trainset=TRAIN[:4], valset=TRAIN[4:], num_trials=2, minibatch=False,
            data_aware_proposer=False, tip_aware_proposer=False, fewshot_aware_proposer=False,
        )  # fmt: skip
        assert compiled(question="7+1?").answer == "8"
    assert compiled.score == 100
    assert [name for name, _ in compiled.named_predictors()] == ["predict", "estimator.predict"]


def test_gepa_rewrites_and_the_rewriting_is_sent() -> None:
    def reply(prompt: str) -> str:
        if "Think hard." in prompt:
            return solve(prompt)
        return sections(prompt, "0")

    lm, teacher = fake_lm(reply), fake_lm(lambda prompt: sections(prompt, "Think hard."))

    def scored(example: Any, pred: Any, trace: Any = None, pred_name: Any = None, pred_trace: Any = None) -> Any:
        return dspy.Prediction(score=float(pred.answer == example.answer), feedback="think hard")

    with dspy.context(lm=lm):
        optimizer = GEPA(metric=scored, reflection_lm=teacher, max_metric_calls=40, num_threads=1, seed=0)
        compiled = optimizer.compile(TaleEP("question -> answer"), trainset=TRAIN[:4], valset=TRAIN[4:])
        assert compiled(question="7+1?").answer == "8"
    assert compiled.predict.signature.instructions == "Think hard."
    assert lm.prompts[-1].startswith("Think hard.\n\n7+1?\n")


def never(args: Any, pred: Any) -> float:
    return 0.0


@pytest.mark.parametrize("wrapper", [dspy.BestOfN, dspy.Refine])
def test_best_of_n_and_refine_run_it(wrapper: Callable[..., Any], lm: FakeLM) -> None:
    with dspy.context(lm=lm):
        best = wrapper(module=TaleEP("question -> answer"), N=2, reward_fn=never, threshold=1.0)
        pred = best(question="7+1?")
    assert pred.answer == "8"
    assert pred.token_budget == 80
