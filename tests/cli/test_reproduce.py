"""`tale reproduce`: calls and price first, then the paper's figures beside ours."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tale_dspy.reports import ROWS


@pytest.fixture
def row(server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Arguments that ask `server` eight questions that look like GSM8K."""
    rows = [{"question": q, "answer": f"So it is {a}.\n#### {a}"} for q, a in list(server.bank.items())[:8]]
    (tmp_path / "gsm8k_test.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    monkeypatch.setenv("TALE_DATA", str(tmp_path))
    return ["table3-gsm8k", "--api-base", server.url, "--engine", "auto"]


def test_all_rows_are_listed(tale: Any) -> None:
    result = tale("reproduce", "list")
    assert result.code == 0 and [line.partition(":")[0] for line in result.out.splitlines()] == list(ROWS)


def test_the_papers_figures_stand_beside_ours(tale: Any, row: list[str], server: Any) -> None:
    result = tale("reproduce", *row, "--yes", "--out", "r")
    assert result.code == 0 and "32 calls" in result.sentence and "US dollars" in result.sentence
    assert server.stats.requests == 32
    for text in ("paper", "direct", "cot", "tale-ep", "84.5", "81.3"):
        assert text in result.out
    for system in ("direct", "cot", "tale-ep"):
        config = json.loads(Path("r", system, "run.json").read_text())["config"]
        assert config["preset"] == "paper" and config["settings"]["temperature"] == 0.1


def test_json_is_one_object_with_marked_rows(tale: Any, row: list[str]) -> None:
    output = tale("reproduce", *row, "--yes", "--limit", "4", "--json", "--provenance", "scripted").json
    provenances = [r["provenance"] for r in output["rows"]]
    assert output["row"] == "table3-gsm8k" and output["runs"].keys() == {"direct", "cot", "tale-ep"}
    assert provenances.count("paper") == 3 and "scripted" in provenances
    assert all(summary["n"] == 4 for summary in output["runs"].values())


def test_trained_models_are_asked_plainly_beside_the_papers(tale: Any, row: list[str], server: Any) -> None:
    arguments = ["table5-gsm8k", *row[1:], "--model", "openai/base", "--sft", "openai/tuned"]
    result = tale("reproduce", *arguments, "--yes", "--json", "--out", "r")
    assert result.code == 0 and "by our arithmetic and not measured: 15 GiB" in result.err  # DPO's is not there
    assert "24 calls of openai/base (8 questions, direct, cot, tale-pt-sft)" in result.err
    assert result.json["runs"].keys() == {"direct", "cot", "tale-pt-sft"}
    config = json.loads(Path("r", "tale-pt-sft", "run.json").read_text())["config"]
    assert (config["model"], config["program"]["name"]) == ("openai/tuned", "cot")
    ours = [r for r in result.json["rows"] if r["program"] == "tale-pt-sft" and r["provenance"] != "paper"]
    assert ours[0]["tokens_per_right"] >= ours[0]["output_tokens"]


@pytest.mark.parametrize("answer", ["n\n", ""])
def test_without_a_yes_nothing_is_sent(
    answer: str, tale: Any, row: list[str], server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
    result = tale("reproduce", *row)
    assert result.code == 2 and "32 calls" in result.err and "nothing was asked" in result.err
    assert server.stats.requests == 0 and not Path("runs").exists()


def test_a_yes_is_enough(tale: Any, row: list[str], server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    assert tale("reproduce", *row, "--limit", "2").code == 0
    assert server.stats.requests == 8 and Path("runs/table3-gsm8k/cot/run.json").exists()


def test_one_cap_holds_for_all_three_systems(tale: Any, row: list[str], server: Any) -> None:
    prices = ["--price-in", "1", "--price-out", "1", "--concurrency", "1", "--no-cache"]
    result = tale("reproduce", *row, "--yes", *prices, "--max-usd", "0.003", "--json")
    assert result.code == 3 and "the same command continues" in result.err
    assert result.json["runs"] and (server.stats.prompt_tokens + server.stats.completion_tokens) * 1e-6 <= 0.003
    while result.code == 3:
        result = tale("reproduce", *row, "--yes", *prices, "--max-usd", "0.003", "--json")
    assert server.stats.requests == 32 and result.json["runs"].keys() == {"direct", "cot", "tale-ep"}


def test_without_a_server_the_commands_that_make_the_models_are_printed(
    tale: Any, row: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HOSTED_VLLM_API_BASE", raising=False)
    result = tale("reproduce", "table5-gsm8k")
    *commands, refusal = result.err.splitlines()
    assert result.code == 2 and "a vLLM server of your own: give --api-base" in refusal
    assert [line.split()[1] for line in commands[1:]] == ["search", "distill", "train", "serve", "reproduce"]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["table3-gsm8"], "did you mean table3-gsm8k"),
        (["table9"], "no row of the paper's tables"),
        (["table3-gsm8k", "--limit", "0"], "--limit must be at least 1"),
        (["table3-gsm8k", "--price-in", "1"], "go together"),
        (["table3-gsm8k", "--model", "nonsense"], "knows no provider"),
        (["table3-mathbench-middle"], "set TALE_DATA"),
        (["table3-gsm8k", "--sft", "openai/tuned"], "--sft is for rows with models that were trained (tables 5 and 6)"),
    ],
)
def test_what_cannot_be_repeated_is_2_before_the_question(
    args: list[str], said: str, tale: Any, row: list[str], server: Any
) -> None:
    result = tale("reproduce", *args)
    assert result.code == 2 and said in result.sentence
    assert server.stats.requests == 0
