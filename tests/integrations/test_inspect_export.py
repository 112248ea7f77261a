"""A run as a log of inspect_ai, read by inspect's own reader."""

import json
import shutil
from pathlib import Path

import dspy
import pytest
from inspect_ai.log import read_eval_log
from make_runs import make_record, make_run

import tale_dspy
from tale_dspy.integrations.exports import export
from tale_dspy.integrations.inspect_export import inspect_log
from tale_dspy.runs.records import Run
from tale_dspy.testing import ScriptedServer, SolverReply, word_problems

PROBLEMS = word_problems(8, seed=4)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    examples = [dspy.Example(question=p["question"], answer=p["answer"]).with_inputs("question") for p in PROBLEMS]
    with ScriptedServer(SolverReply({str(p["question"]): p["answer"] for p in PROBLEMS})) as server:
        lm = tale_dspy.LM("openai/solver", api_base=server.url, api_key="none", cache=False)
        program = tale_dspy.TaleEP("question -> answer")
        return tale_dspy.evaluate(program, examples, lm=lm, out=tmp_path_factory.mktemp("runs") / "a", repeats=2)


@pytest.mark.parametrize("suffix", ["eval", "json"])
def test_inspects_reader_gets_the_run_back(run: Run, tmp_path: Path, suffix: str) -> None:
    assert run.path is not None
    (path,) = export(run.path, "inspect", tmp_path / "logs" / f"run.{suffix}")
    log = read_eval_log(str(path))
    assert log.samples is not None
    assert log.results is not None
    records = {(record.id, record.repeat + 1): record for record in run.records}
    assert {(sample.id, sample.epoch) for sample in log.samples} == records.keys()
    for sample in log.samples:
        record = records[str(sample.id), sample.epoch]
        score = (sample.scores or {})["tale"]
        assert (sample.input, sample.target, score.answer) == (record.question, record.gold, record.answer)
        assert score.value == ("C" if record.correct else "I")
        assert sample.metadata["token_budget"] == record.token_budget
        assert next(iter(sample.model_usage.values())).output_tokens == record.net_tokens
    metrics = log.results.scores[0].metrics
    assert metrics["accuracy"].value == run.accuracy
    assert metrics["output_tokens_mean"].value == run.summary["output_tokens_mean"]


def test_estimate_and_answer_are_events_of_their_own(run: Run, tmp_path: Path) -> None:
    assert run.path is not None
    (path,) = export(run.path, "inspect", tmp_path / "run.eval")
    records = {(record.id, record.repeat + 1): record for record in run.records}
    for sample in read_eval_log(str(path)).samples or []:
        record = records[str(sample.id), sample.epoch]
        spans = {e.id: e.name for e in sample.events if e.event == "span_begin"}
        calls = [e for e in sample.events if e.event == "model"]
        assert [spans[str(e.span_id)] for e in calls] == ["estimate", "answer"]
        tokens = [e.output.usage.output_tokens for e in calls if e.output.usage]
        assert tokens == [record.estimate_tokens, record.output_tokens]
        assert calls[1].output.completion == record.reply
        times = [e.timestamp for e in sample.events]
        assert times == sorted(times)
        assert times[0].isoformat() == run.info["created"]
        assert (times[-1] - times[0]).total_seconds() == pytest.approx(
            sum(e.working_time or 0 for e in calls), abs=1e-3
        )
        assert {(e.metadata or {})["token_budget"] for e in calls} == {record.token_budget}


def test_shards_keep_their_calls_and_a_run_without_its_end_is_cancelled(run: Run, tmp_path: Path) -> None:
    assert run.path is not None
    shutil.copytree(run.path, tmp_path / "sharded" / "shard-0001-of-0001")
    (path,) = export(tmp_path / "sharded", "inspect", tmp_path / "shards.eval")
    log = read_eval_log(str(path))
    assert log.status == "success"
    assert [sum(e.event == "model" for e in s.events) for s in log.samples or []] == [2] * 16
    (tmp_path / "sharded" / "shard-0001-of-0001" / "summary.json").unlink()
    (path,) = export(tmp_path / "sharded", "inspect", tmp_path / "killed.eval")
    assert read_eval_log(str(path)).status == "cancelled"


def test_a_run_without_its_journal_has_no_events_but_its_scores(run: Run, tmp_path: Path) -> None:
    assert run.path is not None
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("run.json", "records.jsonl", "summary.json"):
        (copy / name).write_bytes((run.path / name).read_bytes())
    (path,) = export(copy, "inspect", tmp_path / "run.json")
    assert {e["event"] for s in json.loads(path.read_text())["samples"] for e in s["events"]} == {
        "sample_init",
        "score",
    }


def test_what_is_no_log_file_is_said(run: Run, tmp_path: Path) -> None:
    assert run.path is not None
    with pytest.raises(tale_dspy.UsageError, match=r"a .eval or .json file, got .*run.txt"):
        export(run.path, "inspect", tmp_path / "run.txt")


@pytest.mark.parametrize(
    ("answer", "gold", "texts"),
    [(12, 12.5, ("12", "12.5")), (["a", "é"], None, ('["a", "é"]', "")), (None, "x", (None, "x"))],
)
def test_answers_that_are_no_texts_and_errors_are_written(
    answer: object, gold: object, texts: tuple[str | None, str]
) -> None:
    record = make_record(0, answer=answer, gold=gold, outcome="error", error="LMError: no reply", reply=None)
    (sample,) = inspect_log(make_run([record])).samples or []
    assert sample.scores is not None and (sample.scores["tale"].answer, sample.target) == texts
    assert sample.error is not None and sample.error.message == "LMError: no reply"
