"""Ladders among runs: rungs that differ in their budgets alone, and the run without one."""

import io
from pathlib import Path
from typing import Any

import pytest
from make_runs import make_record, make_run
from rich.console import Console

from tale_dspy.reports.report_folder import write_report
from tale_dspy.reports.sources import ReportSources
from tale_dspy.reports.sweeps import screen_sweep_table, sweep_drawings, sweep_table, sweeps
from tale_dspy.runs.records import Run

N = 4


def rung(name: str, asked: list[int], **config: Any) -> Run:
    records = [
        make_record(
            i,
            token_budget=b,
            budget_source="given",
            output_tokens=b + 20,
            outcome="correct" if b > 9 else "wrong",
        )
        for i, b in enumerate(asked)
    ]
    return make_run(records, name, info={"program": {"name": name, "class": "BudgetedChainOfThought"}}, **config)


def vanilla() -> Run:
    records = [make_record(i, output_tokens=100 + 20 * i) for i in range(N)]
    return make_run(records, "cot", info={"program": {"name": "cot", "class": "VanillaCoT"}, "provenance": "simulated"})


def scaled(share: float) -> Run:
    return rung(f"budget:{share}x", [round(share * (100 + 20 * i)) for i in range(N)], budgets=str(share))


RUNGS = [rung(f"budget:{b}", [b] * N) for b in (60, 10, 25)]


def test_three_budgets_and_a_vanilla_run_are_a_sweep() -> None:
    (sweep,) = sweeps([vanilla(), *RUNGS])
    assert [r.name for r in sweep.runs] == ["budget:60", "budget:10", "budget:25"] and sweep.vanilla.name == "cot"
    assert len(sweep.curves) == N and len(sweep.curves[0].points) == 3
    assert sweeps(RUNGS) == [] and sweeps([vanilla(), *RUNGS[:2]]) == []


def test_shares_of_the_vanilla_tokens_are_a_sweep_too() -> None:
    (sweep,) = sweeps([vanilla(), *(scaled(s) for s in (0.1, 0.3, 0.5))])
    assert [p.budget for p in sweep.curves[1].points] == [12, 36, 60]


def test_one_number_with_several_words_is_no_sweep() -> None:
    runs = [rung(f"effort:{word}+50", [50] * N) for word in ("low", "medium", "high")]
    assert sweeps([vanilla(), *runs]) == []


def test_runs_of_another_model_are_not_mixed_in() -> None:
    others = [rung(r.name, [r.records[0].token_budget or 1] * N, model="other") for r in RUNGS]
    assert len(sweeps([vanilla(), *RUNGS, *others])) == 1


def test_figures_name_the_model_and_the_evidence() -> None:
    (sweep,) = sweeps([vanilla(), *RUNGS])
    assert {drawing.stem for drawing in sweep_drawings(sweep)} == {"elasticity_questions", "elasticity_pooled"}
    assert sweep.notes[0] == "Model: openai/gpt-4o-mini." and "Evidence of cot: simulated." in sweep.notes


def test_a_sweep_on_a_terminal_has_a_line_a_budget() -> None:
    screen = Console(width=120, record=True, file=io.StringIO())
    screen.print(sweep_table(vanilla(), [scaled(0.5), scaled(0.1)]).rich())
    text = screen.export_text()
    assert (
        text.index("cot")
        < text.index("budget:0.5x")
        < text.index("budget:0.1x")
        < text.index("Evidence of cot: simulated.")
    )
    assert "savings are paired" in text


@pytest.mark.parametrize("width", [80, 160])
def test_every_line_says_its_budget_however_narrow_the_terminal(width: int) -> None:
    screen = Console(width=width, record=True, file=io.StringIO())
    screen.print(screen_sweep_table(vanilla(), [scaled(0.5), scaled(0.1)], width).rich())
    text = screen.export_text()
    assert "budget:0.5x" in text and "budget:0.1x" in text and "saved %" in text
    assert ("[" not in next(line for line in text.splitlines() if "budget:0.5x" in line)) is (width == 80)


def test_a_report_draws_them_beside_the_curve(tmp_path: Path) -> None:
    drawn = {"table", "report", "accuracy_tokens", "accuracy_dollars", "paired_differences", "asked_spent"}
    drawn |= {"spend_by_role", "elasticity_questions", "elasticity_pooled"}
    names = {p.stem for p in write_report(ReportSources([vanilla(), *RUNGS]), tmp_path)}
    assert names == drawn | {"elasticity"}
    shares = [scaled(s) for s in (0.1, 0.3, 0.5)]
    names = {p.stem for p in write_report(ReportSources([vanilla(), *shares]), tmp_path / "b")}
    assert names == drawn
