"""`tale train`: an adapter from rows, or one sentence why not."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parents[1] / "backends" / "local"))  # tiny_models


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    from tiny_models import make_model
    from transformers.utils import logging

    logging.disable_progress_bar()
    return str(make_model(tmp_path_factory.mktemp("models") / "base"))


@pytest.fixture
def data(tale: Any) -> str:
    rows = [
        {"id": f"{n:016x}", "prompt": f"{n}?", "completion": "x", "chosen": "x", "rejected": "xy"} for n in range(8)
    ]
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    Path("empty.jsonl").write_text("")
    Path("lacking.jsonl").write_text('{"prompt": "a"}\n')
    Path("long.jsonl").write_text(json.dumps({"prompt": "a" * 600, "completion": "b"}))
    return "rows.jsonl"


def test_a_dry_run_counts_and_writes_nothing(tale: Any, base: str, data: str) -> None:
    result = tale("train", "dpo", "--base", base, "--data", data, "--out", "a", "--dry-run", "--batch-size", "4")
    assert (result.code, result.err) == (0, "")
    assert "8" in result.out and "steps" in result.out and "memory" in result.out and not Path("a").exists()
    result = tale(
        "train", "dpo", "--base", base, "--data", data, "--out", "a", "--dry-run", "--json", "--preset", "paper"
    )
    assert result.json["rows"] == 8 and result.json["steps"] == 1 and result.json["learning_rate"] == 3e-5
    assert result.json["memory_bytes"]["total"] > 0 and result.json["longest"] == 5


def test_grpo_says_rewards_and_where_they_taught_nothing(tale: Any, base: str) -> None:
    rows = [{"prompt": f"{n}?", "gold": "1"} for n in range(4)]
    Path("questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = ["--base", base, "--data", "questions.jsonl", "--out", "a", "--batch-size", "4", "--generations", "2"]
    result = tale("train", "grpo", *command, "--max-new-tokens", "2")  # none is right, none has a budget: all have 0
    assert result.code == 0, result.err
    text = " ".join(result.err.split()) or " ".join(result.out.split())
    assert "prompts alone, replies are drawn in training" in text and "2 of 4 replies, 2 to each of 2 rows" in text
    assert "mean reward 0.000 after 2 steps" in text and "loss" not in text
    assert "to 100 % of the questions all replies had the same reward" in text


def test_a_share_of_a_merge_needs_a_merge(tale: Any, base: str, data: str) -> None:
    result = tale("train", "sft", "--base", base, "--data", data, "--out", "a", "--merge-strength", "0.5")
    assert result.code == 2
    assert "give --merge-to DIR" in result.err
    assert not Path("a").exists()


@pytest.mark.parametrize(("flag", "value"), [("--min-saving", "0.2"), ("--max-drop", "0.01"), ("--eval-data", "q.csv")])
def test_a_flag_of_the_evaluation_needs_the_evaluation(
    tale: Any, base: str, data: str, monkeypatch: pytest.MonkeyPatch, flag: str, value: str
) -> None:
    command = ["train", "sft", "--base", base, "--data", data, "--out", "a", "--dry-run"]
    result = tale(*command, flag, value)
    assert (result.code, result.err) == (2, f"error: {flag} says how --eval compares: add --eval\n")
    monkeypatch.setenv(f"TALE_{flag[2:].replace('-', '_').upper()}", value)  # there it is for other commands, too
    assert tale(*command).code == 0


def test_an_adapter_is_trained_evaluated_and_merged(tale: Any, base: str, data: str) -> None:
    args = ["train", "sft", "--base", base, "--data", data, "--out", "a", "--epochs", "1", "--merge-to", "m", "--json"]
    result = tale(*args)
    assert (result.code, result.err) == (0, "")
    assert result.json["model"] == f"local:{base}+a" and result.json["results"]["steps"] == 1
    again = tale(*args[:-1])
    assert [line for line in again.out.splitlines() if line.startswith("try: ")] == [
        f"try: tale eval cot --model local:{base}+a --data DATA",
        "try: tale eval cot --model local:m --data DATA",
    ]
    Path("questions.csv").write_text("question,answer\n1+1?,2\n")
    for model in (result.json["model"], "local:m"):
        flags = ["--data", "questions.csv", "--max-tokens", "5", "--model", model, "--json"]
        assert tale("eval", "cot", *flags).json["n"] == 1


def test_eval_asks_base_and_adapter_and_writes_the_verdict_into_the_card(tale: Any, base: str, data: str) -> None:
    prompt = [{"role": "system", "content": "You are a helpful assistant."}, {"role": "user", "content": "1?"}]
    Path("chats.jsonl").write_text(json.dumps({"prompt": prompt, "completion": "x"}))
    Path("questions.csv").write_text("question,answer\n1+1?,2\n1+2?,3\n")
    args = ["train", "sft", "--base", base, "--out", "a", "--epochs", "1", "--eval", "--eval-data", "questions.csv"]
    result = tale(*args, "--data", "chats.jsonl", "--json")
    assert result.code == 1 and result.json["gate"]["outcome"] == "fail"
    assert json.loads(Path("a/tale_adapter.json").read_text())["gate"] == result.json["gate"]
    assert {p.name for p in Path("a/eval").iterdir()} == {"base", "tuned"}
    result = tale(*args, "--out", "b", "--data", data)
    assert result.code == 2 and "was trained with the system message None" in result.err


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("--data empty.jsonl", "empty.jsonl has no rows"),
        ("--data lacking.jsonl", "lacking.jsonl:1 has no completion"),
        ("--data nowhere.jsonl", "nowhere.jsonl does not exist"),
        ("--data long.jsonl", "long.jsonl:1 has 602 tokens (600 of them the prompt), but the model can look at 512"),
        ("--base nowhere/at/all", "the model must be a folder or a name of the Hugging Face hub"),
        ("--base .", "is no folder of a model: it has no config.json"),
        ("--out rows.jsonl", "is a file"),
        ("--out .", "is not empty and no training of this library"),
        ("--preset mine", "preset must be paper"),
        ("--epochs 0", "epochs must be a number above 0"),
        ("--targets nothing", "has no layer named nothing"),
        ("--loss sigmoid", "sft has no option loss"),
        ("--loss-weights 1,much", "--loss-weights must be numbers with commas between them, got 1,much"),
        ("--loss-weights 1,2", "sft has no option loss_weights"),
        ("--quantize 8bit", "quantize must be 4bit"),
        ("--eval", "--eval needs --eval-data"),
        ("--eval --eval-data a --eval-api-base http://x", "--eval-api-base needs --eval-model"),
        ("--eval --eval-data nowhere.csv", "nowhere.csv does not exist"),
        ("--eval --eval-data q.csv --eval-limit 0", "limit must be at least 1, got 0"),
        ("--eval --eval-data q.csv --eval-program nothing", "there is no program 'nothing'"),
        ("--eval --eval-data q.csv --min-saving nan", "--min-saving must be a fraction from 0 to below 1"),
        ("--eval --eval-data q.csv --max-drop 5", "--max-drop must be a fraction above 0 and below 1"),
        ("--merge-to m --merge-strength nan", "the strength of a merge must be above 0 and at most 1, got nan"),
        ("--merge-to a", "a is the folder of the adapter: give another folder for the merged model"),
        ("--merge-to other", "other is there already: give another folder for the merged model"),
        ("--merge-to rows.jsonl", "rows.jsonl is there already: give another folder for the merged model"),
        ("--seed 99999999999", "seed must be at most 4,294,967,295, got 99999999999"),
    ],
)
def test_bad_input_is_2_and_one_sentence(
    flags: str, said: str, tale: Any, base: str, data: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("a weight was loaded")

    monkeypatch.setattr("tale_dspy.backends.local.weights.load_model", refused)
    Path("q.csv").write_text("question,answer\n1+1?,2\n")
    Path("other").mkdir()
    Path("other/manifest.json").write_text("{}")  # a model merged of another adapter
    result = tale("train", "sft", "--base", base, "--data", data, "--out", "a", *flags.split(), "--json")
    assert (result.code, result.out) == (2, "")
    assert said in result.sentence and result.sentence.startswith("error: ") and not Path("a").exists()


def test_an_unknown_strategy_is_2(tale: Any, base: str, data: str) -> None:
    result = tale("train", "ppo", "--base", base, "--data", data, "--out", "a")
    assert result.code == 2 and "the strategy must be one of" in result.sentence
