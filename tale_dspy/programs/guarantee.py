"""What a calibration guarantees of a program's budgets, and when it is void.

`tale_dspy.calibrate` makes a guarantee, which is saved with the limits it is about. Nothing here measures anything.
"""

import functools
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import dspy

from tale_dspy.adapter_names import describe_adapter
from tale_dspy.backends.lm import LM
from tale_dspy.protocols import JsonObject

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CalibrationContext:
    """What a question is asked under."""

    model: str | None
    """The model string; of a local model with the hash of its weights."""
    adapter: str | None
    """Its class, and the form of a `TaleAdapter`."""
    temperature: float | None
    """None leaves the provider's."""
    mode: str | None
    """How budgets are sent: `auto`, `prompt`, `native` or `cap`."""


@dataclass(frozen=True, kw_only=True)
class CalibrationGuarantee:
    """A bound on the right answers that budgets turn into wrong ones.

    With confidence 1 - delta it is at most epsilon of the questions.
    """

    epsilon: float
    """Share of the questions, from 0 to 1."""
    delta: float
    """Chance that the guarantee is wrong, from 0 to 1."""
    scale: float | str
    """Factor on the budgets of the program as it was before; the effort word, or the confidence of its estimator of
    words, where that was calibrated."""
    n: int
    """Questions it was measured on."""
    lost: int
    """Of them, those right without a budget and wrong with one."""
    model: str | None
    adapter: str | None
    temperature: float | None
    mode: str | None
    data: str
    """Name of the questions."""
    data_hash: str
    program: str
    """Hash of the program as it was measured: its instructions, demos, estimators and limits."""
    budgets: tuple[float | int | str | None, ...]
    """The limits or the fixed budget it is about: others are none of its business."""

    @property
    def under(self) -> CalibrationContext:
        """The circumstances it holds under."""
        return CalibrationContext(self.model, self.adapter, self.temperature, self.mode)

    def __str__(self) -> str:
        return (
            f"at most {100 * self.epsilon:g} % of right answers lost, confidence {100 * (1 - self.delta):g} %, on "
            f"questions like those of {self.data} ({self.n} asked, {self.lost} lost)"
        )

    def to_json(self) -> JsonObject:
        return {**asdict(self), "budgets": list(self.budgets)}

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> "CalibrationGuarantee":
        """Build a guarantee from a saved program; keys of later versions are ignored.

        Raises:
            KeyError: If one of its own is missing.
        """
        return cls(**{**{k: row[k] for k in cls.__dataclass_fields__}, "budgets": tuple(row["budgets"])})

    def violated_by(self, context: CalibrationContext, budgets: tuple[float | int | str | None, ...]) -> str | None:
        """Say in a few words why the guarantee is void here; None if it holds."""
        for name, value in vars(context).items():
            if value != vars(self)[name]:
                return f"{name} {value if value is not None else 'unset'}, calibrated with {vars(self)[name]}"
        return None if budgets == self.budgets else "the limits of the budgets were changed afterwards"


def warn_of_others(guarantee: CalibrationGuarantee, program: str, data: str) -> None:
    """Warn where a guarantee meets another program or another named data set.

    Files and lists have no name to compare.

    Args:
        guarantee: That of a program's budgets.
        program: Hash of the program that is asked.
        data: Name of the questions that are asked.
    """
    if program != guarantee.program:
        logger.warning(
            "the calibration of the budgets (%s) is void here: the program was changed afterwards", guarantee
        )
    calibrated_on, asked_on = _data_family(guarantee.data), _data_family(data)
    if calibrated_on is not None and asked_on is not None and calibrated_on != asked_on:
        logger.warning("the calibration of the budgets (%s) is void here: data %s", guarantee, data)


def _data_family(data: str) -> str | None:
    """Return the published name of a data set without its split, or None."""
    if data == "examples" or "." in data:
        return None
    return data.split(":")[0].removesuffix("-train")


def calibration_context(module: Any, kwargs: Mapping[str, Any], mode: str | None) -> CalibrationContext:
    """Return what a call of a module is asked under.

    The module's adapter must be in force.

    Args:
        module: A `TaleModule`.
        kwargs: What it is called with.
        mode: How the call sends its budget.
    """
    lm = kwargs.get("lm") or module.predict.lm or dspy.settings.lm
    settings = {**(lm.kwargs if lm is not None else {}), **module.predict.config, **(kwargs.get("config") or {})}
    return CalibrationContext(model_of(lm), describe_adapter(dspy.settings.adapter), settings.get("temperature"), mode)


def model_of(lm: Any) -> str | None:
    """Name a model.

    A local model's name includes a hash of its weights, since weights that were trained further lie at the same path.
    """
    if lm is None:
        return None
    return f"{lm.model}@{lm.identity}" if isinstance(lm, LM) and lm.identity else str(lm.model)


@functools.lru_cache(maxsize=256)
def warn_if_invalid(
    guarantee: CalibrationGuarantee, context: CalibrationContext, budgets: tuple[float | int | str | None, ...]
) -> None:
    """Warn where a guarantee does not hold; each case once a process."""
    why = guarantee.violated_by(context, budgets)
    if why is not None:
        logger.warning("the calibration of the budgets (%s) is void here: %s", guarantee, why)
