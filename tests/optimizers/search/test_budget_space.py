"""Levels of a study and the budgets they stand for."""

import pytest

from tale_dspy.errors import UsageError
from tale_dspy.optimizers.search.budget_space import EffortLadder, TokenRange, check_efforts, with_phrase


def test_the_level_of_a_token_range_is_the_budget() -> None:
    space = TokenRange(200)
    assert (space.highest, space.budget_of(50), space.level_of(50), space.objective(80)) == (200, 50, 50, 80.0)
    assert space.level_of("low") is None and space.level_of(201) is None
    assert (space.between(50), space.between(0), space.between(200)) == (100, None, None)


def test_the_level_of_a_ladder_is_the_position_of_the_word() -> None:
    space = EffortLadder(("low", "medium", "high"), 200)
    assert (space.highest, space.budget_of(2), space.level_of("high"), space.objective(50)) == (3, "medium", 3, 0.25)
    assert space.level_of(50) is None and space.level_of("max") is None
    assert (space.between(1), space.between(3), space.between(0)) == (2, None, None)


@pytest.mark.parametrize("words", [(), ("low", "low")])
def test_a_ladder_needs_different_words(words: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="efforts must be different words"):
        EffortLadder(words, 10)


def test_words_are_put_in_order_and_may_have_a_number() -> None:
    assert check_efforts(["high", "low", "low+50", "none", "low"]) == ("none", "low+50", "low", "high")
    with pytest.raises(UsageError):
        check_efforts(["fast"])
    with pytest.raises(UsageError, match="efforts are words such as low, got '50'"):
        check_efforts(["50"])


def test_words_with_and_without_the_phrase_are_ordered_by_what_they_allow() -> None:
    assert with_phrase(["low", "none"]) == ("none+50", "none", "low+50", "low")
    assert with_phrase(["low"], 20) == ("low+20", "low")


def test_what_fails_takes_along_lesser_words_but_not_those_without_its_phrase() -> None:
    space = EffortLadder(("low+50", "low", "medium+50", "medium"), 200)
    assert [n for n in range(1, 5) if space.is_weaker(n, 3)] == [1, 3]
    assert [n for n in range(1, 5) if space.is_weaker(n, 2)] == [1, 2]
    assert (space.between(1), space.between(2), space.between(4)) == (3, 4, None)
    assert TokenRange(200).is_weaker(50, 50) and not TokenRange(200).is_weaker(51, 50)
