"""What a calibration lowers: budgets, an effort word, or a confidence.

Budgets are lowered by a factor; the confidence is that of an estimator of words.
"""

import math
from collections.abc import Sequence
from typing import Any, Literal

from tale_dspy.errors import UsageError
from tale_dspy.optimizers.budget_sweep import with_given_budget
from tale_dspy.optimizers.scaling import scaled, with_confidence
from tale_dspy.optimizers.search.budget_space import check_efforts

SCALES = (4.0, 3.0, 2.0, 1.5, 1.25, 1.0, 0.85, 0.7, 0.6, 0.5, 0.4, 0.3)
"""Factors on the program's budgets that are tested, in this order."""


CONFIDENCES = (0.999, 0.99, 0.98, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5)
"""Confidences of an estimator of effort words that are tested, in this order."""
Setting = float | str
SettingKind = Literal["scale", "effort", "confidence"]


def with_setting(program: Any, kind: SettingKind, value: Setting) -> Any:
    """Return a copy of a program with its budgets turned to a setting."""
    if isinstance(value, str):
        return with_given_budget(program, value)
    return scaled(program, value) if kind == "scale" else with_confidence(program, value)


def descending_settings(
    scales: Sequence[float], efforts: Sequence[str] | None, confidences: Sequence[float] | None
) -> tuple[SettingKind, Sequence[Setting]]:
    """Check the settings under test, and sort them from the most to the least.

    The order must not depend on any answer.
    """
    if efforts is not None and confidences is not None:
        raise UsageError("calibrate tests efforts or confidences, not both")
    if efforts is not None:
        return "effort", check_efforts(efforts)[::-1]
    if confidences is not None:
        return "confidence", _descending_scales(confidences)
    return "scale", _descending_scales(scales)


def _descending_scales(scales: Sequence[float]) -> list[float]:
    """Check the scales; their order must not depend on any answer."""
    if not scales or any(isinstance(s, bool) or not isinstance(s, int | float) or not 0 < s < math.inf for s in scales):
        raise UsageError(f"scales must be one or more positive numbers, got {list(scales)!r}")
    return sorted({float(s) for s in scales}, reverse=True)
