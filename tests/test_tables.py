import dataclasses
import json
import os
import re
import sys
from pathlib import Path

import dspy
import pytest
from make_tables import TABLE, parquet, rows, write
from make_tables import folder as folder
from make_tables import hub as hub

from tale_dspy.datasets import Dataset, load_dataset
from tale_dspy.errors import DataError, MissingExtraError
from tale_dspy.tables import names_a_file, read_file

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


def test_a_path_object_and_a_home_path_are_read_and_their_folder_is_not_shown(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(folder))
    write("deep/a.jsonl", TABLE[:1])
    for name in (folder / "deep" / "a.jsonl", "~/deep/a.jsonl"):
        data = load_dataset(name)
        assert (data.name, data.source) == ("a.jsonl", "a.jsonl")


def test_one_object_in_a_json_file_is_one_row() -> None:
    assert len(load_dataset(write("one.json", json.dumps(TABLE[0], indent=1)))) == 1


def test_a_line_separator_inside_a_json_string_ends_no_line() -> None:
    write("a.jsonl", '{"question": "a\u2028b\x85", "answer": "c"}')
    assert load_dataset("a.jsonl").examples[0].question == "a\u2028b\x85"


def test_a_csv_cell_may_be_larger_than_the_default_limit_of_python() -> None:
    write("a.csv", f"question,answer\n{'x' * 300_000},1\n")
    assert len(load_dataset("a.csv").examples[0].question) == 300_000


def test_empty_columns_that_spreadsheets_add_are_ignored() -> None:
    write("a.csv", ",question, answer ,,\n0,q,1,,\n1,r,2,,,,\n")
    assert rows(load_dataset("a.csv")) == [{"question": "q", "answer": "1"}, {"question": "r", "answer": "2"}]


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
        '{"question": "q", "remark": 1}',
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


# ---- the hub


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


@pytest.mark.parametrize(("name", "package"), [("hf:a/b:test", "datasets"), ("a.parquet", "pyarrow")])
def test_a_missing_library_names_the_extra(name: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write("a.parquet", FILES["a.parquet"])
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=rf"{package} is not installed: pip install 'tale-dspy\[data\]'"):
        load_dataset(name)


@pytest.mark.parametrize(
    "text", ["question;answer\nq, yes;1\n", '"q1";"1,5"\n"a";"2,5"\n', "question;answer;more\n1;2;3\n"]
)
def test_a_csv_separated_by_semicolons_is_said_to_be(text: str) -> None:
    write("a.csv", text)
    with pytest.raises(DataError, match=r"a.csv:1: its cells are separated by ';'"):
        load_dataset("a.csv")


@pytest.mark.parametrize(
    "table", ['{"question": ["a", "b"], "answer": ["c", "d"]}', '{"question": {"0": "a"}, "answer": {"0": "c"}}']
)
def test_a_table_by_columns_is_refused(table: str) -> None:
    write("a.json", table)
    with pytest.raises(DataError, match="holds columns and not rows"):
        load_dataset("a.json")


def test_a_pipe_is_refused_since_it_can_be_read_but_once(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    os.mkfifo(path)
    with pytest.raises(DataError, match=r"a\.jsonl is a pipe or a device, and questions are read more than once"):
        read_file(str(path))
    assert names_a_file(str(path))
