"""What an adapter tells about itself."""

import json
from pathlib import Path
from typing import Any

import dspy
import pytest

import tale_dspy
from tale_dspy.backends.local.files import weights_hash
from tale_dspy.errors import UsageError
from tale_dspy.ids import example_id
from tale_dspy.training.options import SftOptions
from tale_dspy.training.sft import train_sft

QUESTIONS = [dspy.Example(question=f"{n} and 1?", answer=str(n + 1)).with_inputs("question") for n in range(3)]


@pytest.fixture(scope="module")
def trained(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    rows = [
        {"id": example_id(q, "answer"), "prompt": [{"role": "user", "content": q.question}], "completion": q.answer}
        for q in QUESTIONS[:2]
    ]
    return train_sft(str(base), rows, tmp_path_factory.mktemp("card") / "a", SftOptions(epochs=1))


def test_the_card_tells_base_data_options_and_results(trained: Any, base: Path) -> None:
    card = json.loads((trained.path / "tale_adapter.json").read_text())
    assert card == trained.card
    assert (card["strategy"], card["role"], card["base_sha256"]) == ("sft", "train", weights_hash(base))
    assert card["seen"] == {example_id(q, "answer"): "train" for q in QUESTIONS[:2]}
    assert card["data"]["rows"] == 2 and card["results"]["steps"] == 1 and card["options"]["epochs"] == 1
    assert card["prompt"]["text"].endswith("<|im_start|>assistant\n")
    text = (trained.path / "README.md").read_text()
    assert "No budget has to stand in the prompt." in text and card["prompt"]["budgets"] == []
    assert card["base_sha256"] in text and f"--lora-modules tuned={trained.path}" in text


def test_the_card_of_rows_with_budgets_says_that_a_budget_stands_in_the_prompt(base: Path, tmp_path: Path) -> None:
    rows = [
        {"prompt": f"{n}? Use less than {b} tokens:", "completion": "x", "budget": b} for n in (1, 2) for b in (80, 20)
    ]
    trained = train_sft(str(base), rows, tmp_path / "a", SftOptions(epochs=1))
    text = (trained.path / "README.md").read_text()
    assert trained.card["prompt"]["budgets"] == [20, 80]
    assert "that of its rows was 20, 80 tokens" in text and "tale eval budget:80 --model" in text


def test_an_evaluation_on_what_it_was_trained_on_is_refused(trained: Any) -> None:
    lm = tale_dspy.LM(trained.model, cache=False)
    with pytest.raises(UsageError, match=r"2 of 3 questions were used to make this program \(train\)"):
        tale_dspy.evaluate(tale_dspy.VanillaCoT("question -> answer"), QUESTIONS, lm=lm)
    run = tale_dspy.evaluate(tale_dspy.VanillaCoT("question -> answer"), QUESTIONS[2:], lm=lm)
    assert run.info["contaminated"] is False and len(run.info["seen"]) == 2


def test_an_adapter_of_another_base_is_refused(trained: Any, base: Path, tmp_path: Path) -> None:
    from tiny_models import make_model

    other = make_model(tmp_path / "other", seed=7)
    with pytest.raises(UsageError, match="was trained on another model"):
        tale_dspy.LM(f"local:{other}+{trained.path}")
