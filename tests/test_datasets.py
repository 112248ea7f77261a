import csv
import dataclasses
import io
import json
import math
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import dspy
import pydantic
import pytest

from tale_dspy.datasets import Dataset, data_hash, example_id, example_ids, load_dataset
from tale_dspy.errors import DataError, MissingExtraError, UsageError

DATA = os.environ.get("TALE_DATA")
GPQA = ["Question", "Correct Answer", "Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is the working directory and $TALE_DATA."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TALE_DATA", str(tmp_path))
    return tmp_path


def write(name: str, content: str | bytes | list[dict[str, Any]]) -> str:
    """Write a file into the working directory: text, bytes, or rows as JSON lines."""
    if isinstance(content, list):
        content = "\n".join(json.dumps(row) for row in content)
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return name


def rows(data: Dataset) -> list[dict[str, Any]]:
    return [example.toDict() for example in data.examples]


def parquet(columns: list[tuple[str, list[Any]]]) -> bytes:
    import pyarrow
    import pyarrow.parquet

    out = io.BytesIO()
    table = pyarrow.Table.from_arrays([pyarrow.array(v) for _, v in columns], names=[n for n, _ in columns])
    pyarrow.parquet.write_table(table, out)
    return out.getvalue()


# ---- named sets


def test_gsm8k_keeps_the_question_verbatim_and_reads_the_gold_with_its_comma() -> None:
    write("gsm8k_test.jsonl", [{"question": " How much? ", "answer": "It is 2 * 1,000 + 125.\n#### 2,125"}])
    data = load_dataset("GSM8K")
    assert rows(data) == [{"question": " How much? ", "answer": "2125"}]
    assert data.examples[0].inputs().toDict() == {"question": " How much? "}
    assert dataclasses.replace(data, examples=[]) == Dataset(
        "gsm8k", [], "answer", "question -> answer", "answer", "number", "test", "gsm8k_test.jsonl"
    )


def test_gsm8k_zero_keeps_fractions_and_a_last_line_without_newline() -> None:
    lines = [{"question": f"q{n}", "answer": n} for n in (48.0, 1.5, 0.0)]
    write("gsm8k_zero.jsonl", lines)
    assert [example.answer for example in load_dataset("gsm8k-zero").examples] == ["48", "1.5", "0"]


def test_a_mathbench_question_ends_with_its_options_as_in_the_papers_code() -> None:
    row = {"question": " Which? \r\n", "options": ["6 ", "-10"], "answer": "B", "topic": "t"}
    write("mathbench/middle-single_choice_cn.jsonl", [row])
    data = load_dataset("mathbench-middle-cn")
    assert rows(data) == [{"question": "Which?\nA. 6 \nB. -10\n", "choice": "B"}]
    assert (data.form, data.kind, data.signature, data.gold) == ("choice-zh", "choice", "question -> choice", "choice")


@pytest.mark.parametrize(
    ("name", "canonical", "form"),
    [
        ("mathbench-middle", "mathbench-middle", "choice"),
        ("MathBench-Middle-Single_Choice_EN", "mathbench-middle", "choice"),
        ("mathbench-middle-en", "mathbench-middle", "choice"),
        ("mathbench-middle-zh", "mathbench-middle-cn", "choice-zh"),
        ("mathbench-middle-single_choice_cn", "mathbench-middle-cn", "choice-zh"),
        ("mathbench-college_knowledge", "mathbench-college_knowledge", "choice"),
        ("mathbench-college-knowledge-cn", "mathbench-college_knowledge-cn", "choice-zh"),
        ("mathbench-arithmetic", "mathbench-arithmetic", "cloze"),
        ("mathbench-primary-cn", "mathbench-primary-cn", "cloze-zh"),
    ],
)
def test_short_and_full_mathbench_names_give_the_same_set(name: str, canonical: str, form: str) -> None:
    choice = {"question": " q ", "options": ["1", "2"], "answer": "A"}
    for level in ("middle", "college_knowledge"):
        write(f"mathbench/{level}-single_choice_en.jsonl", [choice])
        write(f"mathbench/{level}-single_choice_cn.jsonl", [choice])
    for stem in ("arithmetic-cloze_en", "primary-cloze_cn"):
        write(f"mathbench/{stem}.jsonl", [{"question": " q ", "answer": " -31/3 "}])
    data = load_dataset(name)
    assert (data.name, data.form, data.split) == (canonical, form, "test")
    assert rows(data)[0] in ({"question": "q", "answer": "-31/3"}, {"question": "q\nA. 1\nB. 2\n", "choice": "A"})


def test_a_named_gold_that_is_no_value_is_refused_with_its_line() -> None:
    write("gsm8k_zero.jsonl", [{"question": "q", "answer": 1.0}, {"question": "q", "answer": math.inf}])
    with pytest.raises(DataError, match=r"gsm8k_zero.jsonl:2: a GSM8K answer must be a finite number"):
        load_dataset("gsm8k-zero")


@pytest.mark.parametrize("columns", [{"inputs": ["text"]}, {"gold": "target"}])
def test_a_named_set_has_fixed_columns(columns: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="gsm8k has fixed columns"):
        load_dataset("gsm8k", **columns)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "gsm8k-zeros",
            "did you mean gsm8k-zero.*known are gsm8k, gsm8k-train, .*mathbench-college_knowledge-cn, gpqa",
        ),
        ("", "'' is no file and no known set: known are"),
        ("openai/gsm8k", "hf:owner/name:split"),
        ("embedded", "embedded is not here yet: known are gsm8k"),
        ("embedded:test", "embedded:test is not here yet"),
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
    assert (data.form, data.kind, data.signature) == ("gpqa", "choice", "question -> choice")


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
    assert load_dataset(name).form == "gpqa"


def test_gpqa_row_without_an_option_is_refused() -> None:
    write("gpqa.csv", gpqa_csv([*gpqa_rows(1), gpqa_rows(1)[0] | {GPQA[3]: " "}]))
    with pytest.raises(DataError, match=re.escape("gpqa.csv:4: row without Incorrect Answer 2")):
        load_dataset("gpqa")


# ---- files

TABLE = [
    {"question": "1 + 1?\nthink", "answer": "2", "extra": "x"},
    {"question": "Größe, 数?", "answer": "3", "extra": ""},
]
CSV = 'question,answer,extra\n"1 + 1?\nthink",2,x\n\n"Größe, 数?",3,\n'
FILES = {
    "a.jsonl": "\n".join(["", *(json.dumps(row, ensure_ascii=False) for row in TABLE), " ", ""]),
    "crlf.jsonl": "\r\n".join(json.dumps(row) for row in TABLE),
    "bom.jsonl": b"\xef\xbb\xbf" + json.dumps(TABLE[0]).encode() + b"\n" + json.dumps(TABLE[1]).encode(),
    "list.json": json.dumps(TABLE, indent=1),
    "lines.json": "\n".join(json.dumps(row) for row in TABLE),
    "a.csv": CSV,
    "bom.CSV": b"\xef\xbb\xbf" + CSV.encode(),
    "a.tsv": 'question\tanswer\textra\n"1 + 1?\nthink"\t2\tx\nGröße, 数?\t3\t\n',
    "a.parquet": parquet([(name, [row[name] for row in TABLE]) for name in TABLE[0]]),
}


@pytest.mark.parametrize("name", FILES)
def test_every_kind_of_file_gives_the_same_questions(name: str) -> None:
    write(name, FILES[name])
    data = load_dataset(name)
    assert rows(data) == [{"question": row["question"], "answer": row["answer"]} for row in TABLE]
    assert dataclasses.replace(data, examples=[]) == Dataset(
        name, [], "answer", "question -> answer", "answer", "auto", "all", name
    )


def test_a_path_object_and_a_home_path_are_read_and_their_folder_is_not_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(folder))
    write("deep/a.jsonl", TABLE[:1])
    for name in (folder / "deep" / "a.jsonl", "~/deep/a.jsonl"):
        data = load_dataset(name)
        assert (data.name, data.source) == ("a.jsonl", "a.jsonl")


def test_one_object_in_a_json_file_is_one_row() -> None:
    assert len(load_dataset(write("one.json", json.dumps(TABLE[0], indent=1)))) == 1


def test_values_keep_their_types() -> None:
    values: list[Any] = [48, 1.5, True, False, 0, [1, 2], {"a": None}, "__import__('os')"]
    write("a.jsonl", [{"question": value, "answer": value} for value in values])
    assert [example.answer for example in load_dataset("a.jsonl").examples] == values


def test_a_line_separator_inside_a_json_string_ends_no_line() -> None:
    write("a.jsonl", '{"question": "a\u2028b\x85", "answer": "c"}')
    assert load_dataset("a.jsonl").examples[0].question == "a\u2028b\x85"


def test_a_csv_cell_may_be_larger_than_the_default_limit_of_python() -> None:
    write("a.csv", f"question,answer\n{'x' * 300_000},1\n")
    assert len(load_dataset("a.csv").examples[0].question) == 300_000


def test_empty_columns_that_spreadsheets_add_are_ignored() -> None:
    write("a.csv", ",question, answer ,,\n0,q,1,,\n1,r,2,,,,\n")
    assert rows(load_dataset("a.csv")) == [{"question": "q", "answer": "1"}, {"question": "r", "answer": "2"}]


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


OK = '{"question": "q", "answer": "a"}\n'
BAD_FILES: list[tuple[str, str | bytes, str]] = [
    ("a.jsonl", OK + '{"question": "q"}', "a.jsonl:2: row without answer"),
    ("a.jsonl", OK + "\n" + '{"question": "q", "answer": null}', "a.jsonl:3: row without answer"),
    ("a.jsonl", OK + '{"question": "q", "answer": NaN}', "a.jsonl:2: row without answer"),
    ("a.jsonl", OK + '{"question": " ", "answer": "a"}', "a.jsonl:2: row without question"),
    ("a.jsonl", '{"question": "q", "answer": "lost ####"}', "a.jsonl:1: a GSM8K answer must be a number, or text"),
    ("a.jsonl", OK + OK[:-6], "a.jsonl:2: not JSON: "),
    ("a.jsonl", OK + "[1]", "a.jsonl:2: a row must be a JSON object, got list"),
    ("a.jsonl", '{"answer": 1, "question": "q", "answer": 2}', "a.jsonl:1: column 'answer' appears twice"),
    ("a.jsonl", OK.encode() + b'{"question": "\xe9"}', "a.jsonl:2: not UTF-8 (byte 0xe9): save the file as UTF-8"),
    ("a.jsonl", '{"question": ' + "9" * 5000 + "}", "a.jsonl:1: not JSON that can be read"),
    ("a.jsonl", "[" * 100_000, "a.jsonl:1: not JSON that can be read"),
    ("a.jsonl", '{"text": "q", "solution": 1}', "a.jsonl has the columns text, solution: there is no input 'question'"),
    (
        "a.jsonl",
        '{"question": "q", "solution": 1}',
        "there is no 'answer' or 'choice' or 'gold' or 'target' or 'label'",
    ),
    ("a.jsonl", "", "a.jsonl has no rows"),
    ("a.jsonl", " \n\n", "a.jsonl has no rows"),
    ("a.json", "", "a.json has no rows"),
    ("a.json", "[]", "a.json has no rows"),
    ("a.json", "7", "a.json, row 1: a row must be a JSON object, got int"),
    ("a.json", '[{"question": "q",\n "answer" 3}]', "a.json:2: not JSON: Expecting ':' delimiter, column 11"),
    ("a.json", OK + '\n\n{"question": "q"}', "a.json:4: row without answer"),
    ("a.json", '[{"a": 1, "a": 2}]', "a.json: column 'a' appears twice"),
    ("a.csv", "", "a.csv has no rows"),
    ("a.csv", "question,answer\n", "a.csv has no rows"),
    ("a.csv", 'question,answer\n"a\nb",1\nq,\n', "a.csv:4: row without answer"),
    ("a.csv", "question,answer\nq\n", "a.csv:2: row without answer"),
    ("a.csv", "question,answer\nq,1,2\n", "a.csv:2: 3 cells, but the header has 2"),
    ("a.csv", "question,answer,question\nq,1,2\n", "a.csv:1: column 'question' appears twice"),
    ("a.csv", 'question,answer\nq,1\n"q,2\n', "a.csv:3: not CSV: unexpected end of data"),
    ("a.tsv", "question,answer\nq,1\n", "a.tsv has the columns question,answer: there is no input 'question'"),
    ("a.parquet", b"PAR0", "a.parquet is no parquet file that can be read"),
    ("a.parquet", parquet([("a", [1]), ("a", [2])]), "a.parquet: column 'a' appears twice"),
    ("a.parquet", parquet([("question", ["q", "r"]), ("answer", [1, None])]), "a.parquet, row 2: row without answer"),
    ("a.txt", OK, "a.txt has the unknown extension '.txt': known are .jsonl, .json, .csv, .tsv, .parquet"),
    ("folder.jsonl/x", "", "folder.jsonl is a folder"),
    ("other", "", "a.jsonl does not exist"),
]


@pytest.mark.parametrize(("name", "content", "message"), BAD_FILES)
def test_a_file_that_cannot_be_used_is_one_sentence_naming_the_place(
    name: str, content: str | bytes, message: str
) -> None:
    write(name, content)
    with pytest.raises(DataError, match=re.escape(message)) as caught:
        load_dataset({"folder.jsonl/x": "folder.jsonl", "other": "a.jsonl"}.get(name, name))
    assert "\n" not in str(caught.value)


def test_a_file_that_may_not_be_read_says_why() -> None:
    # File modes do not stop a superuser; this file of Linux stops everybody, and is not there elsewhere.
    Path("mem.jsonl").symlink_to("/proc/self/mem")
    with pytest.raises(DataError, match=r"mem.jsonl (cannot be read: Input/output error|does not exist)"):
        load_dataset("mem.jsonl")


@pytest.mark.parametrize(
    ("inputs", "gold"),
    [([], None), (["question", "question"], None), (["question"], "question"), (["a b", "a_b"], "answer")],
)
def test_columns_must_differ(inputs: list[str], gold: str | None) -> None:
    write("a.jsonl", [{"question": "q", "answer": "a", "a b": 1, "a_b": 2}])
    with pytest.raises(DataError, match="must be at least two different columns"):
        load_dataset("a.jsonl", inputs=inputs, gold=gold)


@pytest.mark.parametrize(
    ("column", "field"),
    [
        ("contextA", "contextA"),
        ("问题", "问题"),
        ("Question Text", "question_text"),
        ("What is -- it?", "what_is_it"),
        ("class", "class_"),
        ("None", "None_"),
        ("inputs", "inputs_"),
        ("keys", "keys_"),
        ("copy", "copy_"),
        ("base", "base_"),
        ("self", "self_"),
        ("config", "config_"),
        ("instructions", "instructions_"),
        ("reasoning", "reasoning_"),
        ("model_dump", "column_model_dump"),
        ("_hidden", "hidden"),
        ("dspy_uuid", "column_dspy_uuid"),
        ("1st", "column_1st"),
        ("???", "column_"),
        ("ﬁeld", "field"),
        ("𐄇", "column_"),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_any_column_name_becomes_a_field_that_dspy_takes(column: str, field: str) -> None:
    write("a.jsonl", [{column: "the value", "answer": "a"}])
    data = load_dataset("a.jsonl", inputs=[column])
    assert data.signature == f"{field} -> answer"
    assert getattr(data.examples[0], field) == "the value"
    lm = dspy.utils.DummyLM([{"reasoning": "r", "answer": "a"}])
    with dspy.context(lm=lm):
        dspy.ChainOfThought(data.signature)(**data.examples[0].inputs())
    assert "the value" in str(lm.history[-1]["messages"])


def test_a_renamed_column_is_found_by_its_field_name() -> None:
    write("a.jsonl", [{"Question Text": "q", "Class": "a"}])
    data = load_dataset("a.jsonl", inputs=["question_text"], gold="class")
    assert rows(data) == [{"question_text": "q", "class_": "a"}]


# ---- options


@pytest.mark.parametrize(
    "options", [["1", 2, 2.5], {"A": "1", "B": 2, "C": 2.5}, '["1", 2, 2.5]', '{"C": 2.5, "B": 2, "A": "1"}']
)
@pytest.mark.parametrize(("column", "letter"), [("answer", "B"), ("choice", " b "), ("gold", "b")])
def test_options_are_written_into_the_question(options: Any, column: str, letter: str) -> None:
    write("a.jsonl", [{"question": " q ", "options": options, column: letter}])
    data = load_dataset("a.jsonl")
    assert rows(data) == [{"question": "q\nA. 1\nB. 2\nC. 2.5\n", "choice": "B"}]
    assert (data.form, data.kind, data.signature) == ("choice", "choice", "question -> choice")


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
    assert (data.form, data.kind, data.signature) == ("choice", kind, "question -> choice")


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


# ---- the hub


@pytest.fixture
def hub(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`datasets` without network: it takes a local folder for the repository of that name."""
    import datasets
    import datasets.config

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", folder / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    datasets.disable_progress_bars()
    return folder


@pytest.mark.parametrize("name", ["hf:team/set:test", "hf:team/set"])
def test_a_hub_set_is_read_through_datasets(hub: Path, name: str) -> None:
    write("team/set/test.jsonl", TABLE)
    data = load_dataset(name)
    assert rows(data) == [{"question": row["question"], "answer": row["answer"]} for row in TABLE]
    assert (data.name, data.split, data.source) == ("hf:team/set:test", "test", "team/set")


def test_a_hub_set_of_several_splits_asks_for_one(hub: Path) -> None:
    for split in ("train", "test"):
        write(f"team/set/{split}.jsonl", TABLE)
    with pytest.raises(DataError, match="hf:team/set has several splits: name one, as in hf:team/set:train"):
        load_dataset("hf:team/set")


def test_a_hub_set_that_is_not_there_is_one_sentence(hub: Path) -> None:
    with pytest.raises(DataError, match=r"hf:team/none could not be loaded: \w+: ") as caught:
        load_dataset("hf:team/none/config:test")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["gsm8k", "gsm8k-train", "gsm8k-zero", "gpqa"])
def test_a_named_set_found_nowhere_says_both_ways(hub: Path, name: str) -> None:
    with pytest.raises(
        DataError, match=r"set TALE_DATA to a folder with .*pip install 'tale-dspy\[data\]' with network"
    ):
        load_dataset(name)


def test_a_named_set_without_tale_data_and_without_datasets_says_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TALE_DATA")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match=r"gsm8k_test.jsonl, or pip install 'tale-dspy\[data\]'"):
        load_dataset("gsm8k")


@pytest.mark.parametrize(("name", "package"), [("hf:a/b:test", "datasets"), ("a.parquet", "pyarrow")])
def test_a_missing_library_names_the_extra(name: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write("a.parquet", FILES["a.parquet"])
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=rf"{package} is not installed: pip install 'tale-dspy\[data\]'"):
        load_dataset(name)


# ---- slices and ids


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


def example(gold: Any = "2", **inputs: Any) -> dspy.Example:
    return dspy.Example(**inputs, answer=gold).with_inputs(*inputs)


def test_an_id_is_pinned() -> None:
    assert example_id(example(question="1 + 1? é"), "answer") == "0716d61e7b95dffb"
    assert data_hash(["a", "b-2"]) == "6e871d19024040c8"


def test_an_id_depends_on_inputs_and_gold_but_not_on_order_or_budget() -> None:
    one = example_id(example(question="q", context="c"), "answer")
    assert one == example_id(example(context="c", question="q"), "answer")
    assert one == example_id(example(question="q", context="c", token_budget=50), "answer")
    assert one == example_id(example(question="q", context="c").copy(note="n", dspy_uuid="u"), "answer")
    others = [example(question="q"), example(question="q", context="d"), example("3", question="q", context="c")]
    assert len({one, *(example_id(other, "answer") for other in others)}) == 4


def test_repeated_rows_are_numbered_in_file_order() -> None:
    a, b = example(question="a"), example(question="b")
    ids = example_ids([a, b, a, a, b], "answer")
    assert [i[16:] for i in ids] == ["", "", "-2", "-3", "-2"]
    assert ids[3].startswith(ids[0])
    assert len(set(ids)) == 5


def test_data_hash_depends_on_the_order() -> None:
    assert data_hash(["a", "b"]) != data_hash(["b", "a"])
    assert re.fullmatch("[0-9a-f]{16}", data_hash([]))


class Point(pydantic.BaseModel):
    x: int
    tags: set[str] = set()


class Opaque:
    pass


LOOP: list[Any] = []
LOOP.append(LOOP)


@pytest.mark.parametrize(
    "make",
    [
        lambda: "\ud800 half a pair",
        lambda: Point(x=1, tags={"a", "b"}),
        lambda: [Point(x=1)],
        lambda: {"b", "a"},
        lambda: {(1, 2): "tuple key", None: 1},
        lambda: {1: "a", "1": "b"},
        lambda: math.nan,
        lambda: b"bytes",
        lambda: Opaque(),
        lambda: dspy.Example(a=1, b=2).with_inputs("a", "b"),
        lambda: dspy.History(messages=[{"q": "a"}]),
        lambda: LOOP,
    ],
)
def test_values_beyond_json_have_an_id_that_stays(make: Any) -> None:
    ids = {example_id(example(make(), question=make()), "answer") for _ in range(2)}
    assert len(ids) == 1
    assert re.fullmatch("[0-9a-f]{16}", ids.pop())


def test_ids_of_sets_do_not_change_with_the_hash_seed() -> None:
    code = (
        "import dspy; from tale_dspy.datasets import example_id;"
        "e = dspy.Example(q=set('abcdefg'), h=dspy.Example(a=1, b=2).with_inputs('a', 'b')).with_inputs('q', 'h');"
        "print(example_id(e, 'answer'))"
    )
    runs = [
        subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True)
        for seed in ("1", "2")
    ]
    assert runs[0].stdout == runs[1].stdout != b""


def test_an_example_without_inputs_has_no_id() -> None:
    with pytest.raises(DataError, match="mark them with"):
        example_id(dspy.Example(question="q"), "answer")


def test_importing_the_module_loads_no_heavy_package() -> None:
    code = (
        "import sys, tale_dspy.datasets;"
        "print({'dspy', 'litellm', 'datasets', 'pyarrow', 'pandas', 'sympy'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


# ---- the published files, where TALE_DATA names their folder

if DATA:

    @pytest.fixture
    def published(monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setenv("TALE_DATA", str(DATA))
        return Path(str(DATA))

    def lines(path: Path) -> list[dict[str, Any]]:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]

    @pytest.mark.parametrize(("name", "file", "size"), [("gsm8k", "test", 1319), ("gsm8k-train", "train", 7473)])
    def test_all_gsm8k_golds_are_right(published: Path, name: str, file: str, size: int) -> None:
        raw = lines(published / f"gsm8k_{file}.jsonl")
        expected = [str(int(re.findall(r"#### ([-\d,]+)$", row["answer"])[0].replace(",", ""))) for row in raw]
        data = load_dataset(name)
        assert [e.question for e in data.examples] == [row["question"] for row in raw]
        assert [e.answer for e in data.examples] == expected
        assert len(data) == len(set(example_ids(data.examples, data.gold))) == size

    def test_gsm8k_zero_has_its_fractions_and_its_repeats(published: Path) -> None:
        raw = lines(published / "gsm8k_zero.jsonl")
        data = load_dataset("gsm8k-zero")
        assert [float(e.answer) for e in data.examples] == [row["answer"] for row in raw]
        assert sum("." in e.answer for e in data.examples) == 65
        ids = example_ids(data.examples, "answer")
        assert len(ids) == len(set(ids)) == 2978
        assert sum("-" in i for i in ids) == 24

    @pytest.mark.parametrize("file", sorted(p.stem for p in (Path(DATA) / "mathbench").glob("*.jsonl")))
    def test_every_mathbench_set_loads_with_golds_in_range(published: Path, file: str) -> None:
        raw = lines(published / "mathbench" / f"{file}.jsonl")
        data = load_dataset(f"mathbench-{file}")
        assert len(data) == len(raw)
        for example, row in zip(data.examples, raw, strict=True):
            options = "".join(
                f"\n{letter}. {text}" for letter, text in zip("ABCD", row.get("options", ()), strict=False)
            )
            assert example.question == row["question"].strip() + (f"{options}\n" if options else "")
            assert example[data.gold] == row["answer"]
            assert not options or f"\n{row['answer']}. " in options

    def test_all_seventeen_mathbench_sets_are_here(published: Path) -> None:
        assert len(list((published / "mathbench").glob("*.jsonl"))) == 17
