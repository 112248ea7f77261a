"""Load the runs that are compared, each folder once and under its own name."""

import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from tale_dspy.comparison.run_stats import config_of, data_name
from tale_dspy.errors import RunFolderError, UsageError
from tale_dspy.runs.records import Run, load_run


def load_runs(paths: Sequence[Path]) -> list[Run]:
    """Read several run folders.

    Runs of one program with the same model and data are named with their folders, such as `cot (runs/b)`.

    Raises:
        UsageError: If a folder is given twice, in whatever spelling.
        RunFolderError: If one is no run folder, such as that of a search, or broken.
    """
    refuse_repeated(paths)
    return named_apart([_load_answers(path) for path in paths])


def _load_answers(path: Path) -> Run:
    run = load_run(path)
    if config_of(run).get("search"):
        raise RunFolderError(f"{path} is a search, not a run: only runs are compared; `tale show` and `report` take it")
    return run


def refuse_repeated(paths: Sequence[Path]) -> None:
    """Refuse a folder that is given twice.

    Raises:
        UsageError: If two of the paths lead to one folder.
    """
    seen: dict[str, Path] = {}
    for path in paths:
        first = seen.setdefault(os.path.realpath(path), path)
        if first is not path:
            also = "" if str(first) == str(path) else f", as {first} and as {path}"
            raise UsageError(f"{first} is given twice{also}: a run is compared with other runs, give each folder once")


def named_apart(runs: Sequence[Run]) -> list[Run]:
    """Return runs under different names.

    Where program, model and data are the same, the name has the folder in it.
    """
    groups: defaultdict[tuple[object, ...], list[Run]] = defaultdict(list)
    for run in runs:
        groups[run.name, config_of(run).get("model"), data_name(run)].append(run)
    folders = {id(run): label for group in groups.values() if len(group) > 1 for run, label in _folder_labels(group)}
    return [run.renamed(f"{run.name} ({folders[id(run)]})") if id(run) in folders else run for run in runs]


def _folder_labels(runs: Sequence[Run]) -> list[tuple[Run, str]]:
    """Return each run that has a folder, with a label of it.

    A label is as much of the end of the path as makes the labels differ.
    """
    parts = [(run, run.path.absolute().parts) for run in runs if run.path is not None]
    labels: list[tuple[Run, str]] = []
    for count in range(1, max((len(names) for _, names in parts), default=0) + 1):
        labels = [(run, "/".join(names[-count:])) for run, names in parts]
        if len({label for _, label in labels}) == len(labels):
            break
    return labels
