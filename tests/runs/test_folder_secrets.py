"""After everything that can be written was written, the key is looked for in all of it."""

import logging
from pathlib import Path
from typing import Any

import dspy
import pytest

import tale_dspy
from tale_dspy import LM, BackendError, TaleEP
from tale_dspy.testing import Reply, Request, ScriptedServer

KEY = "sk-not-to-be-written-4711"


def echo(request: Request) -> Reply:
    """A proxy that repeats the key in every third error, as some do."""
    if request.n % 3 == 0 and request.seen == 0:
        return Reply(f"upstream refused Bearer {KEY}", status=503)
    return Reply("Budget: [[30]]" if request.kind == "estimate" else "Answer: [[4]]")


def examples(n: int) -> list[Any]:
    return [dspy.Example(question=f"{i}+0?", answer="4").with_inputs("question") for i in range(n)]


@pytest.mark.parametrize("engine", ["litellm", "auto"])
def test_no_key_is_in_a_run_folder_a_log_or_a_saved_program(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    caplog.set_level(logging.INFO)
    caplog.set_level(logging.DEBUG, "tale_dspy")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with ScriptedServer(echo) as server:
        headers: dict[str, Any] = {"extra_headers": {"x-key": KEY}} if engine == "litellm" else {}
        lm = LM("openai/scripted", api_base=server.url, api_key=KEY, engine=engine, **headers)
        program = TaleEP("question -> answer", mode="cap")
        program.set_lm(lm)
        run = tale_dspy.evaluate(program, examples(4), out=tmp_path / "run")
        failed = tale_dspy.evaluate(program, examples(4), out=tmp_path / "failed", retries=0)
        program.save(tmp_path / "program.json")
    assert run.summary["outcomes"]["correct"] == 4
    assert failed.path is not None
    assert b"***" in b"".join(p.read_bytes() for p in (tmp_path / "run").iterdir())  # it was there to be found
    for path in (p for p in tmp_path.rglob("*") if p.is_file()):
        assert KEY.encode() not in path.read_bytes(), path
    assert KEY not in caplog.text
    assert KEY not in repr((run.info, run.records, failed.records, lm.dump_state()))


def test_no_key_is_in_the_error_that_ends_a_run(tmp_path: Path) -> None:
    refusal = Reply(f"Incorrect API key provided: {KEY}", status=401)
    with ScriptedServer(refusal) as server, pytest.raises(BackendError) as refused:
        lm = LM("openai/scripted", api_base=server.url, api_key=KEY, engine="auto")
        tale_dspy.evaluate(TaleEP("question -> answer"), examples(2), lm=lm, out=tmp_path / "run")
    assert KEY not in str(refused.value)
    assert "***" in str(refused.value)
    assert all(KEY.encode() not in p.read_bytes() for p in (tmp_path / "run").iterdir())
