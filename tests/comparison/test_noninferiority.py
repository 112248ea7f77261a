"""The bound on a drop: equal to the textbook's definition, honest in simulation, and never too sure."""

import math

import numpy as np
import pytest
from scipy import optimize, stats

from tale_dspy.comparison.noninferiority import Z, difference_bounds, score_bound, smallest_n


def test_z_is_the_one_sided_95_percent_quantile() -> None:
    assert pytest.approx(stats.norm.ppf(0.95), abs=1e-15) == Z


def score_by_likelihood(n: int, fell: int, rose: int, assumed: float) -> float:
    """Tango's score with the share fallen found by a numerical optimiser instead of the closed form."""

    def loss(p: float) -> float:
        shares = [(fell, p), (rose, p + assumed), (n - fell - rose, 1 - 2 * p - assumed)]
        return -sum(count * math.log(max(share, 1e-300)) for count, share in shares if count)

    p = optimize.minimize_scalar(
        loss, bounds=(max(0.0, -assumed), (1 - assumed) / 2), method="bounded", options={"xatol": 1e-12}
    ).x
    return (rose - fell - n * assumed) / math.sqrt(n * (2 * p + assumed * (1 - assumed)))


@pytest.mark.parametrize(("n", "fell", "rose"), [(100, 7, 3), (44, 3, 1), (500, 0, 4), (5000, 60, 30), (20, 5, 0)])
def test_the_bound_is_where_the_score_is_z(n: int, fell: int, rose: int) -> None:
    assert score_by_likelihood(n, fell, rose, score_bound(n, fell, rose)) == pytest.approx(Z, rel=1e-4)


def test_no_changed_answer_leaves_a_doubt_that_shrinks_with_n() -> None:
    assert score_bound(100, 0, 0) == pytest.approx(-(Z**2) / (100 + Z**2), rel=1e-6)
    assert score_bound(1000, 0, 0) == pytest.approx(-(Z**2) / (1000 + Z**2), rel=1e-6)


@pytest.mark.parametrize(("n", "fell", "rose"), [(300, 0.025, 0.005), (1000, 0.04, 0.02), (300, 0.12, 0.10)])
def test_a_model_at_the_margin_passes_once_in_twenty(n: int, fell: float, rose: float) -> None:
    counts = np.random.default_rng(0).multinomial(n, [fell, rose, 1 - fell - rose], size=2000)
    passed = sum(score_bound(n, b, c) >= rose - fell for b, c, _ in counts.tolist())
    assert 0.03 < passed / 2000 < 0.06


def test_bounds_of_both_sides_mirror_each_other() -> None:
    low, high = difference_bounds([-1.0] * 5 + [1.0] * 2 + [0.0] * 93)
    back = difference_bounds([1.0] * 5 + [-1.0] * 2 + [0.0] * 93)
    assert (low, high) == pytest.approx((-back[1], -back[0]))
    assert low < -0.03 < high


def test_means_of_several_draws_have_normal_bounds_that_never_vanish() -> None:
    gains = [0.5, -0.5, 0.0, 0.25] * 50
    low, high = difference_bounds(gains)
    half = Z * np.std(gains, ddof=1) / math.sqrt(200)
    assert (low, high) == pytest.approx((0.0625 - half, 0.0625 + half))
    assert difference_bounds([0.5, 0.5])[0] < 0.0  # no spread at all, and still only two questions


@pytest.mark.parametrize("changed", [0.0, 0.01, 0.1])
def test_the_smallest_n_is_enough_and_one_less_is_not(changed: float) -> None:
    n = smallest_n(0.02, changed)
    assert score_bound(n, changed * n / 2, changed * n / 2) >= -0.02
    assert score_bound(n - 1, changed * (n - 1) / 2, changed * (n - 1) / 2) < -0.02


def test_one_point_takes_hundreds_of_questions() -> None:
    assert (smallest_n(0.01), smallest_n(0.01, changed=0.03)) == (268, 889)
