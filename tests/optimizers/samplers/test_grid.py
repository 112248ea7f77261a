"""The grid asks for everything and ends."""

from typing import Any

import pytest

from tale_dspy.errors import UsageError
from tale_dspy.optimizers.samplers import GridSampler
from tale_dspy.testing.samplers import VANILLA, BudgetSamplerSuite, elastic, searched


class TestGridSampler(BudgetSamplerSuite):
    most_calls = 16

    def sampler(self) -> GridSampler:
        return GridSampler(points=16)


def test_without_a_grid_every_budget_is_asked_once() -> None:
    assert searched(GridSampler(), elastic, 30, calls=99) == list(range(30, 0, -1))


def test_budgets_outside_the_range_are_left_out() -> None:
    assert searched(GridSampler([40, 10, 999, 40]), elastic) == [40, 10]


def test_where_nothing_of_the_grid_is_in_the_range_its_upper_end_is_asked() -> None:
    assert searched(GridSampler([999]), elastic) == [VANILLA]


def test_points_are_spread_from_end_to_end() -> None:
    search = searched(GridSampler(points=5), elastic)
    assert search == [160, 45, 13, 4, 1]


@pytest.mark.parametrize("given", [{"budgets": []}, {"budgets": [0]}, {"points": 1}, {"budgets": [1], "points": 2}])
def test_a_grid_that_is_none_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"budgets|points"):
        GridSampler(**given)
