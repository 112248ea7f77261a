"""The gate passes what is shown, fails what is shown not to be, and says when it cannot tell."""

import json

import pytest
from make_runs import make_record, make_run

from tale_dspy.comparison.gate import noninferiority_test
from tale_dspy.comparison.noninferiority import score_bound
from tale_dspy.errors import UsageError
from tale_dspy.runs.records import Run


def tuned(n: int, *, fell: int = 0, rose: int = 0, tokens: int = 30) -> tuple[Run, Run]:
    """A base right on all but `rose` questions, and a model with `tokens` a reply that gets `fell` others wrong."""
    right = ["wrong"] * rose + ["correct"] * (n - rose)
    after = ["correct"] * rose + ["wrong"] * fell + ["correct"] * (n - rose - fell)
    base = [make_record(i, outcome=outcome, output_tokens=100 + i % 3) for i, outcome in enumerate(right)]
    new = [make_record(i, outcome=outcome, output_tokens=tokens + i % 2) for i, outcome in enumerate(after)]
    return make_run(base), make_run(new, model="local:tuned")


def test_a_short_model_that_is_not_worse_passes_with_its_bounds() -> None:
    verdict = noninferiority_test(*tuned(1000, fell=4, rose=4), min_saving=0.65, max_drop=0.01)
    assert verdict.passed and verdict.changed == "model"
    assert verdict.saving == pytest.approx(1 - 30.5 / 100.999, rel=1e-6)
    assert 0.65 < verdict.saving_bounds[0] <= verdict.saving <= verdict.saving_bounds[1]
    assert verdict.accuracy_bounds[0] == score_bound(1000, 4, 4)
    assert (verdict.right_to_wrong, verdict.wrong_to_right, verdict.smallest_n < 1000) == (4, 4, True)
    assert str(verdict) == (
        "pass: accuracy changes by +0.00 points, at worst -0.54 points with 95 % certainty (-1.00 allowed); saves "
        "69.8 % of the output tokens, at least 69.8 % with 95 % certainty (65.0 % asked for)"
    )


def test_a_model_that_is_surely_worse_fails_however_short_it_is() -> None:
    verdict = noninferiority_test(*tuned(1000, fell=60))
    assert verdict.outcome == "fail"
    assert verdict.reason.startswith("accuracy changes by -6.00 points, at best -4.")


def test_a_drop_that_enough_questions_do_not_exclude_fails() -> None:
    verdict = noninferiority_test(*tuned(5000, fell=60, rose=20), max_drop=0.01)
    assert (verdict.outcome, verdict.n > verdict.smallest_n) == ("fail", True)
    assert verdict.accuracy_bounds[0] < -0.01 < verdict.accuracy_bounds[1]


@pytest.mark.parametrize(("n", "fell", "rose"), [(20, 0, 0), (267, 0, 0), (500, 8, 6), (100, 0, 100)])
def test_too_few_questions_decide_nothing_and_the_number_needed_is_reported(n: int, fell: int, rose: int) -> None:
    verdict = noninferiority_test(*tuned(n, fell=fell, rose=rose), max_drop=0.01)
    assert verdict.outcome == "cannot decide" and verdict.smallest_n > n
    assert f"{n} questions were asked, at least {verdict.smallest_n:,} are needed" in verdict.reason


def test_the_number_that_is_asked_for_is_the_one_that_could_pass_as_things_stand() -> None:
    better = noninferiority_test(*tuned(100, rose=100), max_drop=0.01)
    assert better.outcome == "cannot decide" and better.smallest_n == 268  # 15,782 if as many fell as rose
    assert noninferiority_test(*tuned(268, rose=268), max_drop=0.01).passed


def test_the_needed_number_decides() -> None:
    needed = noninferiority_test(*tuned(100), max_drop=0.02).smallest_n
    assert noninferiority_test(*tuned(needed - 1), max_drop=0.02).outcome == "cannot decide"
    assert noninferiority_test(*tuned(needed), max_drop=0.02).passed


@pytest.mark.parametrize(("tokens", "outcome"), [(100, "fail"), (120, "fail"), (69, "pass")])
def test_what_is_not_shorter_fails(tokens: int, outcome: str) -> None:
    assert noninferiority_test(*tuned(400, tokens=tokens)).outcome == outcome


def test_a_saving_measured_but_not_shown_is_not_decided() -> None:
    base, _ = tuned(400)
    wild = make_run([make_record(i, output_tokens=1 if i % 3 else 200) for i in range(400)], model="local:tuned")
    verdict = noninferiority_test(base, wild, min_saving=0.3)
    assert verdict.saving > 0.3 > verdict.saving_bounds[0]
    assert verdict.outcome == "cannot decide" and verdict.reason.startswith("saves 3")


def test_answers_that_never_came_count_as_wrong() -> None:
    base, new = tuned(400)
    lost = [make_record(i, outcome="error", output_tokens=None, cost_usd=None) for i in range(40)]
    verdict = noninferiority_test(base, make_run([*lost, *new.records[40:]], model="local:tuned"))
    assert (verdict.outcome, verdict.right_to_wrong, verdict.n) == ("fail", 40, 400)
    assert "tokens unknown on 40 of 400 questions, left out of the token comparison" in verdict.notes


def test_repeats_are_averaged_by_question() -> None:
    def draws(outcomes: str, model: str) -> Run:
        outcome_of = {"c": "correct", "w": "wrong"}
        rows = [
            make_record(i, repeat=k, outcome=outcome_of[o], output_tokens=100 if model == "a" else 20)
            for i in range(300)
            for k, o in enumerate(outcomes)
        ]
        return make_run(rows, model=model)

    verdict = noninferiority_test(draws("ccc", "a"), draws("ccw", "b"))
    assert (verdict.n, verdict.draws, verdict.outcome) == (300, 900, "fail")
    assert verdict.accuracy == pytest.approx((1.0, 2 / 3))


def test_a_new_prompt_is_gated_with_its_estimator_counted() -> None:
    base = make_run([make_record(i) for i in range(400)])
    new = make_run(
        [make_record(i, output_tokens=60, estimate=(40, 15), token_budget=50) for i in range(400)],
        "tale-ep",
        program={"name": "tale-ep"},
    )
    verdict = noninferiority_test(base, new, min_saving=0.2)
    assert (verdict.changed, verdict.tokens, verdict.passed) == ("prompt", (100.0, 75.0), True)


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"min_saving": 40}, r"min_saving must be a fraction from 0 to below 1 \(0.4 is 40 %\), got 40"),
        ({"max_drop": 0.0}, r"max_drop must be a fraction above 0 and below 1 \(0.01 is one point\), got 0.0"),
        ({"max_drop": float("nan")}, "max_drop must be a fraction"),
    ],
)
def test_limits_out_of_range_are_refused(limits: dict[str, float], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        noninferiority_test(*tuned(2), **limits)


@pytest.mark.parametrize(
    ("tokens", "said"), [(None, "no tokens are known on both sides"), (0, "the base run used no output tokens")]
)
def test_without_tokens_there_is_no_saving(tokens: int | None, said: str) -> None:
    base = make_run([make_record(0, output_tokens=tokens, cost_usd=None)])
    with pytest.raises(UsageError, match=said):
        noninferiority_test(base, make_run("c", model="local:tuned"))


def test_the_same_experiment_twice_and_budgets_on_both_sides_are_reported() -> None:
    budgeted = make_run([make_record(i, token_budget=50) for i in range(3)])
    assert "nothing that was recorded differs" in noninferiority_test(make_run("ccc"), make_run("ccc")).notes[0]
    again = make_run(budgeted.records, model="local:tuned")
    assert "the prompt states a budget on both sides" in noninferiority_test(budgeted, again).notes[0]


def test_json_is_plain_and_says_everything() -> None:
    row = json.loads(json.dumps(noninferiority_test(*tuned(400)).to_json(), allow_nan=False))
    assert (row["passed"], row["outcome"], row["n"], row["base"]["name"]) == (True, "pass", 400, "cot")
    assert row["smallest_n"] == 268 and row["tuned"]["model"] == "local:tuned"
