"""The limit of output tokens among the settings of a call."""

import math
from typing import Any

import pytest

from tale_dspy.backends.output_limit import max_output_tokens


@pytest.mark.parametrize(
    ("settings", "limit"),
    [
        ({}, None),
        ({"max_tokens": None}, None),
        ({"max_tokens": 5}, 5),
        ({"max_completion_tokens": 5.2}, 6),
        ({"max_tokens": 5, "max_output_tokens": 9}, 9),
        ({"max_tokens": 0}, None),
        ({"max_tokens": math.inf}, None),
        ({"max_tokens": "9"}, None),
    ],
)
def test_the_largest_limit_that_is_set_counts(settings: dict[str, Any], limit: int | None) -> None:
    assert max_output_tokens(settings) == limit
