"""Samplers that search the best token budget of one question, one a file; each is an Optuna `BaseSampler`.

`base`: the conventions of a study, and what all but TPE share. `halving`: the paper's search. `tpe`: Optuna's own.
`grid`: every budget, the truth that the others are held against. `elastic`: ours, which learns from question to
question, upon `law` (what it believes of a model), `law_fit` (how it learns that), `lookahead` (what a call promises)
and `trust` (what promises are worth). Importing this package loads nothing; Optuna comes with the first name used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tale_dspy.optimizers.samplers.base import BudgetSampler, History, Observation, history_of
    from tale_dspy.optimizers.samplers.elastic import ElasticSampler
    from tale_dspy.optimizers.samplers.grid import GridSampler
    from tale_dspy.optimizers.samplers.halving import HalvingSampler
    from tale_dspy.optimizers.samplers.tpe import TPESampler

_HOMES = {
    "base": ("BudgetSampler", "History", "Observation", "history_of"),
    "elastic": ("ElasticSampler",),
    "grid": ("GridSampler",),
    "halving": ("HalvingSampler",),
    "tpe": ("TPESampler",),
}
_HOME_OF = {name: f"{__name__}.{home}" for home, names in _HOMES.items() for name in names}

__all__ = [
    "BudgetSampler",
    "ElasticSampler",
    "GridSampler",
    "HalvingSampler",
    "History",
    "Observation",
    "TPESampler",
    "history_of",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value
