"""Export a run to MLflow.

It exports its settings, the figures of `tale report`, the spend of each role, and its files.

It uses MLflow's client, so that neither the tracking server nor the active run of the caller's process changes.
"""

import re
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from tale_dspy.errors import MissingExtraError
from tale_dspy.output_paths import check_folder
from tale_dspy.reports.rows import run_row
from tale_dspy.runs.records import Run, load_run
from tale_dspy.runs.run_calls import iter_calls

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

ARTIFACTS = ("run.json", "records.jsonl", "calls.jsonl", "summary.json", "config.toml")
"""Files of a run folder that go with it, as far as they are there."""
_REFUSED_IN_KEYS = re.compile(r"[^\w\-. :/]")
"""Characters that MLflow takes in no name of a parameter; a user's settings may have any."""


def write_mlflow_run(source: Path, out: Path) -> list[Path]:
    """Log a run to an MLflow store in a folder.

    The store is a SQLite file, or MLflow's file store where `$MLFLOW_ALLOW_FILE_STORE` is true. Each call logs a run of
    its own.

    Args:
        source: The run folder, or a folder of shards.
        out: The folder; `mlflow ui --backend-store-uri sqlite:///OUT/mlflow.db` shows it.

    Returns:
        The store.

    Raises:
        UsageError: If a file is there.
        MissingExtraError: If MLflow is not installed.
    """
    check_folder(out, "store of MLflow")
    try:
        from mlflow.environment_variables import MLFLOW_ALLOW_FILE_STORE
        from mlflow.tracking import MlflowClient
    except ImportError as error:
        raise MissingExtraError("mlflow", "mlflow") from error
    out.mkdir(parents=True, exist_ok=True)
    folder = out.resolve()
    store = folder if MLFLOW_ALLOW_FILE_STORE.get() else folder / "mlflow.db"
    uri = folder.as_uri() if store == folder else f"sqlite:///{store}"
    # In a file store every folder is an experiment, and each experiment keeps its files itself.
    artifact_root = None if store == folder else folder / "artifacts"
    log_run(load_run(source), MlflowClient(tracking_uri=uri), artifact_root=artifact_root)
    return [store]


def log_run(run: Run, client: "MlflowClient", *, artifact_root: Path | None = None) -> str:
    """Log a run to any tracking server, in the experiment named after its data.

    Args:
        run: A run with a folder; one without has no files and no figures by role.
        client: The server, such as `MlflowClient()`.
        artifact_root: Where a new experiment keeps its files; None leaves it to the server.

    Returns:
        MLflow's id of the run.
    """
    from mlflow.entities import Metric, Param, RunTag

    row = run_row(run)
    name = row.data or "questions"
    experiment = client.get_experiment_by_name(name)
    location = None if artifact_root is None else (artifact_root / name.replace("/", "-")).as_uri()
    experiment_id = experiment.experiment_id if experiment else client.create_experiment(name, location)
    created = client.create_run(experiment_id, run_name=f"{row.program} {row.model or ''}".strip())
    run_id: str = created.info.run_id
    now = int(1000 * time.time())
    notes = [RunTag(f"tale.note.{number}", note) for number, note in enumerate(row.notes)]
    numbers = {**dict(_run_figures(run)), **dict(_spent_by_role(run))}
    client.log_batch(
        run_id,
        metrics=[Metric(key, float(value), now, 0) for key, value in numbers.items()],
        params=[
            Param(_REFUSED_IN_KEYS.sub("_", key), str(value)[:500])
            for key, value in _run_parameters(run).items()
            if value is not None
        ],
        tags=[RunTag("tale.provenance", row.provenance), *notes],
    )
    folders = () if run.path is None else dict.fromkeys((run.path, *run.parts))  # shards lie inside the run's folder
    for folder in folders:
        inside = None if folder == run.path else folder.name
        for path in (folder / artifact for artifact in ARTIFACTS):
            if path.is_file():
                client.log_artifact(run_id, str(path), inside)
    client.set_terminated(run_id, "KILLED" if run.stopped else "FINISHED")
    return run_id


def _run_figures(run: Run) -> Iterator[tuple[str, float]]:
    """Yield the figures of the report and of the summary by name.

    Intervals are named `..._low` and `..._high`.
    """
    figures = {**run.summary, **asdict(run_row(run))}
    for name, value in figures.items():
        if name.endswith("_interval") and value is not None:
            yield from zip((f"{name.removesuffix('_interval')}_{end}" for end in ("low", "high")), value, strict=True)
        elif name == "outcomes" and isinstance(value, dict):
            yield from ((f"outcomes.{outcome}", count) for outcome, count in value.items())
        elif isinstance(value, int | float):
            yield name, value


def _spent_by_role(run: Run) -> Iterator[tuple[str, float]]:
    """Yield calls, output tokens and dollars of each role.

    The roles are `reason`, `estimate`, `recovery` and `metric`.
    """
    if run.path is None:
        return
    totals: dict[str, float] = {}
    for call in iter_calls(run):
        role, usage = call.get("role"), call.get("usage") or {}
        if role is None or call.get("error") is not None:
            continue
        for name, value in (
            ("calls", 1),
            ("output_tokens", usage.get("output_tokens")),
            ("prompt_tokens", usage.get("prompt_tokens")),
            ("cost_usd", call.get("cost")),
        ):
            if value is not None:
                totals[f"{name}.{role}"] = totals.get(f"{name}.{role}", 0) + value
    yield from totals.items()


def _run_parameters(run: Run) -> dict[str, object]:
    """Return what decides the result, one level deep.

    Names are such as `data.name` and `settings.temperature`.
    """
    parameters: dict[str, object] = {"program": run.name}
    for name, value in run.info["config"].items():
        if isinstance(value, dict):
            parameters.update({f"{name}.{inner}": part for inner, part in value.items()})
        else:
            parameters[name] = value
    return parameters
