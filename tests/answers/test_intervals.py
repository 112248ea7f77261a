"""Inequalities and memberships written as intervals."""

import pytest

from tale_dspy.answers import answers_equal
from tale_dspy.answers.intervals import as_interval


@pytest.mark.parametrize(
    ("text", "interval"),
    [
        (r"-2 \le x < 7", "[-2, 7)"),
        ("5 >= x > 2", "(2, 5]"),
        (r"x \leqslant 2", r"(-\infty, 2]"),
        ("2 < x", r"(2, \infty)"),
        ("x < 2 or x > 3", r"(-\infty, 2) \cup (3, \infty)"),
        (r"x \in (2, 5)", "(2, 5)"),
        (r"\mathbb{R}", r"(-\infty, \infty)"),
        (r"x \in \mathbb{R}", r"(-\infty, \infty)"),
    ],
)
def test_an_inequality_is_the_interval_of_its_bounds(text: str, interval: str) -> None:
    assert as_interval(text, interval) == interval
    assert answers_equal(text, interval)
    assert answers_equal(interval, text)


@pytest.mark.parametrize("text", ["2", "2 < 3", "x < 2 > 1", "y = 2", r"x \ne 0", "2 < x + 1 < 5", "(2, 5)", "< x <"])
def test_what_bounds_no_variable_stays(text: str) -> None:
    assert as_interval(text, r"(-\infty, 2)") == text


def test_an_inequality_stays_beside_another() -> None:
    assert as_interval("x < 2", "x < 3") == "x < 2"
    assert not answers_equal(r"x \le 2", r"(-\infty, 2)")
