"""What `tale train --eval` asks, and where."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from real_server import served
from tiny_models import make_model

from tale_dspy.cli.post_training import PostTrainingEval
from tale_dspy.datasets import load_dataset
from tale_dspy.errors import UsageError
from tale_dspy.runs.questions import questions_of


@pytest.mark.parametrize("base", ["embedded", "local:embedded"])
def test_the_model_that_ships_is_proved_on_its_own_unseen_stories(base: str) -> None:
    assert PostTrainingEval().checked(base) == PostTrainingEval(data="embedded:test")


def test_other_models_need_questions_and_servers_the_names_of_both(tmp_path: Path) -> None:
    questions = tmp_path / "x.csv"
    questions.write_text("question,answer\n5 and 5?,10\n")
    with pytest.raises(UsageError, match="--eval needs --eval-data"):
        PostTrainingEval().checked("some/model")
    with pytest.raises(UsageError, match="needs --eval-model and --eval-base-model"):
        PostTrainingEval(data="x.csv", api_base="http://127.0.0.1/v1", model="tuned").checked("some/model")
    served = PostTrainingEval(
        data=str(questions), api_base="http://127.0.0.1/v1", model="tuned", base_model="some/model"
    )
    assert served.checked("some/model") == served


def test_questions_of_the_training_rows_are_refused_before_the_training(tale: Any, tmp_path: Path) -> None:
    base = make_model(tmp_path / "base", ends=[0, 1, 2, 3], max_position_embeddings=2048)
    Path("questions.csv").write_text("question,answer\n5 and 5?,10\n6 and 6?,12\n")
    (known, _) = questions_of(load_dataset("questions.csv")).ids()
    row = {"id": f"{known}-2", "prompt": [{"role": "user", "content": "5 and 5?"}], "completion": "[[10]]"}
    Path("rows.jsonl").write_text(json.dumps(row) + "\n")
    args = ["train", "sft", "--base", base, "--data", "rows.jsonl", "--out", "a", "--eval", "--eval-data"]
    for more in ([], ["--eval-api-base", "http://127.0.0.1:9/v1", "--eval-model", "t", "--eval-base-model", "b"]):
        result = tale(*args, "questions.csv", *more)
        assert result.code == 2 and "--eval-data: 1 of 2 questions are among those of the training rows" in result.err
    assert not Path("a").exists()


def test_a_model_behind_a_real_server_is_proved(tale: Any, tmp_path: Path) -> None:
    base = make_model(tmp_path / "base", ends=[0, 1, 2, 3], max_position_embeddings=2048)
    system = {"role": "system", "content": "You are a helpful assistant."}
    rows = [
        {"prompt": [system, {"role": "user", "content": f"{n} and {n}?"}], "completion": f"Answer: [[{2 * n}]]"}
        for n in range(4)
    ]
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    Path("questions.csv").write_text("question,answer\n5 and 5?,10\n6 and 6?,12\n")
    args = ["train", "sft", "--base", base, "--data", "rows.jsonl", "--epochs", 1, "--out", "a"]
    args += ["--merge-to", tmp_path / "merged", "--eval", "--eval-data", "questions.csv", "--json"]
    (tmp_path / "home").mkdir()
    with served(tmp_path / "home") as address:
        names = ["--eval-api-base", address, "--eval-model", tmp_path / "merged", "--eval-base-model", base]
        result = tale(*args, *names)
        assert result.code == 1 and result.json["gate"]["n"] == 2, result.err
        runs = [json.loads((Path("a/eval") / side / "run.json").read_text()) for side in ("base", "tuned")]
        assert [run["config"]["model"] for run in runs] == [f"openai/{base}", f"openai/{tmp_path / 'merged'}"]
        assert all(run["address"] == address for run in runs)
        # Another template than that of the training is another prompt.
        template = shutil.copytree(tmp_path / "merged", tmp_path / "other") / "chat_template.jinja"
        template.write_text(template.read_text() + "!")
        names[3] = tmp_path / "other"
        result = tale(*args, *names)
        assert result.code == 2 and "is served with another chat template or system message" in result.err
