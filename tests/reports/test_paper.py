"""Measured runs under the paper's figures, and what it takes to repeat them."""

import io

import pytest
from make_runs import make_record, make_run, random_run
from rich.console import Console

from tale_dspy.backends.prices import Price
from tale_dspy.reports.paper import beside, beside_table, expected_cost, expected_hardware
from tale_dspy.reports.paper_tables import find_row
from tale_dspy.reports.rows import runs_table


def test_the_paper_stands_alone_without_runs() -> None:
    rows = beside(find_row("table3-gsm8k"), {})
    assert [(r.program, r.provenance, round(r.accuracy or 0, 6)) for r in rows] == [
        *(("direct", "paper", 0.2829), ("cot", "paper", 0.8135), ("tale-ep", "paper", 0.8446)),
    ]
    assert (rows[1].usd_per_1000, rows[1].n, rows[1].net_tokens) == (pytest.approx(5.4109), None, None)
    assert rows[0].notes
    assert not rows[1].notes


def test_our_runs_stand_under_the_papers_and_are_compared_with_our_cot() -> None:
    runs = {"tale-ep": random_run(9, "tale-ep"), "cot": random_run(9), "concise": random_run(9, "concise")}
    rows = beside(find_row("table3-gsm8k"), runs)
    assert [(r.program, r.provenance == "paper", r.versus) for r in rows] == [
        *(("direct", True, None), ("cot", True, None), ("cot", False, None)),
        *(("tale-ep", True, None), ("tale-ep", False, "cot"), ("concise", False, "cot")),
    ]
    assert rows[2].notes[0] == "9 of 1319 questions"
    assert "| paper |" in runs_table(rows).known().markdown()


def test_another_model_or_data_than_the_papers_is_reported() -> None:
    run = make_run("cc", model="openai/gpt-4o", data={"name": "gsm8k-train"})
    notes = beside(find_row("table3-gsm8k"), {"cot": run})[2].notes
    assert notes[0] == "the model is openai/gpt-4o, the paper's openai/gpt-4o-mini"
    assert notes[1] == "the data is gsm8k-train, the paper's gsm8k"


def test_the_papers_own_count_and_judge_make_a_second_row() -> None:
    records = [make_record(i, output_tokens_cl100k=90 + i, paper_correct=i == 0) for i in range(2)]
    ours, judged = beside(find_row("table3-gsm8k"), {"cot": make_run(records, info={"provenance": "simulated"})})[2:4]
    assert (ours.accuracy, ours.output_tokens) == (1.0, 100)
    assert (judged.accuracy, judged.output_tokens, judged.usd_per_1000) == (0.5, 90.5, None)
    assert judged.provenance == "simulated, counted and judged as in the paper"


def test_the_papers_count_without_its_judge_leaves_accuracy_unknown() -> None:
    run = make_run([make_record(0, output_tokens_cl100k=90)])
    judged = beside(find_row("table3-gsm8k"), {"cot": run})[3]
    assert (judged.accuracy, judged.accuracy_interval, judged.output_tokens) == (None, None, 90)


@pytest.mark.parametrize("width", [80, 160])
def test_the_table_beside_the_paper_names_its_row_and_its_baseline(width: int) -> None:
    row = find_row("table3-gsm8k")
    rows = beside(row, {"cot": random_run(9), "tale-ep": random_run(9, "tale-ep", tokens=90)})
    screen = io.StringIO()
    Console(width=width, file=screen).print(beside_table(row, rows, width))
    text = " ".join(screen.getvalue().split())
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
def test_the_cost_of_repeating_a_row_is_forecast(model: str, price: Price | None, end: str) -> None:
    text = expected_cost(find_row("table3-gsm8k"), model, 100, price)
    assert text.startswith(
        f"table3-gsm8k: 400 calls of {model} (100 questions, direct, cot, tale-ep; tale-ep asks twice)"
    )
    assert text.endswith(end)


def test_tuned_models_have_the_papers_own_count_beside_the_mean() -> None:
    tuned = make_run([make_record(i, outcome="correct" if i else "wrong", output_tokens=60) for i in range(4)])
    rows = beside(find_row("table5-gsm8k"), {"cot": random_run(4), "tale-pt-sft": tuned})
    paper, ours = rows[3:5]
    assert (paper.program, paper.provenance, paper.tokens_per_right) == ("tale-pt-sft", "paper", 139.63)
    assert (ours.program, ours.versus, ours.output_tokens, ours.tokens_per_right) == ("tale-pt-sft", "cot", 60, 80.0)
    assert "Tokens / right answer" in runs_table(rows).known().markdown()
    assert (
        "Tokens / right answer"
        not in runs_table(beside(find_row("table3-gsm8k"), {"cot": random_run(4)})).known().markdown()
    )


def test_nothing_right_has_no_tokens_per_right_answer() -> None:
    rows = beside(find_row("table6-gsm8k"), {"tale-pt-sft": make_run("ww")})
    assert [row.tokens_per_right for row in rows if row.provenance != "paper"] == [None]


@pytest.mark.parametrize("width", [80, 160])
def test_the_terminal_has_the_papers_count_too(width: int) -> None:
    row = find_row("table5-gsm8k")
    screen = io.StringIO()
    Console(width=width, file=screen).print(beside_table(row, beside(row, {}), width))
    assert "right answer" in screen.getvalue() and "139.6" in screen.getvalue()


def test_what_training_takes_is_reported_with_the_commands() -> None:
    lines = expected_hardware(find_row("table5-gsm8k-zero"))
    assert "by our arithmetic and not measured: 15 GiB of GPU memory" in lines[0]
    assert "tale search --data gsm8k-train --model hosted_vllm/meta-llama/Llama-3.1-8B-Instruct" in lines[1]
    assert (
        lines[-1].startswith("tale reproduce table5-gsm8k-zero ") and expected_hardware(find_row("table3-gsm8k")) == []
    )
