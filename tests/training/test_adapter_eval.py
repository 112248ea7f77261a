"""The proof: the same program on two models, the gate, and what it leaves in the adapter's card."""

import json
from pathlib import Path
from typing import Any

import dspy
import pytest
from make_runs import make_run

from tale_dspy.backends.local.files import CARD
from tale_dspy.comparison.gate import noninferiority_test
from tale_dspy.errors import RunFolderError, SpendCapReached, UsageError
from tale_dspy.programs.cot import VanillaCoT
from tale_dspy.testing import Reply, ScriptedServer
from tale_dspy.training.adapter_eval import evaluate_adapter, record_verdict

QUESTIONS = [dspy.Example(question=f"{n} and 0?", answer=str(n)).with_inputs("question") for n in range(6)]


def answering(words: int) -> ScriptedServer:
    return ScriptedServer(lambda request: Reply("so " * words + f"[[{request.prompt.split('User: ')[-1].split()[0]}]]"))


def served(server: ScriptedServer) -> Any:
    import tale_dspy

    return tale_dspy.LM("openai/x", api_base=server.url, api_key="k", engine="auto", cache=False)


def test_a_shorter_model_is_proven_on_two_run_folders_and_read_the_second_time(tmp_path: Path) -> None:
    with answering(60) as long, answering(5) as short:
        arguments: Any = (VanillaCoT("question -> answer"), served(long), served(short), QUESTIONS)
        verdict = evaluate_adapter(*arguments, out=tmp_path, max_drop=0.9, min_saving=0.5)
        assert (verdict.passed, verdict.n, verdict.saving > 0.5) == (True, 6, True)
        assert (long.stats.requests, short.stats.requests) == (6, 6)
        assert evaluate_adapter(*arguments, out=tmp_path, max_drop=0.9, min_saving=0.5) == verdict
        assert (long.stats.requests, short.stats.requests) == (6, 6)
    assert {path.name for path in tmp_path.iterdir()} == {"base", "tuned"}


def test_one_cap_holds_for_both_models(tmp_path: Path) -> None:
    lms = []
    with answering(60) as long, answering(60) as short, pytest.raises(SpendCapReached):
        lms = [served(server).copy(max_tokens=70) for server in (long, short)]
        options = {"max_total_output_tokens": 500, "concurrency": 1}
        evaluate_adapter(VanillaCoT("question -> answer"), *lms, QUESTIONS, out=tmp_path, **options)
    assert long.stats.requests == 6 and 0 < short.stats.requests < 3
    assert long.stats.completion_tokens + short.stats.completion_tokens <= 500


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    (tmp_path / CARD).write_text(json.dumps({"strategy": "sft", "gate": None}))
    (tmp_path / "README.md").write_text("# An adapter\n")
    return tmp_path


def test_the_verdict_stands_in_the_card_and_the_latest_in_the_readme(adapter: Path) -> None:
    failed = noninferiority_test(make_run("c" * 400), make_run("w" * 400, model="tuned"))
    undecided = noninferiority_test(make_run("c" * 4), make_run("c" * 4, model="tuned"), min_saving=0)
    for verdict in (failed, undecided, failed):
        record_verdict(adapter, verdict)
        card = json.loads((adapter / CARD).read_text())
        assert card["gate"] == verdict.to_json() and card["strategy"] == "sft"
    text = (adapter / "README.md").read_text()
    assert text.startswith("# An adapter\n") and text.count("## Gate") == 1
    assert "**fail** on 400 questions of gsm8k: " in text and "Accuracy 100.00 -> 0.00 %" in text


@pytest.mark.parametrize("content", [None, "{"])
def test_a_folder_without_a_card_is_refused(content: str | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / CARD).write_text(content)
    with pytest.raises(RunFolderError, match=f"{CARD} cannot be read"):
        record_verdict(tmp_path, noninferiority_test(make_run("c"), make_run("c"), min_saving=0))


def test_runs_that_cannot_be_compared_are_refused(tmp_path: Path) -> None:
    with answering(60) as server:
        hot = served(server).copy(temperature=0.5)
        with pytest.raises(UsageError, match="the runs differ in temperature"):
            evaluate_adapter(VanillaCoT("question -> answer"), served(server), hot, QUESTIONS, out=tmp_path)
