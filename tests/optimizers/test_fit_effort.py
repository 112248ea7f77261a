"""Fitting an estimator of effort words to a search."""

import pytest

from tale_dspy.errors import UsageError
from tale_dspy.optimizers.fit_effort import fit_effort
from tale_dspy.optimizers.search.records import BestBudget, ConfirmationDraws, SearchRow, Trial, VanillaAnswer

WORDS = ("low", "medium", "high")


def searched(n: int, best: str | None, length: int) -> SearchRow:
    trials = [Trial(word, 10 * (i + 1), word >= "low", "?") for i, word in enumerate(WORDS)]
    best_budget = None if best is None else BestBudget(best, 10.0, 10, "?", ConfirmationDraws(2, 2))
    return SearchRow(
        id=f"{n:04}",
        question="word " * length + str(n),
        gold="1",
        predictor="self",
        vanilla=VanillaAnswer(100, "?", True),
        trials=trials,
        best=best_budget,
        reason=None if best_budget else "none",
    )


def test_words_follow_a_feature_that_tells_them_apart() -> None:
    rows = [searched(n, WORDS[n % 3], (3, 30, 200)[n % 3]) for n in range(60)]
    estimator = fit_effort(rows, "question -> answer", confidence=0.7)
    assert [estimator(question="word " * length).effort for length in (3, 30, 200)] == ["low", "medium", "high"]
    assert estimator.fitted is not None and estimator.fitted.note == ""


def test_where_no_feature_helps_one_word_is_given_that_is_enough_for_the_share_asked_for() -> None:
    rows = [searched(n, "low" if n % 10 < 6 else "medium" if n % 10 < 9 else None, 10) for n in range(100)]
    for confidence, word in ((0.5, "low"), (0.85, "medium"), (0.95, "high")):
        estimator = fit_effort(rows, "question -> answer", confidence=confidence)
        assert estimator.fitted is not None and "no feature of the text helps" in estimator.fitted.note
        assert estimator(question="anything").effort == word


def test_few_questions_get_one_word() -> None:
    estimator = fit_effort([searched(n, "low", n) for n in range(5)], "question -> answer")
    assert estimator.fitted is not None and "a regression needs at least 20" in estimator.fitted.note


def test_a_search_without_words_is_refused() -> None:
    with pytest.raises(UsageError, match="none of the 1 questions has a best word"):
        fit_effort([searched(1, None, 3)], "question -> answer")
    with pytest.raises(UsageError, match="confidence must be between 0 and 1"):
        fit_effort([searched(1, "low", 3)], "question -> answer", confidence=1)
