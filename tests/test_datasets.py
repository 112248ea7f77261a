import csv
import io
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from make_tables import folder as folder
from make_tables import rows, write

from tale_dspy.datasets import data_hash, example_ids, load_dataset
from tale_dspy.errors import DataError, UsageError

GPQA = ["Question", "Correct Answer", "Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gsm8k-zeros", "no known set; did you mean gsm8k-zero"),
        ("wikipedia", "no known set: known are gsm8k, .*gpqa, .*mathbench-LEVEL, embedded:SPLIT, hf:owner/name:split"),
        ("", "'' is no file and no known set: known are"),
        ("openai/gsm8k", "hf:owner/name:split"),
        ("embedded:tset", "embedded:tset is no split of the embedded problems: known are embedded:train, embedded:dev"),
        (
            "mathbench-high",
            "mathbench-high is not here and not on the hub: set TALE_DATA to a folder with mathbench/high",
        ),
        ("hf:a/b/c/d:train", "must be hf:owner/name:split or hf:owner/name/config:split"),
        ("hf:../private:train", "must be hf:owner/name:split"),
    ],
)
def test_a_name_that_cannot_be_loaded_is_one_sentence(name: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        load_dataset(name)
    assert "\n" not in str(caught.value)


def test_values_keep_their_types() -> None:
    values: list[Any] = [48, 1.5, True, False, 0, [1, 2], "__import__('os')"]
    write("a.jsonl", [{"question": value, "answer": value} for value in values])
    assert [example.answer for example in load_dataset("a.jsonl").examples] == values


@pytest.mark.parametrize(
    ("columns", "gold"),
    [
        (["label", "target", "gold", "choice", "answer"], "answer"),
        (["label", "target", "gold", "choice"], "choice"),
        (["label", "target", "gold"], "gold"),
        (["label", "target"], "target"),
        (["label"], "label"),
        (["Answer"], "answer"),
    ],
)
def test_the_gold_is_the_first_known_column(columns: list[str], gold: str) -> None:
    write("a.jsonl", [{"Question": "q", **{column: column.lower() for column in columns}}])
    data = load_dataset("a.jsonl")
    assert (data.gold, data.signature) == (gold, f"question -> {gold}")
    assert rows(data) == [{"question": "q", gold: gold}]


@pytest.mark.parametrize("inputs", [["text", "context"], "text, context"])
def test_inputs_and_gold_name_other_columns(inputs: Any) -> None:
    write("a.csv", "context,id,label,text,answer\nc,1,yes,t,no\n")
    data = load_dataset("a.csv", inputs=inputs, gold="label")
    assert data.signature == "text, context -> label"
    assert data.examples[0].inputs().toDict() == {"text": "t", "context": "c"}
    assert data.examples[0].labels().toDict() == {"label": "yes"}


@pytest.mark.parametrize(
    ("gold", "expected"),
    [
        ("5 + 5 = 10\n#### 1,010", "1010"),
        ("so #### -3 ", "-3"),
        ("#### Paris", "Paris"),
        ("#### Title\ntext of a document", "#### Title\ntext of a document"),
        ("no mark", "no mark"),
    ],
)
def test_a_gsm8k_gold_is_cut_down_to_its_answer(gold: str, expected: str) -> None:
    write("a.jsonl", [{"question": "q", "answer": gold}])
    assert load_dataset("a.jsonl").examples[0].answer == expected


@pytest.mark.parametrize(
    ("inputs", "gold"),
    [([], None), (["question", "question"], None), (["question"], "question"), (["a b", "a_b"], "answer")],
)
def test_columns_must_differ(inputs: list[str], gold: str | None) -> None:
    write("a.jsonl", [{"question": "q", "answer": "a", "a b": 1, "a_b": 2}])
    with pytest.raises(DataError, match="must be at least two different columns"):
        load_dataset("a.jsonl", inputs=inputs, gold=gold)


# ---- options


@pytest.mark.parametrize(
    "options", [["1", 2, 2.5], {"A": "1", "B": 2, "C": 2.5}, '["1", 2, 2.5]', '{"C": 2.5, "B": 2, "A": "1"}']
)
@pytest.mark.parametrize(("column", "letter"), [("answer", "B"), ("choice", " b "), ("gold", "b")])
def test_options_are_written_into_the_question(options: Any, column: str, letter: str) -> None:
    write("a.jsonl", [{"question": " q ", "options": options, column: letter}])
    data = load_dataset("a.jsonl")
    assert rows(data) == [{"question": "q\nA. 1\nB. 2\nC. 2.5\n", "choice": "B"}]
    assert (data.task, data.kind, data.signature) == ("choice", "choice", "question -> choice")


def test_options_go_into_the_last_input_where_none_is_called_question() -> None:
    write("a.jsonl", [{"text": "t", "task": "q", "options": ["x", "y"], "answer": "A"}])
    data = load_dataset("a.jsonl", inputs=["text", "task"])
    assert rows(data) == [{"text": "t", "task": "q\nA. x\nB. y\n", "choice": "A"}]
    assert data.signature == "text, task -> choice"


def test_options_named_as_an_input_stay_one() -> None:
    write("a.jsonl", [{"question": "q", "options": ["x", "y"], "answer": "A"}])
    data = load_dataset("a.jsonl", inputs=["question", "options"])
    assert rows(data) == [{"question": "q", "options": ["x", "y"], "answer": "A"}]


@pytest.mark.parametrize(("choice", "kind"), [("B", "choice"), ("rock", "auto")])
def test_a_gold_column_called_choice_asks_for_a_choice(choice: str, kind: str) -> None:
    write("a.jsonl", [{"question": "q\nA. 1\nB. 2", "choice": choice}])
    data = load_dataset("a.jsonl")
    assert (data.task, data.kind, data.signature) == ("choice", kind, "question -> choice")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"options": ["x", "y"], "choice": "C"}, "a.jsonl:2: choice must be one of the letters AB, got 'C'"),
        ({"options": ["x", "y"], "choice": "AB"}, "a.jsonl:2: choice must be one of the letters AB, got 'AB'"),
        ({"options": None, "choice": "A"}, "a.jsonl:2: row without options"),
        ({"choice": "A"}, "a.jsonl:2: row without options"),
        ({"options": "x or y", "choice": "A"}, "options must be a list of 2 to 10 answers, got 'x or y'"),
        ({"options": ["x"], "choice": "A"}, "options must be a list of 2 to 10 answers"),
        ({"options": ["x", None], "choice": "A"}, "options must be a list of 2 to 10 answers"),
        ({"options": {"A": 1, "C": 2}, "choice": "A"}, "options must be a list of 2 to 10 answers"),
        ({"options": list("abcdefghijk"), "choice": "A"}, "options must be a list of 2 to 10 answers"),
    ],
)
def test_an_option_row_that_cannot_be_asked_is_refused(row: dict[str, Any], message: str) -> None:
    write("a.jsonl", [{"question": "q", "options": ["x", "y"], "choice": "A"}, {"question": "q", **row}])
    with pytest.raises(DataError, match=re.escape(message)):
        load_dataset("a.jsonl")


def test_options_are_never_dropped_in_silence() -> None:
    write("a.jsonl", [{"question": "q", "options": ["x", "y"], "answer": 1}])
    with pytest.raises(DataError, match=r"its answer is not always one letter A-J: name the inputs, as in inputs="):
        load_dataset("a.jsonl")
    assert rows(load_dataset("a.jsonl", inputs=["question"])) == [{"question": "q", "answer": 1}]


# ---- GPQA, in its published columns


def gpqa_rows(count: int) -> list[dict[str, str]]:
    return [
        {"Subdomain": "x", **dict(zip(GPQA, [f" q{n}\n", f"right {n} ", f"w1 {n}", f"w2 {n}", f"w3 {n}"], strict=True))}
        for n in range(count)
    ]


def gpqa_csv(table: list[dict[str, str]]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=list(table[0]))
    writer.writeheader()
    writer.writerows(table)
    return out.getvalue()


def test_gpqa_options_are_shuffled_and_the_letter_follows_the_right_one() -> None:
    write("gpqa_diamond.csv", gpqa_csv(gpqa_rows(400)))
    data = load_dataset("gpqa")
    for n, example in enumerate(data.examples):
        question, *options = example.question.split("\n")
        assert question == f"q{n}"
        assert sorted(options, key=lambda o: o[3:]) == sorted(options, key=lambda o: o.split(" ", 1)[1])
        assert {o[3:] for o in options} == {f"right {n}", f"w1 {n}", f"w2 {n}", f"w3 {n}"}
        assert f"{example.choice}. right {n}" in options
    letters = Counter(example.choice for example in data.examples)
    assert sorted(letters) == list("ABCD")
    assert all(70 <= count <= 130 for count in letters.values())
    assert (data.task, data.kind, data.signature) == ("gpqa", "choice", "question -> choice")


def test_gpqa_order_depends_on_seed_and_row_but_not_on_row_order() -> None:
    table = gpqa_rows(40)
    write("gpqa.jsonl", list(table))
    first, other_seed = rows(load_dataset("gpqa")), rows(load_dataset("gpqa", seed=1))
    write("gpqa.jsonl", list(reversed(table)))
    assert rows(load_dataset("gpqa")) == first[::-1]
    assert first != other_seed
    assert first[0] == {"question": "q0\nA. w1 0\nB. w3 0\nC. w2 0\nD. right 0", "choice": "D"}


@pytest.mark.parametrize("name", ["mine.csv", "gpqa", "gpqa-main"])
def test_gpqa_columns_are_known_in_any_file(name: str) -> None:
    write("mine.csv" if name == "mine.csv" else "gpqa_main.csv", gpqa_csv(gpqa_rows(2)))
    assert load_dataset(name).task == "gpqa"


def test_gpqa_row_without_an_option_is_refused() -> None:
    write("gpqa.csv", gpqa_csv([*gpqa_rows(1), gpqa_rows(1)[0] | {GPQA[3]: " "}]))
    with pytest.raises(DataError, match=re.escape("gpqa.csv:4: row without Incorrect Answer 2")):
        load_dataset("gpqa")


# ---- slices


@pytest.mark.parametrize(("offset", "limit", "kept"), [(0, None, "abc"), (1, None, "bc"), (1, 1, "b"), (2, 9, "c")])
def test_take_keeps_a_slice_in_order(offset: int, limit: int | None, kept: str) -> None:
    data = load_dataset(write("a.jsonl", [{"question": q, "answer": "1"} for q in "abc"]))
    part = data.take(offset, limit)
    assert [example.question for example in part.examples] == list(kept)
    assert (len(part), part.name, len(data)) == (len(kept), "a.jsonl", 3)


@pytest.mark.parametrize(("offset", "limit"), [(-1, None), (0, 0), (0, -2), (3, None)])
def test_take_refuses_a_slice_without_questions(offset: int, limit: int | None) -> None:
    data = load_dataset(write("a.jsonl", [{"question": q, "answer": "1"} for q in "abc"]))
    with pytest.raises(UsageError, match=r"offset|limit"):
        data.take(offset, limit)


def test_importing_the_module_loads_no_heavy_package() -> None:
    code = (
        "import sys, tale_dspy.datasets;"
        "print({'dspy', 'litellm', 'datasets', 'pyarrow', 'pandas', 'sympy'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


@pytest.mark.parametrize(("name", "split"), [("embedded", "train"), ("Embedded:test", "test"), ("embedded:dev", "dev")])
def test_the_embedded_problems_are_made_up_alike_each_time(name: str, split: str) -> None:
    data = load_dataset(name)
    assert (data.name, data.split, len(data), data.kind) == (f"embedded:{split}", split, 2000, "number")
    assert data_hash(example_ids(data.examples, data.gold)) == data_hash(
        example_ids(load_dataset(name).examples, data.gold)
    )


def test_the_embedded_test_split_says_which_templates_were_never_trained_on() -> None:
    groups = Counter(e.group for e in load_dataset("embedded:test").examples)
    assert set(groups) == {"taught templates", "templates never trained on"}
    assert groups["templates never trained on"] > 150
    assert {e.group for e in load_dataset("embedded").examples} == {"taught templates"}


def test_the_embedded_problems_have_fixed_columns() -> None:
    with pytest.raises(DataError, match="embedded:test has fixed columns"):
        load_dataset("embedded:test", gold="answer")


def test_a_table_that_needs_no_gold_may_be_without(tmp_path: Path) -> None:
    (tmp_path / "q.csv").write_text("Question,context\nWhat?,here\n")
    data = load_dataset(tmp_path / "q.csv", inputs=["question", "context"], labelled=False)
    assert (data.signature, data.gold) == ("question, context -> answer", "answer")
    assert dict(data.examples[0].items()) == {"question": "What?", "context": "here"}
    with pytest.raises(DataError, match="row without title"):
        load_dataset(tmp_path / "q.csv", inputs=["title"], labelled=False)
