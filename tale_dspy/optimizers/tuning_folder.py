"""The folder of a tuning: a run a trial, and two of the last measurement."""

import re
from pathlib import Path

PROGRAM_FILE = "program.json"
"""The chosen program; it is written last."""
FRESH_SUFFIX = "-fresh"
"""Ends the name of the run that measures a trial anew."""
UNBUDGETED_RUN, CHOSEN_RUN = "fresh-unbudgeted", "fresh-chosen"
FRESH_RUNS = (UNBUDGETED_RUN, CHOSEN_RUN)
"""Run folders of the last measurement: the program without budgets, and the chosen one."""
_TRIAL = re.compile(rf"[0-9a-f]{{16}}(?:{FRESH_SUFFIX})?")


def trial_folders(folder: Path) -> list[Path]:
    """Return the runs of the trials, of which some were measured twice."""
    return sorted(path.parent for path in folder.glob("*/run.json") if _TRIAL.fullmatch(path.parent.name))


def fresh_folders(folder: Path) -> list[Path]:
    """Return the runs of the last measurement, as far as they were made."""
    return [folder / name for name in FRESH_RUNS if (folder / name / "run.json").is_file()]


def is_tuning(folder: Path) -> bool:
    """Return whether a folder is one of `tale tune` or of a `ParetoSearch`."""
    return bool(fresh_folders(folder) or trial_folders(folder))
