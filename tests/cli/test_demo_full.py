"""`tale demo --full`, small: every row a run folder, nothing done twice. The base is scripted, the tuned model real."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from fake_lm import AsyncFakeEngine, FakeEngine

from tale_dspy.backends.lm import LM
from tale_dspy.cli import demo_full
from tale_dspy.datasets import load_dataset
from tale_dspy.testing.problems import budget_of

sys.path.append(str(Path(__file__).parents[1] / "backends" / "local"))  # tiny_models

COMMAND = ("demo", "--full", "--questions", "3", "--out", "d")
ROWS = (*("direct", "cot", "dspy-cot", "searched-budgets,-learned", "SFT,-cot", "SFT,-dspy-cot"),)


class Reasoner(FakeEngine):
    """Knows the answers, and follows a budget down to thirty words."""

    def __init__(self) -> None:
        rows = [*load_dataset("embedded:train").take(limit=8).examples, *load_dataset("embedded:test:3").examples]
        self.answers = {row.question: row.answer for row in rows}
        super().__init__(self.said)

    def load(self) -> None: ...

    def said(self, prompt: str) -> str:
        if "[[budget]]" in prompt:
            return "Budget: [[40]]"
        answer = next(answer for question, answer in self.answers.items() if question in prompt)
        words = "so " * max(30, min(120, budget_of(prompt) or 120))
        if "[[ ## answer ## ]]" not in prompt:
            return f"{words}\nAnswer: [[{answer}]]"
        return f"[[ ## reasoning ## ]]\n{words}\n\n[[ ## answer ## ]]\n{answer}\n\n[[ ## completed ## ]]"


@pytest.fixture
def engine(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Reasoner:
    """Stands behind the name of a tiny model."""
    from tiny_models import make_model
    from transformers.utils import logging

    logging.disable_progress_bar()
    base = make_model(tmp_path_factory.mktemp("models") / "base", ends=2, max_position_embeddings=4096)
    reasoner = Reasoner()
    settings: Any = {"engine": reasoner, "async_engine": AsyncFakeEngine(reasoner), "max_tokens": 20, "cache": False}
    monkeypatch.setattr(demo_full, "SEARCHED", 8)
    monkeypatch.setattr(demo_full, "TRIED", 1)
    monkeypatch.setattr(demo_full, "BASELINES", ("direct", "cot"))
    monkeypatch.setattr(demo_full, "LIMITS", {"sft": (0.7, 0.01)})
    monkeypatch.setattr(demo_full, "_demo_model", lambda model: LM(f"local:{base}", **settings))
    return reasoner


def test_the_whole_road_is_gone_once_and_can_be_read_afterwards(tale: Any, engine: Reasoner) -> None:
    result = tale(*COMMAND)
    assert result.code == 0, result.err
    places = [*(Path("d") / name for name in ROWS), *Path("d").glob("best-fixed-budget-*")]
    assert [len((place / "records.jsonl").read_text().splitlines()) for place in places] == [3] * 7
    for text in ("confirmed on fresh draws", "Gate: SFT, cot", "fail: ", "searched budgets, confirmed"):
        assert text in result.out
    card = json.loads(Path("d/adapter-sft-cot/tale_adapter.json").read_text())
    assert card["gate"]["n"] == 3 and card["gate"]["outcome"] == "fail"  # a random model learns nothing in a step
    assert Path("d/report/before_after_sft.png").stat().st_size > 10_000
    assert "searched budgets, confirmed" in Path("d/report/table.md").read_text()
    count = len(engine.requests)
    assert (tale(*COMMAND).code, len(engine.requests)) == (0, count)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--model", "openai/x"), "which must run in this process (local:PATH), got openai/x"),
        (("--model", "local:nowhere/at/all"), "must be a folder or a name of the Hugging Face hub"),
    ],
)
def test_a_model_that_cannot_be_trained_is_refused(args: tuple[str, ...], said: str, tale: Any) -> None:
    result = tale(*COMMAND, *args)
    assert result.code == 2 and said in result.sentence and not Path("d").exists()


def test_without_trl_the_pip_line_is_said(tale: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "trl" else object())
    result = tale(*COMMAND, "--model", "local:x")
    assert result.code == 2 and "trl is not installed: pip install 'tale-dspy[train]'" in result.sentence
