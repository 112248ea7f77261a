import io
import os
from pathlib import Path

import pytest
from make_runs import make_record, make_run, random_run
from rich.console import Console

from tale_dspy.errors import UsageError
from tale_dspy.receipts import Price
from tale_dspy.reports.paper import ROWS, beside, beside_table, expected_cost, find_row
from tale_dspy.reports.table import markdown


def test_the_rows_are_those_of_tables_3_and_4() -> None:
    assert list(ROWS) == [
        *("table3-gsm8k", "table3-gsm8k-zero", "table3-mathbench-arithmetic", "table3-mathbench-middle"),
        *("table3-mathbench-high", "table3-mathbench-college"),
        *("table4-yi-lightning", "table4-gpt-4o-mini", "table4-gpt-4o", "table4-o3-mini"),
    ]
    assert all(name == row.id and list(row.systems) == ["direct", "cot", "tale-ep"] for name, row in ROWS.items())


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


def test_the_inconsistencies_of_the_paper_are_told() -> None:
    assert "138.53" in " ".join(ROWS["table3-gsm8k-zero"].notes)
    assert "58.93 %" in " ".join(ROWS["table4-o3-mini"].notes)
    assert "19.1e-5 USD" in " ".join(ROWS["table3-gsm8k"].notes)


def test_the_paper_stands_alone_without_runs() -> None:
    rows = beside(find_row("table3-gsm8k"), {})
    assert [(r.program, r.mark, round(r.accuracy or 0, 6)) for r in rows] == [
        *(("direct", "paper", 0.2829), ("cot", "paper", 0.8135), ("tale-ep", "paper", 0.8446)),
    ]
    assert (rows[1].usd_per_1000, rows[1].n, rows[1].net_tokens) == (pytest.approx(5.4109), None, None)
    assert rows[0].notes
    assert not rows[1].notes


def test_our_runs_stand_under_the_papers_and_are_compared_with_our_cot() -> None:
    runs = {"tale-ep": random_run(9, "tale-ep"), "cot": random_run(9), "concise": random_run(9, "concise")}
    rows = beside(find_row("table3-gsm8k"), runs)
    assert [(r.program, r.mark == "paper", r.versus) for r in rows] == [
        *(("direct", True, None), ("cot", True, None), ("cot", False, None)),
        *(("tale-ep", True, None), ("tale-ep", False, "cot"), ("concise", False, "cot")),
    ]
    assert rows[2].notes[0] == "9 of 1319 questions"
    assert "| paper |" in markdown(rows)


def test_another_model_or_data_than_the_papers_is_told() -> None:
    run = make_run("cc", model="openai/gpt-4o", data={"name": "gsm8k-train"})
    notes = beside(find_row("table3-gsm8k"), {"cot": run})[2].notes
    assert notes[0] == "the model is openai/gpt-4o, the paper's openai/gpt-4o-mini"
    assert notes[1] == "the data is gsm8k-train, the paper's gsm8k"


def test_the_papers_own_count_and_judge_make_a_second_row() -> None:
    records = [make_record(i, output_tokens_cl100k=90 + i, paper_correct=i == 0) for i in range(2)]
    ours, judged = beside(find_row("table3-gsm8k"), {"cot": make_run(records, info={"mark": "simulated"})})[2:4]
    assert (ours.accuracy, ours.output_tokens) == (1.0, 100)
    assert (judged.accuracy, judged.output_tokens, judged.usd_per_1000) == (0.5, 90.5, None)
    assert judged.mark == "simulated, counted and judged as in the paper"


def test_the_papers_count_without_its_judge_leaves_accuracy_unknown() -> None:
    run = make_run([make_record(0, output_tokens_cl100k=90)])
    judged = beside(find_row("table3-gsm8k"), {"cot": run})[3]
    assert (judged.accuracy, judged.accuracy_interval, judged.output_tokens) == (None, None, 90)


@pytest.mark.parametrize("width", [80, 160])
def test_the_table_beside_the_paper_names_its_row_and_its_baseline(width: int) -> None:
    row = find_row("table3-gsm8k")
    rows = beside(row, {"cot": random_run(9), "tale-ep": random_run(9, "tale-ep", tokens=90)})
    console = Console(width=width, file=io.StringIO())
    console.print(beside_table(row, rows, width))
    text = " ".join(console.file.getvalue().split())
    assert "table3-gsm8k: the paper's table 3, gsm8k with openai/gpt-4o-mini" in text
    assert "Differences are to the run of cot" in text
    assert "Evidence (direct, cot, tale-ep): paper" in text


@pytest.mark.parametrize(
    ("model", "price", "end"),
    [
        ("any/model", Price(1e-6, 2e-6), "about 41,782 output tokens and 0.16 US dollars"),
        ("openai/gpt-4o-mini", None, "about 41,782 output tokens and 0.04 US dollars"),
        ("openai/no-such-model", None, "output tokens; the price of openai/no-such-model is unknown"),
    ],
)
def test_the_cost_of_repeating_a_row_is_told_before(model: str, price: Price | None, end: str) -> None:
    text = expected_cost(find_row("table3-gsm8k"), model, 100, price)
    assert text.startswith(
        f"table3-gsm8k: 400 calls of {model} (100 questions, direct, cot, tale-ep; tale-ep asks twice)"
    )
    assert text.endswith(end)


def test_sizes_are_those_of_the_published_files() -> None:
    folder = Path(os.environ.get("TALE_DATA", "no such folder"))
    files = {"gsm8k": "gsm8k_test", "gsm8k-zero": "gsm8k_zero", "mathbench-arithmetic": "mathbench/arithmetic-cloze_en"}
    files |= {f"mathbench-{s}": f"mathbench/{s}-single_choice_en" for s in ("middle", "high", "college")}
    found = {row.data: folder / f"{files[row.data]}.jsonl" for row in ROWS.values()}
    for row in ROWS.values():
        if found[row.data].exists():
            assert len(found[row.data].read_text(encoding="utf-8").splitlines()) == row.questions
