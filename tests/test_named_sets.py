import dataclasses
import json
import math
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from make_tables import folder as folder
from make_tables import hub as hub
from make_tables import rows, write

from tale_dspy.datasets import Dataset, example_ids, load_dataset
from tale_dspy.errors import DataError


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
    assert (data.task, data.kind, data.signature, data.gold) == ("choice-zh", "choice", "question -> choice", "choice")


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
    assert (data.name, data.task, data.split) == (canonical, form, "test")
    assert rows(data)[0] in ({"question": "q", "answer": "-31/3"}, {"question": "q\nA. 1\nB. 2\n", "choice": "A"})


def test_a_named_gold_that_is_no_value_is_refused_with_its_line() -> None:
    write("gsm8k_zero.jsonl", [{"question": "q", "answer": 1.0}, {"question": "q", "answer": math.inf}])
    with pytest.raises(DataError, match=r"gsm8k_zero.jsonl:2: a GSM8K answer must be a finite number"):
        load_dataset("gsm8k-zero")


@pytest.mark.parametrize("columns", [{"inputs": ["text"]}, {"gold": "target"}])
def test_a_named_set_has_fixed_columns(columns: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="gsm8k has fixed columns"):
        load_dataset("gsm8k", **columns)


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


# ---- the published files, where TALE_DATA names their folder

DATA = os.environ.get("TALE_DATA")

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


@pytest.mark.parametrize(
    ("name", "file", "row", "gold"),
    [
        ("math-500", "math500_test.jsonl", {"problem": "p", "answer": r"\frac{1}{2}", "level": 1}, r"\frac{1}{2}"),
        ("aime-2024", "aime_2024.jsonl", {"problem": "p", "answer": "204"}, "204"),
    ],
)
def test_a_set_with_other_columns_is_one_row(name: str, file: str, row: dict[str, Any], gold: str) -> None:
    write(file, [row])
    data = load_dataset(name)
    assert (data.signature, data.task) == ("question -> answer", "answer")
    assert rows(data) == [{"question": "p", "answer": gold}]
