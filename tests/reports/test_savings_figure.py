from make_runs import make_run, random_run, three_runs

from tale_dspy.reports.rows import report_rows
from tale_dspy.reports.savings_figure import paired_differences


def test_every_compared_run_has_its_paired_figures() -> None:
    rows = report_rows(three_runs())
    drawing = paired_differences(rows)
    assert drawing is not None and len(drawing.figure.axes) == 3
    (numbers,) = drawing.rows  # the third run is on other data
    assert numbers["program"] == "tale-ep" and numbers["versus"] == "cot"
    assert numbers["accuracy_points"] == rows[1].accuracy_points
    assert numbers["tokens_saved_percent"] == 100 * (rows[1].net_saving or 0)
    assert numbers["usd_saved_percent_low"] == 100 * (rows[1].money_saving_interval or (0, 0))[0]


def test_unknown_prices_have_no_panel() -> None:
    runs = [random_run(20, cost_usd=None), random_run(20, "b", cost_usd=None)]
    drawing = paired_differences(report_rows(runs))
    assert drawing is not None and len(drawing.figure.axes) == 2
    assert drawing.rows[0]["usd_saved_percent"] is None


def test_nothing_compared_is_not_drawn() -> None:
    assert paired_differences(report_rows([make_run("cw")])) is None


def test_runs_that_do_not_differ_stand_at_zero_of_an_axis_of_whole_points() -> None:
    run = random_run(20)
    drawing = paired_differences(report_rows([run, make_run(run.records, "b")]))
    assert drawing is not None
    assert [axes.get_xlim() for axes in drawing.figure.axes] == [(-1, 1)] * 3
