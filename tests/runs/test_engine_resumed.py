"""The run engine on a folder that is there: finished, cut off, with errors, or of another run."""

import threading
from pathlib import Path
from typing import Any

import pytest
from scripted_runs import CHEAP, PROBLEMS, counted, examples, model, solver

import tale_dspy
from tale_dspy.errors import RunFolderError
from tale_dspy.testing import Reply, Request, ScriptedServer


def test_a_finished_run_is_resumed_with_no_request(tmp_path: Path) -> None:
    with solver() as server:
        kwargs: dict[str, Any] = {"lm": model(server), "out": tmp_path / "run"}
        first = tale_dspy.evaluate(tale_dspy.TaleEP("question -> answer"), examples(), **kwargs)
        requests_before = server.stats.requests
        again = tale_dspy.evaluate(tale_dspy.TaleEP("question -> answer"), examples(), **kwargs)
        assert server.stats.requests == requests_before
        assert [r.to_json() for r in again.records] == [r.to_json() for r in first.records]
        assert tale_dspy.load_run(tmp_path / "run").summary["accuracy"] == first.summary["accuracy"]


def test_answers_of_unfinished_questions_are_replayed_from_the_journal(tmp_path: Path) -> None:
    with solver() as server:
        kwargs: dict[str, Any] = {"lm": model(server), "out": tmp_path / "run", "price": CHEAP}
        first = tale_dspy.evaluate(tale_dspy.TaleEP("question -> answer"), examples(), **kwargs)
        requests_before = server.stats.requests
        records = tmp_path / "run" / "records.jsonl"
        lines = records.read_bytes().splitlines(keepends=True)
        records.write_bytes(b"".join(lines[:5]) + lines[5][:40])  # killed in the middle of a line
        again = tale_dspy.evaluate(tale_dspy.TaleEP("question -> answer"), examples(), **kwargs)
        assert server.stats.requests == requests_before
        assert sorted(r.id for r in again.records) == sorted(r.id for r in first.records)
        assert counted(again) == counted(first)
        assert again.summary["cost_usd"] == pytest.approx(first.summary["cost_usd"])


def test_another_configuration_is_refused_and_nothing_is_overwritten(tmp_path: Path) -> None:
    with solver() as server:
        out = tmp_path / "run"
        tale_dspy.evaluate(tale_dspy.VanillaCoT("question -> answer"), examples(), lm=model(server), out=out)
        before = (out / "records.jsonl").read_bytes()
        with pytest.raises(RunFolderError, match=r"settings\.temperature was null, now 0\.5"):
            tale_dspy.evaluate(
                tale_dspy.VanillaCoT("question -> answer"), examples(), lm=model(server, temperature=0.5), out=out
            )
        assert (out / "records.jsonl").read_bytes() == before


def test_errors_of_an_earlier_process_are_asked_again_on_demand(tmp_path: Path) -> None:
    broken = threading.Event()

    def reply(request: Request) -> Reply | str:
        bad = PROBLEMS[1]["question"] in request.prompt and not broken.is_set()
        return Reply("", status=400) if bad else "Answer: [[1]]"

    with ScriptedServer(reply) as server:
        kwargs: dict[str, Any] = {"lm": model(server), "out": tmp_path / "run", "concurrency": 1}
        program = tale_dspy.DirectAnswer("question -> answer")
        assert tale_dspy.evaluate(program, examples(4), **kwargs).summary["outcomes"]["error"] == 1
        broken.set()
        assert tale_dspy.evaluate(program, examples(4), **kwargs).summary["outcomes"]["error"] == 1
        again = tale_dspy.evaluate(program, examples(4), retry_errors=True, **kwargs)
        assert again.summary["outcomes"]["error"] == 0 and len(again.records) == 4
        assert server.stats.requests == 5
