"""Right answers first, few tokens second: what MIPROv2 and GEPA make of a TaleEP with such a metric."""

from typing import Any

import dspy
import pytest
from dspy.teleprompt import GEPA, BootstrapFewShot, MIPROv2
from fake_lm import FakeLM, fake_lm, sections

import tale_dspy
from tale_dspy.errors import UsageError
from tale_dspy.optimizers.token_metric import net_tokens, token_aware_metric

TRAIN = [dspy.Example(question=f"{n}+1?", answer=str(n + 1)).with_inputs("question") for n in range(8)]
BRIEF = "Be brief."


def solve(prompt: str) -> str:
    """Right in any case; in a few words where it is told to be brief."""
    if "[[budget]]" in prompt:
        return "Budget: [[20]]"
    number = next(n for n in range(8) if f"Q: {n}+1?" in prompt.split("\n\n")[-1] or f"{n}+1?" in prompt)
    return ("so " * (4 if BRIEF in prompt else 60)) + sections(prompt, str(number + 1))


def student() -> Any:
    return tale_dspy.TaleEP("question -> answer", least_budget=1)


def asked(program: Any, lm: FakeLM) -> Any:
    with dspy.context(lm=lm):
        return program(question="7+1?")


def test_mipro_finds_the_instruction_that_takes_fewer_tokens() -> None:
    lm, teacher = fake_lm(solve), fake_lm(lambda prompt: sections(prompt, BRIEF))
    metric = token_aware_metric(tokens=50)
    optimizer = MIPROv2(
        metric=metric, prompt_model=teacher, task_model=lm, auto=None, num_candidates=2, max_bootstrapped_demos=0,
        max_labeled_demos=0, num_threads=1, seed=1,
    )  # fmt: skip
    with dspy.context(lm=lm):
        compiled = optimizer.compile(
            student(), trainset=TRAIN[:4], valset=TRAIN[4:], num_trials=6, minibatch=False,
            data_aware_proposer=False, tip_aware_proposer=False, fewshot_aware_proposer=False,
        )  # fmt: skip
    assert compiled.predict.signature.instructions == BRIEF
    assert 70 < compiled.score < 100, "right, and not for nothing"
    before, after = net_tokens(asked(student(), lm)), net_tokens(asked(compiled, lm))
    assert before is not None and after is not None and after < before / 3


def test_gepa_learns_from_what_it_is_told_about_tokens() -> None:
    def reflect(prompt: str) -> str:
        prompts.append(prompt)
        return sections(prompt, BRIEF)

    prompts: list[str] = []
    lm = fake_lm(solve)
    optimizer = GEPA(
        metric=token_aware_metric(tokens=50), reflection_lm=fake_lm(reflect), max_metric_calls=60, num_threads=1, seed=0
    )
    with dspy.context(lm=lm):
        compiled = optimizer.compile(student(), trainset=TRAIN[:4], valset=TRAIN[4:])
    assert compiled.predict.signature.instructions == BRIEF
    assert any("took 65 tokens, the budget was 20: write down only the steps" in prompt for prompt in prompts)
    assert any("of which 9 were used: no larger budget is needed" in prompt for prompt in prompts)
    assert (net_tokens(asked(compiled, lm)) or 99) < 15


def test_a_demo_must_be_right_whatever_its_score() -> None:
    def wrong_but_for_one(prompt: str) -> str:
        return solve(prompt) if "3+1?" in prompt else sections(prompt, "0")

    optimizer = BootstrapFewShot(metric=token_aware_metric(), max_bootstrapped_demos=4, max_labeled_demos=0)
    with dspy.context(lm=fake_lm(wrong_but_for_one)):
        compiled = optimizer.compile(student(), trainset=TRAIN)
    assert [demo.question for demo in compiled.predict.demos] == ["3+1?"]


def test_fewer_tokens_are_better_and_a_right_answer_beats_any_wrong_one() -> None:
    short, long = asked(student(), fake_lm("[[8]]")), asked(student(), fake_lm("so " * 900 + "[[8]]"))
    wrong, metric = asked(student(), fake_lm("[[9]]")), token_aware_metric(weight=0.9, tokens=10)
    assert 1 > metric(TRAIN[7], short) > metric(TRAIN[7], long) > 0.1 > metric(TRAIN[7], wrong) == 0.0
    assert metric(TRAIN[7], short, trace=[]) is True and metric(TRAIN[7], wrong, trace=[]) is False


@pytest.mark.parametrize(
    ("reply", "is_estimator", "said"),
    [
        (
            "so so [[8]]",
            False,
            "Right. It took 6 tokens, 3 of them to estimate the budget. The reasoning took 3 tokens of",
        ),
        ("so so [[9]]", False, "Wrong: expected '8', got {'answer': '9'}. It took"),
        ("so so [[9]]", False, "use what there is to get the answer right"),
        ("so so [[8]]", True, "of which 3 were used: no larger budget is needed"),
        ("so so [[9]]", True, "which may have been too small"),
        ("so " * 9 + "[[8]]", True, "a budget that cannot be kept is ignored"),
        ("so " * 9 + "[[8]]", False, "write down only the steps the answer needs"),
    ],
)
def test_the_words_tell_what_to_do(reply: str, is_estimator: bool, said: str) -> None:
    explanation = token_aware_metric().explain(TRAIN[7], asked(student(), fake_lm(reply)), is_estimator=is_estimator)
    assert said in explanation.feedback


def test_ones_own_metric_keeps_its_score_and_its_words() -> None:
    def graded(example: Any, pred: Any) -> Any:
        return dspy.Prediction(score=0.5, feedback="Half of it.")

    pred = asked(student(), fake_lm("[[8]]"))
    explanation = token_aware_metric(graded, weight=0.0, threshold=0.4).explain(TRAIN[7], pred)
    assert explanation.score == 0.5 and explanation.feedback.startswith("Half of it. It took 2 tokens")
    assert token_aware_metric(lambda e, p: 0.2).explain(TRAIN[7], pred).feedback.startswith("Wrong: score 0.2.")


def test_unknown_tokens_lose_the_whole_weight() -> None:
    pred = dspy.Prediction(answer="8")
    metric = token_aware_metric(weight=0.4)
    assert net_tokens(pred) is None and metric(TRAIN[7], pred) == pytest.approx(0.6)
    assert "How many tokens it took is unknown." in metric.explain(TRAIN[7], pred).feedback


def test_programs_of_dspy_are_weighed_where_usage_is_tracked() -> None:
    with dspy.context(track_usage=True):
        pred = asked(dspy.ChainOfThought("question -> answer"), fake_lm(sections))
    assert net_tokens(pred) is not None


@pytest.mark.parametrize(
    ("options", "said"),
    [({"weight": 1}, "weight must be from 0 to below 1"), ({"tokens": 0}, "tokens must be a positive number")],
)
def test_numbers_out_of_range_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        token_aware_metric(**options)
