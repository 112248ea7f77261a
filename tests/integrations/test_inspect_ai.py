"""The solvers in a real `inspect eval` ask the same and get the same as this package's own runs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dspy
import pytest
from inspect_ai import Task, eval
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.log import EvalLog
from inspect_ai.solver import Solver

import tale_dspy
from tale_dspy.integrations.inspect_ai import KEY, budgeted_cot, questions, tale_answer, tale_ep, vanilla_cot
from tale_dspy.runs.records import Run
from tale_dspy.testing import Reply, ScriptedServer, SolverReply, word_problems
from tests.integrations.programs import regression_program, saved

pytestmark = pytest.mark.filterwarnings("ignore")  # those of inspect_ai and of its packages

PROBLEMS = word_problems(12, seed=3)


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer(SolverReply({str(p["question"]): p["answer"] for p in PROBLEMS}), record=400) as running:
        yield running


@pytest.fixture(autouse=True)
def _quiet(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.reset()
    monkeypatch.setenv("INSPECT_DISPLAY", "none")
    monkeypatch.setenv("SCRIPTED_BASE_URL", server.url)
    monkeypatch.setenv("SCRIPTED_API_KEY", "none")
    monkeypatch.setenv("OPENAI_API_KEY", "none")


def inspected(folder: Path, solver: Solver, model: str = "openai-api/scripted/solver", **config: Any) -> EvalLog:
    samples = [Sample(input=str(p["question"]), target=str(p["answer"])) for p in PROBLEMS]
    task = Task(dataset=MemoryDataset(samples), solver=solver, scorer=tale_answer())
    (log,) = eval(task, model=model, log_dir=str(folder / "logs"), **config)
    assert log.status == "success", log.error
    return log


def ours(folder: Path, program: dspy.Module, server: ScriptedServer) -> Run:
    examples = [dspy.Example(question=p["question"], answer=p["answer"]).with_inputs("question") for p in PROBLEMS]
    lm = tale_dspy.LM("openai/solver", api_base=server.url, api_key="none", cache=False)
    return tale_dspy.evaluate(program, examples, lm=lm, out=folder / "run")


def by_question(run: Run) -> dict[str | None, tuple[object, ...]]:
    return {r.question: (r.correct, r.token_budget, r.output_tokens, r.estimate_tokens) for r in run.records}


def by_sample(log: EvalLog) -> dict[str | None, tuple[object, ...]]:
    scores: dict[str | None, tuple[object, ...]] = {}
    for sample in log.samples or []:
        assert sample.scores is not None
        note = sample.metadata.get(KEY, {})
        right = sample.scores["tale_answer"].value == "C"
        usage = sample.output.usage
        assert usage is not None
        scores[str(sample.input)] = (right, note.get("token_budget"), usage.output_tokens, note.get("estimate_tokens"))
    return scores


@pytest.mark.parametrize(
    ("solver", "program"),
    [
        (tale_ep(scale=1.5, floor=10), tale_dspy.TaleEP("question -> answer", scale=1.5, floor=10)),
        (budgeted_cot(budget=40), tale_dspy.BudgetedChainOfThought("question -> answer", 40)),
        (vanilla_cot(), tale_dspy.VanillaCoT("question -> answer")),
    ],
    ids=["tale-ep", "budget", "cot"],
)
def test_score_tokens_and_prompts_are_those_of_our_own_run(
    tmp_path: Path, server: ScriptedServer, solver: Solver, program: dspy.Module
) -> None:
    run = ours(tmp_path, program, server)
    prompts = sorted(r.prompt for r in server.requests)
    systems = {r.system for r in server.requests}
    server.reset()
    log = inspected(tmp_path, solver)
    assert by_sample(log) == by_question(run)
    assert 0 < sum(right for right, *_ in by_sample(log).values()) <= len(PROBLEMS)
    assert sorted(r.prompt for r in server.requests) == prompts
    assert {r.system for r in server.requests} == systems
    assert log.results is not None
    assert log.results.scores[0].metrics["accuracy"].value == run.accuracy


def test_the_estimate_is_an_event_in_a_span_of_its_own(tmp_path: Path) -> None:
    (sample, *_) = inspected(tmp_path, tale_ep()).samples or []
    spans = {e.id: e.name for e in sample.events if e.event == "span_begin" and e.type == KEY}
    models = [(spans.get(e.span_id), e.output.usage.output_tokens) for e in sample.events if e.event == "model"]
    assert [name for name, _ in models] == ["estimate", "answer"]
    assert models[0][1] == sample.metadata[KEY]["estimate_tokens"]
    assert sum(tokens for _, tokens in models) == next(iter(sample.model_usage.values())).output_tokens


def test_the_budgets_of_a_saved_program(tmp_path: Path) -> None:
    program = regression_program()
    log = inspected(tmp_path, budgeted_cot(program=str(saved(program, tmp_path))))
    budgets = {question: row[1] for question, row in by_sample(log).items()}
    assert budgets == {str(p["question"]): program.budget_for(question=p["question"]).tokens for p in PROBLEMS}


def test_the_limits_of_inspect_hold(tmp_path: Path) -> None:
    log = inspected(tmp_path, tale_ep(), token_limit=8)
    assert {sample.limit.type for sample in log.samples or [] if sample.limit} == {"token"}


def test_a_thinking_model_gets_its_control_by_inspects_own_settings(tmp_path: Path) -> None:
    with ScriptedServer(lambda request: Reply("Budget: [[30]] Answer: [[4]]"), record=100) as server:
        settings = {"model": "openai/gpt-5-mini", "model_base_url": server.url, "model_args": {"responses_api": False}}
        log = inspected(tmp_path, budgeted_cot(budget=50), **settings)
        assert {r.body.get("reasoning_effort") for r in server.requests} == {"minimal"}
        assert {note[KEY]["mode"] for note in (s.metadata for s in log.samples or [])} == {"native"}
        server.reset()
        inspected(tmp_path, budgeted_cot(budget=50), **settings, reasoning_effort="high")
        assert {r.body.get("reasoning_effort") for r in server.requests} == {"high"}
        server.reset()
        inspected(tmp_path, budgeted_cot(budget="low"), **settings)
        assert {r.body.get("reasoning_effort") for r in server.requests} == {"low"}
        assert not any("tokens" in r.prompt for r in server.requests)


def test_the_task_asks_a_data_set_of_ours(tmp_path: Path, server: ScriptedServer) -> None:
    (log,) = eval(
        questions("embedded:test", limit=3), model="openai-api/scripted/solver", log_dir=str(tmp_path / "logs")
    )
    assert (log.status, log.eval.dataset.name, log.results and log.results.total_samples) == (
        "success",
        "embedded:test",
        3,
    )


def test_options_are_asked_as_a_choice(tmp_path: Path) -> None:
    with ScriptedServer("The capital is Paris. Choice: [[B]]", record=10) as server:
        task = Task(
            dataset=MemoryDataset([Sample(input="Capital of France?", choices=["Rome", "Paris"], target="B")]),
            solver=budgeted_cot(budget=30, prompt="choice"),
            scorer=tale_answer("choice"),
        )
        (log,) = eval(
            task, model="openai/gpt-4o-mini", model_base_url=server.url, model_args={"responses_api": False},
            log_dir=str(tmp_path / "logs"),
        )  # fmt: skip
        assert "Capital of France?\nA. Rome\nB. Paris" in server.requests[0].prompt
    assert log.results is not None
    assert log.results.scores[0].metrics["accuracy"].value == 1.0


def test_what_gives_no_budget_is_refused(tmp_path: Path) -> None:
    with pytest.raises(tale_dspy.UsageError, match="exactly one of budget and program, got neither"):
        budgeted_cot()
    with pytest.raises(tale_dspy.UsageError):
        budgeted_cot(budget="much")
    asking = budgeted_cot(program=str(saved(tale_dspy.TaleEP("question -> answer"), tmp_path)))
    samples = [Sample(input="2+2?", target="4")]
    task = Task(dataset=MemoryDataset(samples), solver=asking, scorer=tale_answer())
    (log,) = eval(task, model="openai-api/scripted/solver", log_dir=str(tmp_path / "logs"))
    assert log.error is not None
    assert "take the solver tale_ep" in log.error.message
