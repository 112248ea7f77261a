"""The folder of a tuning: a run a trial, and two of the last measurement."""

import re
from pathlib import Path

PROGRAM_FILE = "program.json"
"""The chosen program; it is written last."""
FRONT_FOLDER = "front"
"""Folder of the programs of the front and their figures, `front.json`."""
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


def tuning_sentence(folder: Path) -> str:
    """Say that a folder is one of a tuning, and which runs are inside."""
    fresh, trials = fresh_folders(folder), trial_folders(folder)
    named = " and ".join(map(str, fresh or trials[:2]))
    others = len(trials) - (0 if fresh else len(trials[:2]))
    more = f", {others} more are listed by `tale runs {folder} --all`" if others else ""
    return (
        f"{folder} is the folder of a tuning, not a run: `tale show {folder}` shows it; runs inside are {named}{more}"
    )
