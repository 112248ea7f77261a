"""What a budget would have come to: tokens between the trials, right answers freed of chance."""

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
from searched import elastic, row, search

from tale_dspy.errors import UsageError
from tale_dspy.optimizers.search.offline_eval import ExpectedOutcome, TrialReplay, by_budget, check_rows, inputs_of
from tale_dspy.optimizers.search.records import Trial, VanillaAnswer

NEED = 40.0


def questions(n: int) -> list[str]:
    return [f"Question {i}?" for i in range(n)]


def noisy(n: int, noise: float) -> TrialReplay:
    """A search of questions that all need about the same, in which some right answers come out wrong."""
    chance = random.Random(0)
    rows = []
    for r in search(questions(n), lambda i: 30 + i % 20):
        trials = [(t.budget, t.tokens, t.correct and chance.random() >= noise) for t in r.trials]
        rows.append(row(r.id, trials, longest=r.vanilla.tokens))
    return TrialReplay(rows)


@pytest.mark.parametrize(
    ("budget", "tokens"),
    [(50, 45), (100, 90), (70.7107, 67.5), (200, 200), (5000, 200), (25, 122.5), (0.001, 200)],
)
def test_tokens_are_read_off_between_the_trials(budget: float, tokens: float) -> None:
    known = TrialReplay([row("a", [(50, 45, True), (100, 90, True)])])
    assert known.expected("a", budget).tokens == pytest.approx(tokens, abs=0.1)


def steps(budget: float, need: float) -> int:
    """Tokens of a model that knows two lengths of a reply, and tells at length what is asked in too few tokens."""
    return round(need if need <= budget < 2 * need else 2 * need)


def test_between_the_trials_replies_are_as_long_as_those_of_other_questions() -> None:
    chance, rows = random.Random(0), []
    for i in range(100):
        need = 20 + i % 30
        budgets = sorted({*(round(need * chance.uniform(1, 3)) for _ in range(4)), need})
        rows.append(row(i, [(b, steps(b, need), True) for b in budgets], longest=5 * need))
    alone, known = (TrialReplay([*others, row("a", [(40, 40, True)])]) for others in ([], rows))
    assert known.expected("a", 60).tokens == pytest.approx(40, abs=3) and alone.expected("a", 60).tokens > 70
    assert known.expected("a", 100).tokens == pytest.approx(80, abs=4)
    assert known.expected("a", 40).tokens == 40 and known.expected("a", 200).tokens == 200


def test_a_budget_tried_several_times_counts_with_its_mean() -> None:
    draws = [Trial(10, 20, True), Trial(10, 30, False), Trial(5, None, True), Trial(4, 9, False)]
    assert by_budget(draws) == {4: ExpectedOutcome(9, 0.0), 10: ExpectedOutcome(25, 0.5)}


def test_the_least_right_budget_is_learned_from_all_questions() -> None:
    known = TrialReplay(search(questions(100), lambda i: NEED))
    right = [round(known.expected("0000", b).right, 1) for b in (5, 20, NEED, 100, 160, 1000)]
    assert right == [0.0, 0.0, 1.0, 1.0, 1.0, 1.0]
    assert known.slips < 0.02


def test_one_unlucky_draw_does_not_make_a_budget_useless() -> None:
    rows = search(questions(100), lambda i: NEED)
    unlucky = [(t.budget, t.tokens, t.correct and t.budget != 64) for t in rows[0].trials]
    known = TrialReplay([row("unlucky", unlucky, longest=160), *rows[1:]])
    assert known.expected("unlucky", 45).right > 0.9


@pytest.mark.parametrize("noise", [0.0, 0.1, 0.2])
def test_the_share_of_chance_is_found(noise: float) -> None:
    assert noisy(200, noise).slips == pytest.approx(noise * 0.8, abs=0.05)


def test_draws_that_confirmed_the_best_budget_count() -> None:
    rows = search(questions(50), lambda i: NEED)
    best = rows[0].best
    assert best is not None
    shaken = replace(rows[0], best=replace(best, confirmed=replace(best.confirmed, n=6, right=0)))
    known = TrialReplay([shaken, *rows[1:]])
    assert known.expected("0000", best.budget).right < 0.5 < known.expected("0001", best.budget).right


@pytest.mark.parametrize(
    "vanilla",
    [
        VanillaAnswer(200, None, correct=False),
        VanillaAnswer(None, None, correct=True),
        VanillaAnswer(0, None, correct=True),
    ],
)
def test_a_question_that_was_not_searched_is_not_judged(vanilla: VanillaAnswer) -> None:
    known = TrialReplay([row("a", [(50, 45, True)], vanilla=vanilla)])
    assert "a" not in known


@pytest.mark.parametrize("trials", [[], [(0, 5, True)], [(50, None, True)], [(500, 480, True)]])
def test_a_question_without_a_usable_trial_is_judged_by_its_answer_alone(
    trials: Sequence[tuple[int, int, bool]],
) -> None:
    assert TrialReplay([row("a", trials)]).expected("a", 200) == ExpectedOutcome(200.0, pytest.approx(1.0))


def test_inputs_other_than_a_question_are_taken_from_the_row() -> None:
    assert inputs_of(row("a", [])) == {"question": "What is a?"}
    assert inputs_of(row("a", [], inputs={"text": "x"}, question=None)) == {"text": "x"}


def test_rows_of_several_predictors_are_not_mixed() -> None:
    check_rows([])
    with pytest.raises(UsageError, match="one predictor, got those of first, second"):
        check_rows([row("a", [], predictor="second"), row("a", [], predictor="first")])


def test_the_search_made_up_here_is_elastic() -> None:
    assert [elastic(b, NEED, 160) for b in (5, 20, 40, 80, 160, 400)] == [145, 100, 36, 72, 144, 144]
