"""The limit of output tokens in a call's settings, under any provider's name."""

import math
from collections.abc import Mapping

OUTPUT_LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens")
"""Names of the setting that limits the output tokens of a call."""


def max_output_tokens(settings: Mapping[str, object]) -> int | None:
    """Return the output tokens that settings allow, or None without a limit."""
    limits = [settings.get(name) for name in OUTPUT_LIMITS]
    tokens = [math.ceil(limit) for limit in limits if isinstance(limit, int | float) and 0 < limit < math.inf]
    return max(tokens, default=None)
