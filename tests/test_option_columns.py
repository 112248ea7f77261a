"""The layouts of published multiple-choice sets: their options are shown, or the file is refused."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from make_tables import folder as folder
from make_tables import write

from tale_dspy.datasets import load_dataset
from tale_dspy.errors import DataError
from tale_dspy.option_columns import RowOptions, option_letter, right_letters

LAYOUTS = Path(__file__).parent / "data" / "tables.jsonl"
CASES: dict[str, dict[str, Any]] = {
    row["layout"]: row for row in map(json.loads, LAYOUTS.read_text(encoding="utf-8").splitlines())
}
"""By layout: the rows, the first question with its options, and its letter; or no question and why it is refused."""


@pytest.mark.parametrize("layout", CASES)
def test_options_are_shown_or_refused_in_one_sentence(layout: str) -> None:
    case = CASES[layout]
    write("a.jsonl", case["rows"])
    if case["question"] is None:
        with pytest.raises(DataError, match=re.escape(case["expect"])) as caught:
            load_dataset("a.jsonl")
        assert "\n" not in str(caught.value)
        return
    data = load_dataset("a.jsonl")
    (field,) = data.examples[0].inputs().keys()
    assert (data.examples[0][field], data.examples[0].choice) == (case["question"], case["expect"])
    assert (data.task, data.kind, data.gold) == ("choice", "choice", "choice")


def test_a_csv_has_one_column_for_each_option() -> None:
    write("a.csv", "question,option_a,option_b,answer\nq,1,2,b\n")
    assert dict(load_dataset("a.csv").examples[0].items()) == {"question": "q\nA. 1\nB. 2\n", "choice": "B"}


@pytest.mark.parametrize("column", ["answer", "target", "label", "gold", "solution"])
@pytest.mark.parametrize("gold", ["B", "(B)", "B."])
def test_golds_that_are_letters_mean_choices_whatever_their_column_is_called(column: str, gold: str) -> None:
    write("a.jsonl", [{"question": "q", column: gold}])
    data = load_dataset("a.jsonl")
    assert (data.signature, data.kind, data.examples[0].choice) == ("question -> choice", "choice", "B")


GOLDS = [
    (["B", "a"], "BA"),
    ([0, 1], "AB"),
    ([1, 2], "AB"),
    (["y", "x"], "BA"),
    ([1, 1], None),
    ([0, 2], None),
    ([True], None),
    ([float("inf")], None),
]


@pytest.mark.parametrize(("golds", "letters"), GOLDS)
def test_the_golds_of_a_table_are_read_alike(golds: list[object], letters: str | None) -> None:
    rows = [RowOptions(["x", "y"], ["A", "B"])] * len(golds)
    read_letters = right_letters(rows, golds)
    assert (read_letters and "".join(read_letters)) == letters


@pytest.mark.parametrize(("gold", "letter"), [(" b ", "B"), ("(C)", "C"), ("K", None), ("AB", None), (1, None)])
def test_a_gold_may_be_a_letter(gold: object, letter: str | None) -> None:
    assert option_letter(gold) == letter
