"""fit_regression: what it learns, when it does not, and how high it lays its line."""

import json
import math
import os
import random
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import dspy
import pytest
from searched import SHARES, row, search

import tale_dspy
from tale_dspy.errors import UsageError
from tale_dspy.optimizers.fit_regression import DEFAULT_QUANTILE, MIN_ROWS, fit_regression
from tale_dspy.optimizers.search.ideal_range import estimated_budgets, ideal_range_metrics
from tale_dspy.optimizers.search.records import SearchRow, VanillaAnswer
from tale_dspy.programs.estimators.regression_estimator import RegressionEstimator
from tale_dspy.programs.tale_ep import TaleEP

GRID = [n / 30 for n in range(1, 31)]
"""Budgets that are tried, evenly spread, where ideal ranges are wanted."""


def told_by_length(n: int, seed: int = 0, shares: Sequence[float] = SHARES) -> list[SearchRow]:
    """Questions that need about four tokens a word."""
    chance = random.Random(seed)
    words = [chance.randint(5, 40) for _ in range(n)]
    return search([f"Words {'word ' * w}?" for w in words], lambda i: 4 * words[i], shares)


def told_by_nothing(n: int, seed: int = 0) -> list[SearchRow]:
    """Questions whose text says nothing of the 20 to 60 tokens they need."""
    chance = random.Random(seed)
    needs = [chance.uniform(20, 60) for _ in range(n)]
    return search([f"Words {'word ' * chance.randint(5, 40)}?" for _ in needs], lambda i: needs[i])


def fitted(rows: list[SearchRow], **options: Any) -> RegressionEstimator:
    return fit_regression(rows, "question -> answer", **options)


def test_budgets_follow_what_the_text_tells() -> None:
    estimator = fitted(told_by_length(100))
    small, large = (estimator(question=f"Words {'word ' * n}?").token_budget for n in (10, 30))
    assert 2.5 < large / small < 3.5
    fresh = told_by_length(60, seed=1, shares=GRID)
    assert ideal_range_metrics(estimated_budgets(estimator, fresh), fresh).in_range_accuracy > 0.9


def test_budgets_stay_where_the_trials_saw_short_replies() -> None:
    """Replies have two lengths, the longer one from twice the need on: half as much again is safe, twice is dear."""

    def tokens(budget: float, need: float) -> int:
        return round(need if need <= budget < 2 * need else 2 * need)

    def searched(n: int, seed: int) -> tuple[list[SearchRow], list[float]]:
        chance, rows, needs = random.Random(seed), [], []
        for i in range(n):
            words = chance.randint(5, 40)
            need = 2 * words * chance.uniform(0.8, 1.25)  # the text does not tell all
            budgets = {round(need * chance.uniform(0.6, 3)) for _ in range(3)} | {round(need * chance.uniform(1, 1.9))}
            trials = [(b, tokens(b, need), b >= need) for b in sorted(budgets)]
            rows.append(row(i, trials, longest=round(6 * need), question=f"Words {'word ' * words}?"))
            needs.append(need)
        return rows, needs

    estimator = fitted(searched(300, 0)[0])
    fresh, needs = searched(200, 1)
    budgets = estimated_budgets(estimator, fresh)
    pairs = [(budgets[r.id], need) for r, need in zip(fresh, needs, strict=True)]
    assert sum(b >= need for b, need in pairs) >= 0.98 * len(pairs)
    assert sum(tokens(b, need) for b, need in pairs) < 1.15 * sum(needs)


def test_where_the_text_tells_nothing_all_get_one_budget_and_it_is_said() -> None:
    estimator = fitted(told_by_nothing(100))
    assert estimator.fitted is not None and estimator.fitted.terms == ()
    assert "one budget for all: nothing counted" in estimator.fitted.note
    assert 40 <= estimator(question="Words?").token_budget <= 80


def test_the_line_lies_where_hardly_an_answer_is_lost() -> None:
    rows = told_by_nothing(100)
    harmless = [replace(r, trials=[replace(t, correct=True) for t in r.trials]) for r in rows]
    budgets = [fitted(searched_rows)(question="Words?").token_budget for searched_rows in (rows, harmless)]
    assert budgets[0] >= budgets[1]
    assert sum(min(t.budget for t in r.trials if t.correct) > budgets[0] for r in rows) <= 2


def test_a_question_without_gain_is_no_target_but_is_listened_to() -> None:
    rows = told_by_nothing(60)
    losing = [replace(r, id=f"{r.id}x", best=None, reason="no gain",
                      trials=[replace(t, correct=t.budget > 70) for t in r.trials]) for r in rows[:30]]  # fmt: skip
    alone, listening = fitted(rows).fitted, fitted([*rows, *losing]).fitted
    assert alone is not None and listening is not None
    assert listening.rows == alone.rows == 60
    assert listening.quantile >= alone.quantile


@pytest.mark.parametrize("n", [1, 2, MIN_ROWS - 1])
def test_few_questions_give_one_budget_and_it_is_said(n: int) -> None:
    rows = told_by_length(n)
    line = fitted([*rows, row("nothing", [])]).fitted
    best = sorted(r.best.budget for r in rows if r.best)
    assert line is not None and line.note == (
        f"one budget for all: {n} questions have a best budget, a regression needs at least {MIN_ROWS}"
    )
    assert round(math.exp(line.intercept)) == best[math.ceil(DEFAULT_QUANTILE * n) - 1]


def test_a_quantile_can_be_given() -> None:
    rows = told_by_nothing(80)
    budgets = [fitted(rows, quantile=q)(question="Words?").token_budget for q in (0.1, 0.5, 0.9)]
    assert budgets == sorted(set(budgets))
    line = fitted(rows[:5], quantile=0.5).fitted
    assert line is not None and line.quantile == 0.5


def test_the_limits_are_what_the_search_saw() -> None:
    rows = told_by_length(50)
    best = [r.best.budget for r in rows if r.best]
    limits = fitted(rows).limits.value
    assert (limits.floor, limits.ceiling) == (min(best), 2 * max(best))
    assert min(best) <= limits.default <= max(best)


def test_the_same_rows_give_the_same_estimator_in_any_order() -> None:
    rows = told_by_length(50)
    again = random.Random(0).sample(rows, len(rows))
    assert fitted(again).dump_state() == fitted(rows).dump_state()


def test_a_fitted_program_is_saved_and_remembers_its_questions(tmp_path: Path) -> None:
    rows = told_by_length(40)
    program = TaleEP("question -> answer", fitted(rows))
    program.save(tmp_path / "p.json")
    loaded = tale_dspy.load(tmp_path / "p.json")
    assert loaded.estimator.seen.roles == {r.id: "search" for r in rows}
    assert estimated_budgets(loaded.estimator, rows) == estimated_budgets(program.estimator, rows)


@pytest.mark.parametrize("question", ["", "the same"])
def test_questions_all_alike_give_one_budget(question: str) -> None:
    rows = [replace(r, question=question) for r in told_by_nothing(40)]
    assert fitted(rows)(question=question).token_budget > 20


def test_rows_without_an_answer_to_compare_with_take_the_default_quantile() -> None:
    rows = [replace(r, vanilla=VanillaAnswer(None, None, correct=True)) for r in told_by_nothing(40)]
    line = fitted(rows).fitted
    assert line is not None and line.quantile == DEFAULT_QUANTILE


def test_many_questions_take_seconds_and_not_minutes() -> None:
    rows = told_by_length(1500)
    assert len(fitted(rows, quantile=0.9).seen.roles) == 1500


@pytest.mark.parametrize(
    ("rows", "options", "said"),
    [
        ([], {}, "none of the 0 questions has a best budget"),
        ([row("a", [])], {}, "none of the 1 questions has a best budget"),
        ([row("a", [(9, 9, True)]), row("a", [], predictor="b")], {}, "one predictor, got those of b, self"),
        ([row("a", [(-1, 9, True)])], {}, "the best budget of a row must be a whole number"),
        ([], {"quantile": 0}, "quantile must be between 0 and 1, got 0"),
        ([], {"quantile": math.nan}, "got nan"),
        ([], {"quantile": "high"}, "got 'high'"),
    ],
)
def test_what_cannot_be_fitted_is_refused(rows: Any, options: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        fitted(rows, **options)


# ---- with an embedder


def hidden(texts: list[str]) -> list[list[float]]:
    """An embedding that knows which letter a question holds, as no count does."""
    return [[float("a" in text), float("b" in text), 0.5] for text in texts]


def lettered(n: int) -> list[SearchRow]:
    return search([f"Question {'ab'[i % 2]}?" for i in range(n)], lambda i: (20, 80)[i % 2] + i % 5)


def test_an_embedding_helps_where_counts_do_not() -> None:
    estimator = fitted(lettered(80), embedder=dspy.Embedder(hidden, caching=False))
    small, large = (estimator(question=f"Question {letter}?").token_budget for letter in "ab")
    assert large > 2 * small
    assert estimator.fitted is not None and estimator.fitted.projection is not None


@pytest.mark.parametrize("embed", [lambda texts: [[1.0, 1.0]] * len(texts), lambda texts: [[0.0]] * len(texts)])
def test_an_embedding_that_tells_nothing_is_not_needed_later(embed: Any) -> None:
    line = fitted(told_by_length(60), embedder=dspy.Embedder(embed, caching=False)).fitted
    assert line is not None and line.projection is None


# ---- with and without scikit-learn, and real questions

WITHOUT = """
import sys
sys.modules["sklearn"] = None
sys.path[:0] = sys.argv[1:]
from test_fit_regression import fitted, told_by_length
fitted(told_by_length(5))
fitted(told_by_length(50))
"""


def test_without_scikit_learn_the_pip_line_is_reported() -> None:
    folders = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
    ran = subprocess.run([sys.executable, "-c", WITHOUT, *folders], capture_output=True, text=True)
    assert "scikit-learn is not installed: pip install 'tale-dspy[search]'" in ran.stderr.splitlines()[-1]


def solved() -> list[tuple[str, int]]:
    """Questions of GSM8K with the words of their solutions where TALE_DATA has them, else some made up."""
    file = Path(os.environ.get("TALE_DATA", ".")) / "gsm8k_train.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines()[:300] if file.is_file() else []
    rows = [json.loads(line) for line in lines]
    made_up = [(f"Ann has {'3 apples, ' * n}and how many in all?", 10 * n + 20) for n in range(1, 9) for _ in range(5)]
    return [(row["question"], len(row["answer"].split())) for row in rows] or made_up


def test_published_questions_tell_something_of_their_solutions_length() -> None:
    pairs = solved()
    line = fitted(search([question for question, _ in pairs], lambda i: pairs[i][1])).fitted
    assert line is not None
    assert line.terms
