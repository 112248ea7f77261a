"""The folder that `local:` loads, behind `transformers serve`: asked over HTTP by LiteLLM, it says the same."""

from collections.abc import Iterator
from pathlib import Path

import dspy
import pytest
from real_server import served
from tiny_models import make_model

import tale_dspy

QUESTIONS = ["Tom has 3 apples and buys 4. How many has he?", "What is 7 times 6?", "Why?"]
GREEDY = {"temperature": 0.0, "max_tokens": 24}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("models") / "tiny", ends=[0, 1, 2, 3], max_position_embeddings=2048)


@pytest.fixture(scope="module")
def url(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real server of that model."""
    with served(tmp_path_factory.mktemp("home"), folder) as address:
        yield address


def test_the_same_tokens_over_http_with_usage_and_finish_reason(folder: Path, url: str) -> None:
    here = tale_dspy.LM(f"local:{folder}", **GREEDY)
    there = tale_dspy.LM(f"openai/{folder}", api_base=url, api_key="none", **GREEDY)
    for question in QUESTIONS:
        assert here(question) == there(question)
        (mine, theirs) = here.history[-1], there.history[-1]
        assert {k: theirs["usage"][k] for k in ("prompt_tokens", "completion_tokens")} == {
            k: mine["usage"][k] for k in ("prompt_tokens", "completion_tokens")
        }
        assert theirs["response"].choices[0].finish_reason == mine["response"].finish_reason


def test_tale_ep_runs_over_http_and_counts_what_the_server_says(folder: Path, url: str, tmp_path: Path) -> None:
    examples = [dspy.Example(question=q, answer="7").with_inputs("question") for q in QUESTIONS]
    program = tale_dspy.TaleEP("question -> answer")
    lms = {
        "here": tale_dspy.LM(f"local:{folder}", **GREEDY),
        "there": tale_dspy.LM(f"openai/{folder}", api_base=url, api_key="none", **GREEDY),
    }
    for name, lm in lms.items():
        tale_dspy.evaluate(program, examples, lm=lm, out=tmp_path / name)
    runs = {name: tale_dspy.load_run(tmp_path / name) for name in lms}
    expected = {
        name: [(r.question, r.reply, r.outcome, r.output_tokens, r.estimate_tokens) for r in run.records]
        for name, run in runs.items()
    }
    assert sorted(expected["there"], key=repr) == sorted(expected["here"], key=repr)
    assert all(output and estimate for *_, output, estimate in expected["there"])
