"""The paper's tables as data: what they hold, what does not fit together in them, and how a row is found."""

import os
from pathlib import Path

import pytest

from tale_dspy.errors import UsageError
from tale_dspy.reports.paper_tables import ROWS, find_row


def test_the_rows_are_those_of_tables_3_to_6() -> None:
    assert list(ROWS) == [
        *("table3-gsm8k", "table3-gsm8k-zero", "table3-mathbench-arithmetic", "table3-mathbench-middle"),
        *("table3-mathbench-high", "table3-mathbench-college"),
        *("table4-yi-lightning", "table4-gpt-4o-mini", "table4-gpt-4o", "table4-o3-mini"),
        *("table5-gsm8k", "table5-gsm8k-zero", "table6-gsm8k"),
    ]
    assert all(name == row.id for name, row in ROWS.items())
    assert all(list(row.systems) == ["direct", "cot", "tale-ep"] for row in ROWS.values() if row.table < 5)


def test_tables_5_and_6_have_the_same_trained_models() -> None:
    zero, five, six = (find_row(name) for name in ("table5-gsm8k-zero", "table5-gsm8k", "table6-gsm8k"))
    assert five.tuned == six.tuned == zero.tuned == ("tale-pt-sft", "tale-pt-dpo")
    assert all(five.systems[system] == six.systems[system] for system in five.tuned)
    assert (six.systems["tale-ep"].accuracy, six.systems["tale-ep"].output_tokens) == (71.82, 112.21)


@pytest.mark.parametrize(("name", "cuts"), [("table5-gsm8k", (42.18, 37.92)), ("table5-gsm8k-zero", (68.99, 54.83))])
def test_table_5_saves_what_the_note_says(name: str, cuts: tuple[float, float]) -> None:
    row = find_row(name)
    tokens = [row.systems[s].output_tokens for s in ("cot", *row.tuned)]
    assert [100 * (1 - tuned / tokens[0]) for tuned in tokens[1:]] == pytest.approx(cuts, abs=0.01)
    assert all(f"{cut} %" in " ".join(row.notes) for cut in cuts)


@pytest.mark.parametrize(
    ("system", "accuracy", "tokens", "expense"),
    [("direct", 52.31, 14.57, 25.37), ("cot", 83.75, 461.25, 289.78), ("tale-ep", 81.03, 148.72, 118.46)],
)
def test_table_3_has_the_averages_the_paper_prints(system: str, accuracy: float, tokens: float, expense: float) -> None:
    figures = [row.systems[system] for row in ROWS.values() if row.table == 3]
    assert sum(f.accuracy for f in figures) / 6 == pytest.approx(accuracy, abs=0.006)
    assert sum(f.output_tokens for f in figures) / 6 == pytest.approx(tokens, abs=0.006)
    assert sum(f.expense or 0 for f in figures) / 6 == pytest.approx(expense, abs=0.006)


def test_table_4_saves_what_the_note_says() -> None:
    cuts = [
        1 - r.systems["tale-ep"].output_tokens / r.systems["cot"].output_tokens for r in ROWS.values() if r.table == 4
    ]
    assert 100 * sum(cuts) / 4 == pytest.approx(58.93, abs=0.01)
    assert 100 * sum(cuts[:3]) / 3 == pytest.approx(64.66, abs=0.01)


@pytest.mark.parametrize("name", ["Table3-GSM8K", " table3-gsm8k "])
def test_a_row_is_found_whatever_its_case(name: str) -> None:
    row = find_row(name)
    assert (row.data, row.model, row.questions) == ("gsm8k", "openai/gpt-4o-mini", 1319)
    assert (row.systems["tale-ep"].accuracy, row.systems["tale-ep"].output_tokens) == (84.46, 77.26)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("table3-gsm8", "did you mean table3-gsm8k"),
        ("yi", "did you mean table4-yi-lightning"),
        ("", "known are table3-gsm8k,"),
        ("???", "known are table3-gsm8k,"),
    ],
)
def test_an_unknown_row_is_refused_with_near_names(name: str, hint: str) -> None:
    with pytest.raises(UsageError, match="is no row of the paper's tables") as error:
        find_row(name)
    assert hint in str(error.value)


def test_the_inconsistencies_of_the_paper_are_reported() -> None:
    assert "138.53" in " ".join(ROWS["table3-gsm8k-zero"].notes)
    assert "58.93 %" in " ".join(ROWS["table4-o3-mini"].notes)
    assert "19.1e-5 USD" in " ".join(ROWS["table3-gsm8k"].notes)


def test_sizes_are_those_of_the_published_files() -> None:
    folder = Path(os.environ.get("TALE_DATA", "no such folder"))
    files = {"gsm8k": "gsm8k_test", "gsm8k-zero": "gsm8k_zero", "mathbench-arithmetic": "mathbench/arithmetic-cloze_en"}
    files |= {f"mathbench-{s}": f"mathbench/{s}-single_choice_en" for s in ("middle", "high", "college")}
    paths = {row.data: folder / f"{files[row.data]}.jsonl" for row in ROWS.values()}
    for row in ROWS.values():
        if paths[row.data].exists():
            assert len(paths[row.data].read_text(encoding="utf-8").splitlines()) == row.questions
