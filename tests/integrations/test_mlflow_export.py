"""A run in MLflow has the figures of `tale report`; its autolog works beside this package."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import dspy
import mlflow
import pytest
from make_runs import make_run
from mlflow.tracking import MlflowClient

import tale_dspy
from tale_dspy.integrations.exports import export
from tale_dspy.integrations.mlflow_export import log_run
from tale_dspy.integrations.spans import BudgetSpans
from tale_dspy.reports.rows import run_row
from tale_dspy.runs.records import Run
from tale_dspy.testing import ScriptedServer, SolverReply, word_problems

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow's own

PROBLEMS = word_problems(8, seed=6)


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer(SolverReply({str(p["question"]): p["answer"] for p in PROBLEMS})) as running:
        yield running


@pytest.fixture(scope="module")
def run(server: ScriptedServer, tmp_path_factory: pytest.TempPathFactory) -> Run:
    examples = [dspy.Example(question=p["question"], answer=p["answer"]).with_inputs("question") for p in PROBLEMS]
    lm = tale_dspy.LM("openai/solver", api_base=server.url, api_key="none", cache=False)
    out = tmp_path_factory.mktemp("runs") / "a"
    return tale_dspy.evaluate(tale_dspy.TaleEP("question -> answer"), examples, lm=lm, out=out)


@pytest.mark.parametrize("is_file_store", [False, True], ids=["sqlite", "files"])
def test_the_run_is_there_with_the_figures_of_the_report(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_file_store: bool
) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", str(is_file_store).lower())
    before = mlflow.get_tracking_uri()
    assert run.path is not None
    (store,) = export(run.path, "mlflow", tmp_path / "ml")
    assert mlflow.get_tracking_uri() == before

    client = MlflowClient(tracking_uri=store.as_uri() if is_file_store else f"sqlite:///{store}")
    (experiment,) = [e for e in client.search_experiments() if e.name != "Default"]
    folders = {path.name for path in store.iterdir() if path.is_dir()} if is_file_store else set()
    assert folders - {".trash", "models"} == {e.experiment_id for e in client.search_experiments()} & folders
    (logged,) = client.search_runs([experiment.experiment_id])
    metrics, row = logged.data.metrics, run_row(run)
    assert (metrics["accuracy"], metrics["output_tokens"]) == (row.accuracy, row.output_tokens)
    assert (metrics["estimate_tokens"], metrics["net_tokens"]) == (row.estimate_tokens, row.net_tokens)
    assert row.accuracy_interval is not None
    assert (metrics["accuracy_low"], metrics["accuracy_high"]) == row.accuracy_interval
    assert metrics["output_tokens.estimate"] == sum(r.estimate_tokens or 0 for r in run.records)
    assert metrics["output_tokens.reason"] == sum(r.output_tokens or 0 for r in run.records)
    assert metrics["calls.estimate"] == len(PROBLEMS)
    assert (logged.data.params["model"], logged.data.tags["tale.provenance"]) == ("openai/solver", row.provenance)
    names = {artifact.path for artifact in client.list_artifacts(logged.info.run_id)}
    assert {"run.json", "records.jsonl", "calls.jsonl", "summary.json"} <= names


def test_shards_are_logged_with_their_roles_and_files(run: Run, tmp_path: Path) -> None:
    assert run.path is not None
    shutil.copytree(run.path, tmp_path / "sharded" / "shard-0001-of-0001")
    (store,) = export(tmp_path / "sharded", "mlflow", tmp_path / "ml")
    client = MlflowClient(tracking_uri=f"sqlite:///{store}")
    (experiment,) = [e for e in client.search_experiments() if e.name != "Default"]
    (logged,) = client.search_runs([experiment.experiment_id])
    assert logged.data.metrics["calls.estimate"] == logged.data.metrics["calls.reason"] == len(PROBLEMS)
    files = client.list_artifacts(logged.info.run_id, "shard-0001-of-0001")
    assert {Path(file.path).name for file in files} >= {"run.json", "records.jsonl", "calls.jsonl", "summary.json"}


def test_autolog_keeps_working_and_its_spans_have_the_budget(
    server: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'trace.db'}")
    mlflow.dspy.autolog()
    try:
        lm = tale_dspy.LM("openai/solver", api_base=server.url, api_key="none", cache=False)
        program = tale_dspy.TaleEP("question -> answer")
        with dspy.context(lm=lm, callbacks=[BudgetSpans(), *dspy.settings.callbacks]):
            pred = program(question=str(PROBLEMS[0]["question"]))
        mlflow.flush_trace_async_logging()
        trace = mlflow.get_trace(str(mlflow.get_last_active_trace_id()))
    finally:
        mlflow.dspy.autolog(disable=True)
        mlflow.set_tracking_uri(None)
    assert trace is not None
    (span,) = [span for span in trace.data.spans if span.name.startswith("TaleEP")]
    assert span.get_attribute("tale.budget.tokens") == pred.token_budget
    assert span.get_attribute("tale.output_tokens") == pred.output_tokens
    assert span.get_attribute("gen_ai.usage.output_tokens") == pred.output_tokens + pred.estimate_tokens
    (estimate,) = [span for span in trace.data.spans if span.name.startswith("BudgetEstimator")]
    assert estimate.get_attribute("tale.budget.tokens") == pred.token_budget


def test_names_of_settings_that_mlflow_refuses_are_changed(tmp_path: Path) -> None:
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    run_id = log_run(make_run("cw", settings={"a b{c}": 1, "größe": 2}), client, artifact_root=tmp_path)
    params = client.get_run(run_id).data.params
    assert params["settings.a b_c_"] == "1" and params["settings.größe"] == "2"
