import math
from typing import Any

import pytest

from tale_dspy.optimizers.search.records import SearchRow, Trial, VanillaAnswer
from tale_dspy.training.luck_filter import NeighborAccuracy


def row(vanilla: int | None, *trials: tuple[int | None, bool], right: bool = True) -> SearchRow:
    searched_trials: Any = [Trial(50, tokens, correct) for tokens, correct in trials]
    return SearchRow(
        id="1",
        question="q",
        gold="1",
        predictor="self",
        vanilla=VanillaAnswer(vanilla, "t", right),
        trials=searched_trials,
    )


def test_the_share_is_that_of_replies_as_long_to_questions_as_long() -> None:
    neighbours = NeighborAccuracy([row(100, (10, True), (30, True)), row(105, (11, False)), row(300, (10, False))])
    assert neighbours.share_right(100, 10) == 0.5
    assert neighbours.share_right(100, 30) == 1.0
    assert neighbours.share_right(300, 10) == 0.0


@pytest.mark.parametrize(("vanilla", "tokens"), [(None, 10), (100, 0), (100, 60), (1000, 10)])
def test_where_nothing_is_known_nothing_speaks_against_a_reply(vanilla: int | None, tokens: int) -> None:
    assert NeighborAccuracy([row(100, (10, False))]).share_right(vanilla, tokens) == 1.0


def test_a_search_without_trials_knows_nothing() -> None:
    assert NeighborAccuracy([]).share_right(100, 10) == 1.0


def test_questions_that_were_wrong_without_a_budget_and_unknown_tokens_do_not_count() -> None:
    neighbours = NeighborAccuracy([row(100, (10, False), right=False), row(None, (10, False)), row(100, (None, False))])
    assert math.isclose(neighbours.share_right(100, 10), 1.0)
