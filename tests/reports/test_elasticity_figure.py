import csv
import math
from dataclasses import replace
from pathlib import Path

import pytest
from make_runs import make_record, make_run, random_run

from tale_dspy.errors import UsageError
from tale_dspy.reports import canvas, elasticity_curve
from tale_dspy.reports.elasticity import Elasticity, elasticities
from tale_dspy.reports.elasticity_figure import _make_panels, _spaced_ticks
from tale_dspy.runs.records import Run

DOZEN = (3, 5, 8, 12, 18, 27, 40, 60, 90, 135, 200, 300)
LONG = "_a_very_long_module.path:MyBudgetedProgramThatChooses_with_$money$_and_中文"


def budget_run(budget: int, n: int = 20, tokens: int = 30) -> Run:
    budget_fields = {"token_budget": budget, "budget_source": "given"}
    return make_run(
        [make_record(i, **budget_fields, output_tokens=tokens + i % 5) for i in range(n)], f"budget:{budget}"
    )


def ep_run(name: str = "tale-ep", budget: int | None = 25) -> Run:
    estimate_fields = {"token_budget": budget, "budget_source": "estimate", "estimate": (60, 10), "output_tokens": 35}
    return make_run([make_record(i, **estimate_fields) for i in range(20)], name)


def cot_run(name: str = "cot") -> Run:
    run = random_run(20, name)
    run.info["program"]["class"] = "VanillaCoT"
    return run


def curve_of(*others: Run, budgets: tuple[int, ...] = (5, 20, 80), n: int = 20) -> Elasticity:
    (curve,) = elasticities([*others, *(budget_run(b, n) for b in budgets)])
    return curve


def drawn(curve: Elasticity) -> list[str]:
    """The texts of the drawn figure: labels of the legend, and the footer."""
    texts: list[str] = []
    for axes in elasticity_curve(curve).figure.axes:
        texts.extend(t.get_text() for t in axes.texts)
        texts.extend(t.get_text() for t in axes.get_legend().get_texts()) if axes.get_legend() else None
    return texts


@pytest.mark.parametrize("budgets", [(5, 20, 80), DOZEN, (40, 41, 42), (1, 2, 10**18)])
@pytest.mark.parametrize("n", [1, 20])
def test_any_budgets_can_be_drawn(budgets: tuple[int, ...], n: int, tmp_path: Path) -> None:
    paths = elasticity_curve(curve_of(cot_run(), ep_run(), budgets=budgets, n=n)).save(tmp_path)
    assert [p.name for p in paths] == ["elasticity.png", "elasticity.svg", "elasticity.csv"]
    assert paths[0].read_bytes().startswith(b"\x89PNG")


def test_the_legend_names_what_the_curve_is_read_against() -> None:
    texts = drawn(curve_of(cot_run(), ep_run()))
    assert texts[:-1] == [
        "fixed budgets",
        "cot\n(no budget)",
        "tale-ep\n(mean budget 25.0)",
        "with the estimator's",
        "as many as asked for",
    ]


def test_without_references_the_curve_stands_alone() -> None:
    texts = drawn(curve_of())
    assert {"fixed budgets", "as many as asked for"} <= set(texts) and len(texts) == 3


def test_the_footer_says_whether_tokens_rise_again_and_of_what_it_is_evidence() -> None:
    (footer,) = [t for t in drawn(curve_of()) if "Evidence" in t]
    assert footer.startswith("No rise is seen: mean tokens are least at the smallest budget tried (32.0 at budget 5).")
    assert "openai/gpt-4o-mini" in footer


def test_several_budgeting_programs_are_distinguished_and_hidden_names_are_shown() -> None:
    texts = drawn(curve_of(ep_run(), ep_run(LONG), cot_run(LONG)))
    assert sum("(mean budget 25.0)" in t for t in texts) == 2
    assert texts.count("with the estimator's") == 1
    assert any(t.startswith(" _a_very") and "no budget" in t for t in texts)


@pytest.mark.parametrize("change", [{"output_tokens": None}, {"net_tokens": None}, {"budget": None}])
def test_an_unknown_figure_of_a_reference_is_not_drawn(change: dict[str, None], tmp_path: Path) -> None:
    curve = curve_of(cot_run(), ep_run())
    assert curve.vanilla is not None
    changed = replace(
        curve,
        estimated=tuple(replace(row, **change) for row in curve.estimated),
        vanilla=replace(curve.vanilla, **change),
    )
    assert elasticity_curve(changed).save(tmp_path)


def test_the_csv_holds_points_and_references(tmp_path: Path) -> None:
    table = elasticity_curve(curve_of(cot_run(), ep_run())).save(tmp_path / "x")[2]
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(r["program"], r["budget"]) for r in rows][2:] == [("budget:80", "80.0"), ("cot", ""), ("tale-ep", "25.0")]
    assert float(rows[0]["output_tokens_low"]) < float(rows[0]["output_tokens"]) == 32.0
    assert (rows[0]["accuracy_high"], rows[0]["below_budget"], rows[4]["net_tokens"]) == ("1.0", "0.0", "45.0")


@pytest.mark.parametrize(
    ("budgets", "ticks"),
    [([3, 10, 30], [3, 10, 30]), ([40, 41, 42, 43, 300], [40, 300]), ([1, 2, 10**18], [1, 10**18])],
)
def test_budgets_too_close_for_their_labels_are_left_out(budgets: list[float], ticks: list[float]) -> None:
    assert _spaced_ticks(budgets, math.log(budgets[-1] / budgets[0])) == ticks


@pytest.mark.parametrize("budgets", [DOZEN, tuple(range(10, 401, 10)), tuple(range(900, 4000, 100))])
def test_no_two_labels_of_budgets_overlap_on_a_page(budgets: tuple[int, ...]) -> None:
    with canvas.house_style():
        figure, _, below = _make_panels(curve_of(budgets=budgets))
        with canvas.narrow_figure(figure):
            figure.draw_without_rendering()
            boxes = [label.get_window_extent() for label in below.get_xticklabels()]
    assert len(boxes) == len(DOZEN) if budgets == DOZEN else len(boxes) > 5
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_the_same_runs_give_the_same_bytes(tmp_path: Path) -> None:
    curve = curve_of(cot_run(), ep_run())
    once, again = elasticity_curve(curve).save(tmp_path / "a"), elasticity_curve(curve).save(tmp_path / "b")
    assert [p.read_bytes() for p in once] == [p.read_bytes() for p in again]


def test_a_folder_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="the figure cannot be written to"):
        elasticity_curve(curve_of()).save(tmp_path / "file" / "x")
