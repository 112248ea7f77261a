"""Tokens against budget by question, from searches and from ladders, and pooled."""

import pytest
from make_runs import make_record, make_run
from searched import row, search

from tale_dspy.reports.question_curves import (
    BudgetPoint,
    QuestionCurve,
    curves_of_runs,
    curves_of_search,
    pooled,
    shares,
    spread,
)


def test_a_search_gives_a_curve_a_question_that_was_searched() -> None:
    (curve,) = curves_of_search([row("a", [(50, 60, True), (20, 90, False), (50, 70, True)]), row("b", [])])
    assert curve.points == (BudgetPoint(20, 90.0, 0.0), BudgetPoint(50, 65.0, 1.0))
    assert (curve.vanilla_tokens, curve.vanilla_right, curve.best) == (200, True, BudgetPoint(50, 60, 1.0))


def test_a_ladder_gives_the_same_from_its_runs() -> None:
    plain = make_run([make_record(0, output_tokens=100), make_record(0, repeat=1, output_tokens=140)])
    rungs = [
        make_run([make_record(0, token_budget=b, output_tokens=b + 5, outcome="correct" if b > 20 else "wrong")])
        for b in (40, 10)
    ]
    (curve,) = curves_of_runs(rungs, plain)
    assert curve.points == (BudgetPoint(10, 15.0, 0.0), BudgetPoint(40, 45.0, 1.0))
    assert (curve.vanilla_tokens, curve.vanilla_right) == (120, True)
    assert curves_of_runs([plain], plain) == [], "a run without budgets is no rung"
    (alone,) = curves_of_runs(rungs, None)
    assert (alone.vanilla_tokens, alone.vanilla_right) == (None, False)


def curve(key: str, longest: float | None, *points: tuple[int, float, float], right: bool = True) -> QuestionCurve:
    return QuestionCurve(key, f"What is {key}?", longest, right, tuple(BudgetPoint(*p) for p in points))


def test_shares_are_of_the_questions_own_answer() -> None:
    assert shares([curve("a", 200, (50, 60, 1.0)), curve("b", None, (5, 6, 1.0))]) == [
        ("a", BudgetPoint(50, 60, 1.0), 0.25, 0.3)
    ]


def test_pooling_takes_each_question_once_a_bin() -> None:
    curves = [curve("a", 100, (50, 60, 1.0), (51, 20, 0.0))]
    curves += [curve(k, 100, (50, tokens, 1.0)) for k, tokens in (("b", 50), ("c", 70), ("d", 90))]
    (pooled_bin,) = pooled(curves)
    assert pooled_bin.n == 4 and pooled_bin.share == pytest.approx(0.50, abs=0.01)
    assert pooled_bin.median == pytest.approx(0.6) and (pooled_bin.low, pooled_bin.high) == pytest.approx((0.475, 0.75))
    assert pooled_bin.right == pytest.approx(0.875)


def test_few_questions_and_those_wrong_without_a_budget_are_not_pooled() -> None:
    curves = [curve(k, 100, (50, 60, 1.0), right=k != "c") for k in "abc"]
    assert pooled(curves) == [] and pooled([]) == []


def test_the_pool_of_a_search_shows_the_rebound() -> None:
    bins = pooled(curves_of_search(search([f"q{n}" for n in range(30)], lambda n: 20 + n)))
    least = min(bins, key=lambda b: b.median)
    assert bins[0].median > 1.5 * least.median < bins[-1].median and 0.2 < least.share < 0.4
    assert bins[0].right < 0.1 and bins[-1].right == 1.0


def test_questions_shown_go_from_the_shortest_to_the_longest() -> None:
    three = ((1, 1.0, 1.0), (2, 1.0, 1.0), (3, 1.0, 1.0))
    curves = [curve(f"{n:02d}", float(n), *three, right=n != 50) for n in range(1, 100)]
    vanilla_tokens = [c.vanilla_tokens for c in spread(curves, 5)]
    assert (vanilla_tokens[0], vanilla_tokens[-1], len(vanilla_tokens)) == (1, 99, 5) and 50 not in vanilla_tokens
    assert spread([curve("a", 9, (1, 1.0, 1.0))], 5)[0].id == "a"
    assert spread([curve("a", None, *three)], 5) == []
