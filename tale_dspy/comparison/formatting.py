"""How figures and values of a comparison are written, in text and as JSON."""

import math
from collections.abc import Mapping
from typing import Any

from tale_dspy.comparison.paired import PairedMeans
from tale_dspy.display import number as number


def plain_json(value: object) -> Any:
    """Turn a value into plain JSON.

    Tuples become lists; NaN, infinities and foreign types become their text.
    """
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {str(k): plain_json(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_json(v) for v in value]
    return str(value)


def p_text(p: float) -> str:
    """Write a p value as `= 0.0123` or `< 0.0001`."""
    return f"= {p:.4f}" if p >= 0.0001 else "< 0.0001"


def change_text(means: PairedMeans, scale: float = 1.0, digits: int = 1) -> str:
    """Write a paired difference, such as `-240.8 [-250.1, -231.4]`."""
    if means.difference is None or means.interval is None:
        return "–"
    low, high = (number(scale * v, digits, sign=True) for v in means.interval)
    return f"{number(scale * means.difference, digits, sign=True)} [{low}, {high}]"


def side_texts(means: PairedMeans, scale: float = 1.0, digits: int = 1) -> tuple[str, str]:
    """Write the means of both sides, the baseline's first."""
    before, after = (number(v, digits, scale=scale) for v in (means.baseline, means.run))
    return before, after


def saving_text(means: PairedMeans) -> str:
    """Write the saved fraction as `saves 12.0 %` or `costs 12.0 % more`.

    The text is empty where it is unknown.
    """
    if means.saving is None:
        return ""
    return (
        f"saves {number(100 * means.saving)} %" if means.saving >= 0 else f"costs {number(-100 * means.saving)} % more"
    )
