"""The reasoning control of an LM, and whether the LM thinks as it is set up."""

from collections.abc import Mapping
from typing import Any

from tale_dspy.backends.control_registry import find_control
from tale_dspy.backends.endpoint import server_name
from tale_dspy.backends.reasoning_control import THINKERS, ReasoningControl
from tale_dspy.backends.reasoning_settings import (
    asks_to_think,
)


def family_of(lm: Any) -> ReasoningControl | None:
    """Return the row of an LM's model, or None where no control of it is known.

    Args:
        lm: Any DSPy language model; one with an engine object, or none of DSPy's, has no row.
    """
    return None if engine_name(lm) is None else find_control(str(lm.model), server_name(lm))


def is_reasoning_model(lm: Any, config: Mapping[str, Any] | None = None) -> bool:
    """Return whether a model thinks before it writes, as it is set up.

    Args:
        lm: Any DSPy language model.
        config: Settings of the call, which hold over the LM's.
    """
    family = family_of(lm)
    if family is None:
        return False
    asks = asks_to_think({**lm.kwargs, **(config or {})})
    if family.thinks == "always":
        return True
    if asks is not None:
        return asks
    return family.thinks == "by default" or (family.thinks == "by name" and bool(THINKERS.search(lm.model.lower())))


def lm_settings(lm: Any) -> dict[str, Any]:
    from dspy import BaseLM

    return dict(lm.kwargs) if isinstance(lm, BaseLM) else {}


def engine_name(lm: Any) -> str | None:
    """Name the engine of an LM that asks a provider; None for every other."""
    from dspy import LM

    return lm.engine if isinstance(lm, LM) and isinstance(lm.engine, str) else None
