"""`tale distill`: a search becomes rows to train on."""

import json
from pathlib import Path
from typing import Any

import pytest

QUESTIONS = {f"What is {n} plus {n}?": 2 * n for n in range(6)}


@pytest.fixture
def search(tale: Any) -> str:
    """The folder of a search, as `tale` is run beside it."""
    Path("s").mkdir()
    rows = []
    for n, (question, answer) in enumerate(QUESTIONS.items()):
        short, long = f"Answer: [[{answer}]]", f"Let us add them up, one by one.\nAnswer: [[{answer}]]"
        trial = {"budget": 9, "tokens": 4, "correct": True, "text": short, "finish_reason": "stop"}
        best = {"budget": 9, "tokens": 4.0, "selected_tokens": 4, "text": short, "confirmed": {"n": 1, "right": 1}}
        row = {"id": f"{n:016x}", "question": question, "gold": str(answer), "predictor": "self", "trials": [trial]}
        row |= {"vanilla": {"tokens": 16, "text": long, "correct": True}, "best": best if n else None}
        rows.append({**row, "reason": None if n else "no budget was confirmed by fresh draws"})
    Path("s/search.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return "s"


def test_rows_are_written_and_every_exclusion_is_counted(tale: Any, search: str) -> None:
    Path("seen.csv").write_text("question,answer\nWhat is 3 plus 3?,6\n")
    result = tale("distill", search, "--exclude", "seen.csv", "--out", "sft.jsonl")
    assert result.code == 0
    assert result.out == "4 of 6 searched questions -> sft.jsonl (75.0 % fewer output tokens than without a budget)\n"
    assert result.err == "1 left out: no budget was confirmed by fresh draws\n1 left out: excluded\n"
    rows = [json.loads(line) for line in Path("sft.jsonl").read_text().splitlines()]
    assert [row["completion"][0]["content"] for row in rows] == [f"Answer: [[{n}]]" for n in (2, 4, 8, 10)]


def test_json_is_one_object(tale: Any, search: str) -> None:
    result = tale("distill", search, "--format", "dpo", "--program", "dspy-cot", "--out", "dpo.jsonl", "--json")
    assert result.json == {
        "format": "dpo",
        "searched": 6,
        "rows": 5,
        "left_out": {"no budget was confirmed by fresh draws": 1},
        "saving": 0.75,
        "out": "dpo.jsonl",
    }
    assert "[[ ## completed ## ]]" in json.loads(Path("dpo.jsonl").read_text().splitlines()[0])["chosen"][0]["content"]


def test_budgets_make_a_row_for_each_with_the_budget_in_its_prompt(tale: Any, search: str) -> None:
    result = tale("distill", search, "--budgets", "9,20", "--out", "many.jsonl")
    assert result.code == 0
    assert result.out.startswith("12 rows from 6 of 6 searched questions -> many.jsonl (")
    rows = [json.loads(line) for line in Path("many.jsonl").read_text().splitlines()]
    assert [row["budget"] for row in rows] == 6 * [9, 20]
    for row in rows:
        assert f" {row['budget']} tokens" in row["prompt"][-1]["content"]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ("nowhere --out a.jsonl", "is no search"),
        ("empty.jsonl --out a.jsonl", "empty.jsonl has no rows: nothing to train on"),
        ("s --out a.jsonl --format rl", "format must be one of sft, dpo, got 'rl'"),
        ("s --out a.jsonl --program nothing", "there is no program 'nothing'"),
        ("s --out a.jsonl --adapter nothing", "--adapter must be one of tale, chat, json, xml"),
        ("s --out a.jsonl --exclude nowhere.csv", "does not exist"),
        ("s --out a.jsonl --exclude s", "none of the 6 searched questions can be trained on"),
        ("s --out s.jsonl/a.jsonl", "cannot be written"),
        ("s --out a.csv", "--out must be a .jsonl file, got 'a.csv'"),
        ("s --out a.jsonl --budgets 50,many", "--budgets must be whole numbers such as 50,100,200, got '50,many'"),
        ("s --out a.jsonl --budgets 0", "budgets must be"),
        ("s --out a.jsonl --signature question", "is no signature"),
    ],
)
def test_bad_input_is_2_and_one_sentence(args: str, said: str, tale: Any, search: str) -> None:
    Path("empty.jsonl").touch()
    Path("s.jsonl").touch()
    result = tale("distill", *args.split())
    assert (result.code, result.out) == (2, "")
    assert said in result.sentence and not Path("a.jsonl").exists()
