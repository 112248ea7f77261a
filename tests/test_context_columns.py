"""What stands beside a question is shown with it or refused, never dropped."""

import json
from pathlib import Path
from typing import Any

import pytest

from tale_dspy.datasets import Dataset, load_dataset
from tale_dspy.errors import DataError


def load(folder: Path, *rows: dict[str, Any], **options: Any) -> Dataset:
    file = folder / "rows.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return load_dataset(file, **options)


OPTIONS = ["a", "b", "c", "d"]
SHOWN: dict[str, tuple[dict[str, Any], str]] = {
    "BoolQ": ({"question": "q", "answer": True, "passage": "It is."}, "passage, question -> answer"),
    "RACE": (
        {"example_id": "h", "article": "Long.", "answer": "B", "question": "q", "options": OPTIONS},
        "article, question -> choice",
    ),
    "SVAMP": ({"Body": "She has 3.", "Question": "q", "Answer": "4.0"}, "Body, question -> answer"),
    "ASDiv": ({"body": "She has 3.", "question": "q", "answer": "4 (eggs)"}, "body, question -> answer"),
    "LogiQA": (
        {"context": "c", "query": "q", "options": OPTIONS, "correct_option": 0},
        "context, query -> choice",
    ),
    "ReClor": ({"context": "c", "question": "q", "answers": OPTIONS, "label": 0}, "context, question -> choice"),
    "CosmosQA": (
        {"context": "c", "question": "q", "answer0": "a", "answer1": "b", "label": 0},
        "context, question -> choice",
    ),
    "COPA": (
        {"premise": "p", "choice1": "a", "choice2": "b", "question": "cause", "label": 0},
        "premise, question -> choice",
    ),
    "NLI": ({"premise": "p", "hypothesis": "h", "label": "yes"}, "hypothesis, premise -> label"),
    "a hint": ({"question": "q", "hint": "h", "answer": "4"}, "hint, question -> answer"),
    "AQuA-RAT": (
        {"question": "q", "options": ["A)21", "B)22"], "rationale": "r", "correct": "B"},
        "question -> choice",
    ),
    "StrategyQA": ({"term": "t", "question": "q", "answer": True, "facts": ["f"]}, "question -> answer"),
    "an empty context": ({"question": "q", "context": "", "answer": "4"}, "question -> answer"),
}


@pytest.mark.parametrize(("row", "signature"), SHOWN.values(), ids=SHOWN.keys())
def test_text_beside_a_question_is_an_input(row: dict[str, Any], signature: str, tmp_path: Path) -> None:
    dataset = load(tmp_path, row)
    assert dataset.signature == signature
    inputs_text = "\n".join(map(str, dict(dataset.examples[0].inputs()).values()))
    texts = [
        row.get(name) for name in ("passage", "article", "Body", "body", "context", "premise", "hypothesis", "hint")
    ]
    assert all(text in inputs_text for text in texts if text)


REFUSED: dict[str, dict[str, Any]] = {
    "HotpotQA": {"question": "q", "answer": "Paris", "context": {"title": ["a"], "sentences": [["x"]]}},
    "FinQA": {"pre_text": ["a"], "question": "q", "answer": "5%"},
    "an image": {"question": "q", "image": "x.png", "answer": "4"},
    "SciQ": {"question": "q", "distractor1": "a", "distractor2": "b", "distractor3": "c", "correct_answer": "r"},
}


@pytest.mark.parametrize("row", REFUSED.values(), ids=REFUSED.keys())
def test_what_no_text_program_can_be_shown_is_refused(row: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="beside the question"):
        load(tmp_path, row)
    assert load(tmp_path, row, inputs=["question"]).signature.startswith("question -> ")


def test_a_row_without_a_hint_has_an_empty_one(tmp_path: Path) -> None:
    rows = [{"question": "q", "hint": hint, "answer": "4"} for hint in ("think", "", None)]
    assert [example.hint for example in load(tmp_path, *rows).examples] == ["think", "", ""]


def test_named_inputs_are_all_there_is(tmp_path: Path) -> None:
    row = {"question": "q", "passage": "p", "answer": "4"}
    assert load(tmp_path, row, inputs=["question"]).signature == "question -> answer"


def test_a_question_without_a_gold_keeps_its_passage(tmp_path: Path) -> None:
    assert load(tmp_path, {"question": "q", "passage": "p"}, labelled=False).signature == "passage, question -> answer"
