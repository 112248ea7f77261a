import statistics
from collections.abc import Callable

import pytest

from tale_dspy.errors import UsageError
from tale_dspy.testing import Reply
from tale_dspy.testing.messages import draw, first_words


@pytest.mark.parametrize(
    ("text", "count", "first"),
    [("a b c", 2, "a b"), ("  a\n b", 1, "  a"), ("a", 5, "a"), ("", 3, ""), ("a b", 0, ""), ("a b", -1, "")],
)
def test_first_words_keep_their_spacing(text: str, count: int, first: str) -> None:
    assert first_words(text, count) == first


def test_draws_are_even_and_independent() -> None:
    one, other = ([draw(str(n), salt) for n in range(3000)] for salt in ("a", "b"))
    assert statistics.fmean(one) == pytest.approx(0.5, abs=0.03)
    assert abs(statistics.correlation(one, other)) < 0.06
    assert draw("\ud800", "lone surrogate") < 1


@pytest.mark.parametrize(
    "build",
    [
        lambda: Reply(status=99),
        lambda: Reply(completion_tokens=-1),
        lambda: Reply(delay=float("inf")),
        lambda: Reply(headers={"x": "a\r\nb: c"}),
    ],
)
def test_impossible_replies_are_refused(build: Callable[[], object]) -> None:
    with pytest.raises(UsageError):
        build()
