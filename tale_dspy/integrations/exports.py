"""What `tale export SOURCE --to NAME` can write: one entry a format.

A format takes the path of a saved program or of a run folder, and a path to write to. Its package is loaded only when
it writes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tale_dspy.errors import UsageError
from tale_dspy.integrations.inspect_export import write_inspect_log
from tale_dspy.integrations.json_policy import write_json_policy
from tale_dspy.integrations.mlflow_export import write_mlflow_run
from tale_dspy.integrations.parquet_export import write_parquet
from tale_dspy.integrations.proxy_export import write_proxy_folder


@dataclass(frozen=True)
class ExportFormat:
    """One format."""

    source: Literal["program", "run"]
    """What it is made of: a saved program's `.json`, or a run folder."""
    write: Callable[[Path, Path], list[Path]]
    """Takes the source and the target, and returns the files that were written."""
    summary: str
    """What comes out, for the help of the command."""


EXPORT_FORMATS: dict[str, ExportFormat] = {
    "litellm": ExportFormat("program", write_proxy_folder, "a LiteLLM proxy with the program's budgets"),
    "json-policy": ExportFormat("program", write_json_policy, "the budgets as JSON, with a reader in JavaScript"),
    "inspect": ExportFormat("run", write_inspect_log, "an eval log that `inspect view` opens (.eval or .json)"),
    "mlflow": ExportFormat("run", write_mlflow_run, "a run in a store of MLflow's, made in a folder"),
    "parquet": ExportFormat("run", write_parquet, "the records of a run, or the rows of a search, as one table"),
}


_SOURCES = {"program": "saved program (.json)", "run": "run folder"}


def export(source: str | Path, to: str, out: str | Path) -> list[Path]:
    """Write a saved program or a run in another tool's format.

    Args:
        source: A saved program's `.json` or a run folder, whichever the format takes.
        to: A name of `EXPORT_FORMATS`.
        out: The file or folder to write to; its parents are made.

    Returns:
        The files that were written.

    Raises:
        UsageError: If there is no such format, or the source is not what it takes, or `out` holds something else.
    """
    if to not in EXPORT_FORMATS:
        raise UsageError(f"to must be one of {', '.join(EXPORT_FORMATS)}, got {to!r}")
    chosen, path = EXPORT_FORMATS[to], Path(source)
    if chosen.source == "program" and path.suffix != ".json":
        raise UsageError(f"{to} is made of a {_SOURCES['program']}, got {path}")
    if chosen.source == "run" and not path.exists():
        raise UsageError(f"{path} does not exist: {to} is made of a {_SOURCES['run']}")
    if chosen.source == "run" and not path.is_dir():
        raise UsageError(f"{to} is made of a {_SOURCES['run']}, got {path}")
    return chosen.write(path, Path(out))
