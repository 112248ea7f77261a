import pytest
from make_runs import make_record, make_run

from tale_dspy.reports.budget_figure import asked_spent, budget_bins
from tale_dspy.runs.records import Run


def budgeted(pairs: list[tuple[int | None, int | None]], name: str = "tale-ep") -> Run:
    return make_run([make_record(i, token_budget=b, output_tokens=t) for i, (b, t) in enumerate(pairs)], name)


def test_few_budgets_have_a_bin_each_with_the_share_that_was_kept() -> None:
    bins = budget_bins(budgeted([(50, 40), (10, 10), (50, 60), (None, 5), (50, None)]))
    assert [(b.least_budget, b.n, b.mean_tokens, b.within_budget) for b in bins] == [(10, 1, 10, 1.0), (50, 2, 50, 0.5)]


def test_many_budgets_are_grouped_into_equally_large_bins() -> None:
    bins = budget_bins(budgeted([(b, b) for b in range(1, 101)]))
    assert [b.n for b in bins] == [20] * 5 and (bins[0].least_budget, bins[-1].largest_budget) == (1, 100)


@pytest.mark.parametrize("n", [1, 30, 2000])
def test_chosen_budgets_are_drawn_and_all_runs_are_in_the_numbers(n: int) -> None:
    chosen, fixed = budgeted([(10 + i % 50, 12 + i % 40) for i in range(n)]), budgeted([(20, 25)] * 3, "budget:20")
    drawing = asked_spent([make_run("cc"), chosen, fixed])
    assert drawing is not None
    assert {row["program"] for row in drawing.rows} == {"tale-ep", "budget:20"}
    assert len(drawing.figure.axes) == (1 if n > 1 else 2) and len(drawing.svg()) < 400_000


def test_without_budgets_there_is_nothing_to_draw() -> None:
    assert asked_spent([make_run("cc"), budgeted([(None, 5), (5, None)])]) is None


def test_runs_that_are_not_drawn_are_counted_below() -> None:
    drawing = asked_spent([budgeted([(20 + i, 25)] * 3, f"budget:{20 + i}") for i in range(6)])
    assert drawing is not None and len(drawing.figure.axes) == 4
    assert "4 of 6 runs with budgets are drawn; the numbers hold all." in drawing.figure.axes[0].texts[0].get_text()


def test_budgets_and_tokens_of_zero_can_be_drawn() -> None:
    assert asked_spent([budgeted([(0, 0)] * 3)]) is not None


def test_panels_of_one_program_on_two_data_sets_have_two_titles() -> None:
    runs = [budgeted([(20, 15), (40, 50)]) for _ in range(2)]
    for run, data in zip(runs, ("first", "second"), strict=True):
        run.info["config"] = {**run.info.get("config", {}), "data": {"name": data}}
    drawing = asked_spent(runs)
    assert drawing is not None
    titles = [axes.get_title(loc="left") or axes.get_title() for axes in drawing.figure.axes]
    assert titles == ["tale-ep (first): 50 % within", "tale-ep (second): 50 % within"]
