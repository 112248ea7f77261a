"""A finished training as a report sees it: data, settings and test result."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tale_dspy.backends.local.files import CARD, TRAINING_FILE
from tale_dspy.reports.report_table import UNKNOWN, ReportTable, TableColumn
from tale_dspy.runs.records import read_json

MAX_LISTED = 8
"""Values of a list that a table of settings shows; of a longer one, such as the losses of all steps, first and last."""


@dataclass(frozen=True)
class TrainingRun:
    """The folder of an adapter."""

    path: Path
    card: Mapping[str, Any]
    """The content of its `tale_adapter.json`."""

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def test(self) -> Mapping[str, Any] | None:
        """The test against the base model after the training, or None without one."""
        result: Mapping[str, Any] | None = self.card.get("gate")
        return result

    @property
    def verdict(self) -> str:
        """Say in a sentence whether the trained model is shorter and not worse."""
        if self.test is None:
            return f"{self.name}: whether it is shorter and not worse than its base was not tested."
        return f"{self.name}: {self.test['outcome']}, {self.test['reason']}."


def is_training(path: Path) -> bool:
    """Return whether a folder holds a trained adapter."""
    return (path / CARD).is_file()


def is_unfinished_training(path: Path) -> bool:
    """Return whether a training was begun in a folder and is not finished."""
    return (path / TRAINING_FILE).is_file() and not is_training(path)


def load_training(path: Path) -> TrainingRun:
    """Read the folder of a trained adapter.

    Raises:
        RunFolderError: If it has no card, or it cannot be read.
    """
    return TrainingRun(path, read_json(path / CARD))


def training_table(training: TrainingRun) -> ReportTable[tuple[str, str]]:
    """Make the table of what was trained, on what, and the result."""
    card = {key: training.card.get(key) for key in ("strategy", "base", "created", "data", "options", "results")}
    return settings_table({**card, "versions": training.card.get("versions")})


def settings_table(settings: Mapping[str, object]) -> ReportTable[tuple[str, str]]:
    """Make a table of nested settings, a line each."""
    return ReportTable(
        [
            TableColumn("Setting", lambda line: line[0], {"setting": lambda line: line[0]}, is_text=True),
            TableColumn("Value", lambda line: line[1], {"value": lambda line: line[1]}, is_text=True),
        ],
        list(flatten_settings(settings).items()),
    )


def flatten_settings(settings: Mapping[str, object], prefix: str = "") -> dict[str, str]:
    """Write nested settings as `data.name` -> text.

    A list is written as a text, and an unknown value as a dash.
    """
    lines: dict[str, str] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            lines |= flatten_settings(value, f"{prefix}{key}.")
        else:
            lines[f"{prefix}{key}"] = _setting_text(value)
    return lines


def _setting_text(value: object) -> str:
    if value is None or value == {} or value == []:
        return UNKNOWN
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list) and len(value) > MAX_LISTED:
        return f"{len(value)} values, from {_setting_text(value[0])} to {_setting_text(value[-1])}"
    return str(value)
