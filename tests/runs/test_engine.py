"""The run engine against a server that misbehaves, under caps, and stopped in the middle."""

import json
from pathlib import Path
from typing import Any
from weakref import WeakSet

import dspy
import pytest
from scripted_runs import BANK, CHEAP, PROBLEMS, counted, examples, model, solver
from tqdm import tqdm

import tale_dspy
from tale_dspy.errors import BackendError, DataError, UnpricedModelError, UsageError
from tale_dspy.testing import Faults, Reply, Request, ScriptedServer


@pytest.mark.parametrize("engine", ["auto", "litellm"])
def test_totals_equal_the_servers_own_counts(engine: str, tmp_path: Path) -> None:
    with solver() as server:
        program = tale_dspy.TaleEP("question -> answer")
        run = tale_dspy.evaluate(program, examples(), lm=model(server, engine), out=tmp_path / "run")
        assert counted(run) == server.stats.completion_tokens
        assert sum(r.prompt_tokens or 0 for r in run.records) == server.stats.prompt_tokens
        assert run.summary["calls"] == run.summary["paid_calls"] == server.stats.requests == 40


@pytest.mark.parametrize("engine", ["auto", "litellm"])
def test_a_second_run_from_the_cache_reports_the_same_tokens_and_pays_nothing(engine: str) -> None:
    with solver() as server:
        lm = model(server, engine, cache=True)
        first = tale_dspy.evaluate(tale_dspy.VanillaCoT("question -> answer"), examples(), lm=lm, price=CHEAP)
        requests_before = server.stats.requests
        again = tale_dspy.evaluate(tale_dspy.VanillaCoT("question -> answer"), examples(), lm=lm, price=CHEAP)
        assert server.stats.requests == requests_before
        assert counted(again) == counted(first)
        assert again.summary["cost_usd"] == 0.0
        assert again.summary["saved_cost_usd"] == pytest.approx(first.summary["cost_usd"])
        assert again.summary["cached_calls"] == 20
        assert again.summary["latency_p50"] is None


@pytest.mark.parametrize("engine", ["auto", "litellm"])
def test_every_fault_ends_in_an_outcome_and_totals_stay_right(engine: str, tmp_path: Path) -> None:
    import litellm  # noqa: F401  its import takes seconds, which are none of an attempt's

    share = 0.2 / 7
    faults = Faults(
        rate_limited=share,
        server_error=share,
        dropped=share,
        hung=share,
        malformed=share,
        null_content=share,
        cut=share,
    )
    with solver(faults=faults) as server:
        lm = model(server, engine, timeout=5)
        run = tale_dspy.evaluate(tale_dspy.VanillaCoT("question -> answer"), examples(60), lm=lm, out=tmp_path / "run")
        assert len(run.records) == 60
        assert sum(run.summary["outcomes"].values()) == 60
        assert run.summary["outcomes"]["error"] == 0
        assert counted(run) == server.stats.completion_tokens


def test_a_question_that_always_fails_ends_as_error_and_not_the_run(tmp_path: Path) -> None:
    def reply(request: Request) -> Reply | str:
        return Reply("", status=400) if PROBLEMS[3]["question"] in request.prompt else "Answer: [[1]]"

    with ScriptedServer(reply) as server:
        lm = model(server)
        run = tale_dspy.evaluate(tale_dspy.VanillaCoT("question -> answer"), examples(), lm=lm, concurrency=1)
        bad = [r for r in run.records if r.outcome == "error"]
        assert len(run.records) == 20
        assert [r.question for r in bad] == [PROBLEMS[3]["question"]]
        assert (bad[0].error and "400" in bad[0].error) or bad[0].output_tokens is None


@pytest.mark.parametrize(
    ("faults", "said"),
    [(Faults(unauthorized=True), "refuses"), (Faults(not_found=True), "refuses"), (Faults(quota=True), "refuses")],
)
def test_a_refusal_of_everything_ends_the_run_at_once(faults: Faults, said: str, tmp_path: Path) -> None:
    with solver(faults=faults) as server:
        with pytest.raises(BackendError, match=said):
            tale_dspy.evaluate(
                tale_dspy.VanillaCoT("question -> answer"),
                examples(60),
                lm=model(server),
                out=tmp_path / "run",
                concurrency=4,
            )
        assert server.stats.requests <= 4
    assert (tmp_path / "run" / "records.jsonl").read_text() == ""


def test_bad_requests_only_end_the_run_after_a_few(tmp_path: Path) -> None:
    with solver(faults=Faults(bad_request=True)) as server:
        with pytest.raises(BackendError, match="no question could be answered"):
            tale_dspy.evaluate(
                tale_dspy.VanillaCoT("question -> answer"), examples(60), lm=model(server), concurrency=2
            )
        assert server.stats.requests <= 10


def test_a_cap_in_dollars_holds_with_32_callers(tmp_path: Path) -> None:
    with solver(latency=0.01) as server:
        lm = model(server, max_tokens=200)
        run = tale_dspy.evaluate(
            tale_dspy.VanillaCoT("question -> answer"),
            examples(60),
            lm=lm,
            max_usd=0.006,
            price=CHEAP,
            out=tmp_path / "run",
        )
        stats = server.stats
        assert stats.prompt_tokens * CHEAP.input + stats.completion_tokens * CHEAP.output <= 0.006
        assert run.stopped == "cap" and 0 < len(run.records) < 60
        assert run.message and "max_usd=0.006" in run.message
        rest = tale_dspy.evaluate(
            tale_dspy.VanillaCoT("question -> answer"), examples(60), lm=lm, price=CHEAP, out=tmp_path / "run"
        )
        assert len(rest.records) == 60 and rest.stopped is None
        assert stats.requests == 60


def test_a_cap_sends_a_limit_with_each_call_that_sets_none() -> None:
    with solver() as server:
        tale_dspy.evaluate(
            tale_dspy.DirectAnswer("question -> answer"), examples(2), lm=model(server), max_total_output_tokens=9000
        )
        assert {r.body.get("max_tokens") or r.body.get("max_completion_tokens") for r in server.requests} == {4096}


def test_a_model_without_a_price_is_refused_under_a_cap_in_dollars() -> None:
    with solver() as server:
        with pytest.raises(UnpricedModelError, match="--price-in"):
            tale_dspy.evaluate(tale_dspy.DirectAnswer("question -> answer"), examples(), lm=model(server), max_usd=1.0)
        assert server.stats.requests == 0


def test_repeats_are_fresh_draws_even_with_a_cache() -> None:
    def reply(request: Request) -> str:
        return f"Answer: [[{BANK[PROBLEMS[0]['question']] if request.seen == 0 else 'x'}]]"

    with ScriptedServer(reply) as server:
        lm = model(server, cache=True)
        run = tale_dspy.evaluate(tale_dspy.DirectAnswer("question -> answer"), examples(1), lm=lm, repeats=3)
        assert server.stats.requests == 3
        assert run.summary["accuracy"] == pytest.approx(1 / 3)
        assert run.summary["n"] == 1 and run.summary["repeats"] == 3


def test_identical_rows_are_separate_questions() -> None:
    with solver() as server:
        run = tale_dspy.evaluate(tale_dspy.DirectAnswer("question -> answer"), examples(1) * 3, lm=model(server))
        first = run.records[0].id.partition("-")[0]
        assert sorted(r.id for r in run.records) == [first, f"{first}-2", f"{first}-3"]


def test_a_program_that_raises_is_an_error_and_a_metric_that_raises_too() -> None:
    class Broken(dspy.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.inner = tale_dspy.DirectAnswer("question -> answer")

        def forward(self, question: str) -> Any:
            self.inner(question=question)
            raise KeyError("mine")

    def metric(example: Any, pred: Any, trace: Any = None) -> bool:
        raise ZeroDivisionError("theirs")

    with solver() as server:
        lm = model(server)
        run = tale_dspy.evaluate(Broken(), examples(12), lm=lm)
        assert {r.outcome for r in run.records} == {"error"}
        assert run.records[0].error == "KeyError: 'mine'"
        run = tale_dspy.evaluate(tale_dspy.DirectAnswer("question -> answer"), examples(2), lm=lm, metric=metric)
        assert {r.error for r in run.records} == {"metric: ZeroDivisionError: theirs"}


@pytest.mark.parametrize("score", [0.5, dspy.Prediction(score=0.5, feedback="half")])
def test_a_score_is_kept_and_correct_from_the_threshold_on(score: Any) -> None:
    with solver() as server:
        program = tale_dspy.DirectAnswer("question -> answer")
        for threshold, outcome in ((0.5, "correct"), (0.6, "wrong")):
            run = tale_dspy.evaluate(
                program, examples(2), lm=model(server), metric=lambda e, p, trace=None: score, threshold=threshold
            )
            assert {(r.outcome, r.score) for r in run.records} == {(outcome, 0.5)}


def test_calls_of_the_metric_are_booked_under_its_role() -> None:
    with solver() as server:
        judge = dspy.Predict("question -> verdict")
        lm = model(server)

        def metric(example: Any, pred: Any, trace: Any = None) -> bool:
            return bool(judge(question="is it right?").verdict)

        run = tale_dspy.evaluate(tale_dspy.DirectAnswer("question -> answer"), examples(3), lm=lm, metric=metric)
        assert (
            sum((r.output_tokens or 0) + (r.metric_tokens or 0) for r in run.records) == server.stats.completion_tokens
        )
        assert all(r.metric_tokens and r.output_tokens for r in run.records)


def test_the_users_program_and_lm_are_left_untouched() -> None:
    with solver() as server:
        lm = model(server)
        program = tale_dspy.VanillaCoT("question -> answer")
        program.set_lm(lm)
        before = (type(lm), dict(lm.kwargs), lm.num_retries, len(lm.history))
        tale_dspy.evaluate(program, examples(3))
        assert (type(lm), dict(lm.kwargs), lm.num_retries, len(lm.history)) == before
        assert program.predict.lm is lm
        assert server.stats.requests == 3


def test_lms_held_anywhere_in_the_program_are_booked() -> None:
    class Two(dspy.Module):  # type: ignore[misc]
        def __init__(self, lm: Any) -> None:
            super().__init__()
            self.answer = dspy.Predict("question -> answer")
            self.judges = [lm]

        def forward(self, question: str) -> Any:
            self.judges[0]("say something")
            return self.answer(question=question)

    with solver() as server:
        lm = model(server)
        run = tale_dspy.evaluate(Two(lm), examples(4), lm=lm)
        assert counted(run) == server.stats.completion_tokens
        assert run.summary["calls"] == 8


class _KeptBars(WeakSet[Any]):
    """The bars of tqdm, which `dspy.Parallel` forgets whenever one starts: even one that another thread just makes."""

    def clear(self) -> None:
        pass


def test_threads_started_by_dspy_inside_a_program_are_booked_under_its_question(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tqdm, "_instances", _KeptBars())  # else a KeyError of tqdm, one time in some thousands

    class Wide(dspy.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.answer = tale_dspy.DirectAnswer("question -> answer")

        def forward(self, question: str) -> Any:
            pairs = [(self.answer, dspy.Example(question=question).with_inputs("question"))] * 3
            return dspy.Parallel(num_threads=3, disable_progress_bar=True)(pairs)[0]

    with solver() as server:
        run = tale_dspy.evaluate(Wide(), examples(4), lm=model(server, timeout=60.0))
        assert [r.calls for r in run.records] == [3, 3, 3, 3]
        assert counted(run) == server.stats.completion_tokens


def test_truncated_empty_and_unreadable_are_outcomes_of_their_own() -> None:
    replies = [
        Reply("I think that", finish_reason="length"),
        Reply(None, finish_reason="length", reasoning="hm " * 50),
        Reply("no idea whatsoever"),
        Reply(f"Answer: [[{PROBLEMS[3]['answer']}]]"),
    ]
    by_question = {PROBLEMS[i]["question"]: replies[i] for i in range(4)}
    with ScriptedServer(lambda request: next(r for q, r in by_question.items() if q in request.prompt)) as server:
        run = tale_dspy.evaluate(tale_dspy.VanillaCoT("question -> answer"), examples(4), lm=model(server))
        outcomes = {r.question: r.outcome for r in run.records}
        assert [outcomes[PROBLEMS[i]["question"]] for i in range(4)] == ["truncated", "empty", "unreadable", "correct"]


def test_the_adapters_of_dspy_end_in_outcomes_too() -> None:
    with ScriptedServer("nothing of use") as server:
        run = tale_dspy.evaluate(
            dspy.ChainOfThought("question -> answer"), examples(3), lm=model(server), adapter=dspy.ChatAdapter()
        )
        assert run.summary["outcomes"]["unreadable"] == 3
        assert counted(run) == server.stats.completion_tokens


def test_no_key_reaches_the_folder(tmp_path: Path) -> None:
    with solver() as server:
        lm = tale_dspy.LM(
            "openai/scripted",
            api_base=server.url.replace("://", "://user:hunter2@"),
            api_key="sk-secret",
            engine="auto",
        )
        lm.kwargs["api_base"] = server.url
        tale_dspy.evaluate(tale_dspy.DirectAnswer("question -> answer"), examples(2), lm=lm, out=tmp_path / "run")
    text = "".join(p.read_text() for p in (tmp_path / "run").iterdir())
    assert "sk-secret" not in text and "hunter2" not in text


@pytest.mark.parametrize(
    ("rows", "said"), [([], "no question"), ([dspy.Example(question="q")], "with_inputs"), (["x"], "dspy.Example")]
)
def test_examples_that_cannot_be_asked_are_refused(rows: list[Any], said: str) -> None:
    with solver() as server, pytest.raises(DataError, match=said):
        tale_dspy.evaluate(tale_dspy.DirectAnswer("question -> answer"), rows, lm=model(server))


def test_a_program_without_any_lm_is_refused() -> None:
    with pytest.raises(UsageError, match="no language model"):
        tale_dspy.evaluate(tale_dspy.DirectAnswer("question -> answer"), examples())


@pytest.mark.parametrize(
    "option", [{"concurrency": 0}, {"repeats": 0}, {"retries": -1}, {"max_usd": 0}, {"timeout": -1}]
)
def test_options_out_of_range_are_named(option: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(option))):
        tale_dspy.evaluate(tale_dspy.DirectAnswer("question -> answer"), examples(), **option)


def test_questions_the_program_was_tuned_on_are_refused_or_marked() -> None:
    with solver() as server:
        program = tale_dspy.DirectAnswer("question -> answer")
        from tale_dspy.datasets import example_ids

        program.seen.add(example_ids(examples(2), "answer"), "train")
        with pytest.raises(UsageError, match="2 of 5 questions were used"):
            tale_dspy.evaluate(program, examples(5), lm=model(server))
        run = tale_dspy.evaluate(program, examples(5), lm=model(server), allow_leak=True)
        assert run.info["contaminated"] is True


def test_progress_counts_up_to_the_total() -> None:
    progress: list[tuple[int, int]] = []
    with solver() as server:
        tale_dspy.evaluate(
            tale_dspy.DirectAnswer("question -> answer"),
            examples(5),
            lm=model(server),
            progress=lambda tally: progress.append((tally.done, tally.total)),
        )
    assert progress[0] == (0, 5) and progress[-1] == (5, 5)


def test_calls_are_journalled_with_the_contracts_keys(tmp_path: Path) -> None:
    with solver() as server:
        tale_dspy.evaluate(
            tale_dspy.DirectAnswer("question -> answer"), examples(1), lm=model(server), out=tmp_path / "run"
        )
    row = json.loads((tmp_path / "run" / "calls.jsonl").read_text())
    wanted = {"key", "step", "attempt", "paid", "cached", "reply", "usage", "usage_source", "cost", "finish_reason"}
    assert wanted | {"error"} <= row.keys()
    record = json.loads((tmp_path / "run" / "records.jsonl").read_text())
    assert {"id", "question", "gold", "reply", "answer", "outcome", "token_budget", "output_tokens"} <= record.keys()


@pytest.mark.parametrize("engine", ["auto", "litellm"])
def test_a_track_block_around_a_run_books_every_call(engine: str) -> None:
    with solver() as server, tale_dspy.track(max_total_output_tokens=100_000) as ledger:
        run = tale_dspy.evaluate(tale_dspy.TaleEP("question -> answer"), examples(10), lm=model(server, engine))
        assert len(run.records) == 10
        assert ledger.output_tokens == server.stats.completion_tokens == counted(run)
