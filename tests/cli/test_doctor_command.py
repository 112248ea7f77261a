"""`tale doctor`: the price first, then a table or JSON; no secret in either."""

import io
import sys
from pathlib import Path
from typing import Any

import pytest

from tale_dspy.backends.control_registry import read_controls
from tale_dspy.runs.doctor import ANSWER, QUESTION
from tale_dspy.testing import EffortReply, Faults, ScriptedServer, SolverReply

PRICE = ["--price-in", "1", "--price-out", "10"]


def flags(server: ScriptedServer) -> list[str]:
    return ["--model", "openai/s", "--api-base", server.url, "--engine", "auto"]


def test_the_table_says_what_works(tale: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-do-not-write-me")
    with ScriptedServer(SolverReply({QUESTION: ANSWER}, wrong=0.0)) as server:
        result = tale("doctor", *flags(server), *PRICE, "--yes")
        assert server.stats.requests == 17 and all(r.authorized for r in server.requests)
    assert result.code == 0 and result.sentence.startswith("17 calls of openai/s: about $0.0")
    for text in ("works", "mode prompt", "obeyed: kept at", "mode native", "not reported", "0 of 8 calls at once"):
        assert text in result.out
    assert "do-not-write-me" not in result.out + result.err and list(Path().iterdir()) == []


def test_json_is_one_object(tale: Any) -> None:
    with ScriptedServer(SolverReply({QUESTION: ANSWER})) as server:
        output = tale("doctor", *flags(server), "--yes", "--json").json
    assert output["works"] is True and len(output["readings"]) == 8 and output["cost_usd"] is None
    assert output["verdicts"].keys() == {"prompt", "cap", "native"}


@pytest.mark.parametrize("answer", ["n\n", ""])
def test_without_a_yes_nothing_is_asked(answer: str, tale: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
    with ScriptedServer() as server:
        result = tale("doctor", *flags(server))
        assert server.stats.requests == 0
    assert result.code == 2 and "the price is unknown" in result.err and "nothing was asked" in result.err


def test_a_key_that_is_refused_is_exit_code_1(tale: Any) -> None:
    with ScriptedServer(faults=Faults(unauthorized=True)) as server:
        result = tale("doctor", *flags(server), "--yes")
    assert result.code == 1 and "does not work" in result.out and "Traceback" not in result.err


def test_wrong_usage_is_one_sentence(tale: Any) -> None:
    assert tale("doctor", "--model", "nobody/x", "--yes").code == 2
    assert tale("doctor", "--model", "openai/s", "--concurrency", "0", "--yes").code == 2


def test_the_server_behind_an_address_says_which_control_is_tried(tale: Any) -> None:
    with ScriptedServer(SolverReply({QUESTION: ANSWER})) as server:
        output = tale("doctor", *flags(server), "--server", "sglang", "--yes", "--json").json
        params = [r.body["custom_params"] for r in server.requests if "custom_params" in r.body]
    assert (output["family"], output["unavailable"]) == ("SGLang", {})
    assert sorted(d["thinking_budget"] for d in params) == [128, 256, 512, 1024]
    native = [r["reasoning_params"]["custom_params"] for r in output["readings"] if r["mode"] == "native"]
    assert sorted(d["thinking_budget"] for d in native) == [128, 256, 512, 1024]


def test_the_map_of_controls_is_printed_without_asking_anybody(tale: Any) -> None:
    result = tale("doctor", "--controls")
    assert result.code == 0
    assert "| GPT-5 | minimal, low, medium, high | always | no | platform.openai.com" in result.out
    assert "| vLLM | tokens, 1 or more | by name | yes |" in result.out


def test_without_a_model_it_says_what_is_missing(tale: Any) -> None:
    result = tale("doctor", "--yes")
    assert result.code == 2 and "--model is missing" in result.sentence


@pytest.mark.parametrize(("deaf", "kind"), [(False, "word"), (True, "none")])
def test_what_was_found_is_written_as_a_row(tale: Any, tmp_path: Path, *, deaf: bool, kind: str) -> None:
    path = tmp_path / "controls.toml"
    reply = EffortReply({QUESTION: ANSWER}, deaf=deaf)
    with ScriptedServer(reply) as server:
        model = ["--model", "openai/gpt-5-mini", "--api-base", server.url, "--engine", "auto"]
        result = tale("doctor", *model, *PRICE, "--yes", "--write", str(path))
    assert result.code == 0
    (row,) = read_controls(path)
    assert (row.kind, row.models, row.source) == (kind, r"^openai/gpt\-5\-mini$", "tale doctor")
    assert row.words == (() if deaf else ("minimal", "low", "medium", "high"))
    assert ("no effect seen" in row.why) is deaf
