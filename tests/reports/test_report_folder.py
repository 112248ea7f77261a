import sys
from pathlib import Path
from typing import Any

import pytest
from make_runs import UNKNOWN, make_record, make_run, three_runs

from tale_dspy.errors import MissingExtraError, UsageError
from tale_dspy.reports.elasticity import curve_table, elasticities
from tale_dspy.reports.report_folder import write_report
from tale_dspy.reports.rows import CAPTION, report_rows, runs_table
from tale_dspy.reports.sources import ReportSources
from tale_dspy.runs.records import Run


def written(runs: list[Run], out: Path) -> list[Path]:
    return write_report(ReportSources(runs), out)


def test_nothing_to_report_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at least one run, search or training"):
        write_report(ReportSources(), tmp_path)


def test_a_report_is_four_tables_three_files_a_figure_and_a_page(tmp_path: Path) -> None:
    paths = written(three_runs(), tmp_path / "new" / "report")
    assert [p.name for p in paths] == [
        *("table.md", "table.tex", "table.csv", "table.json"),
        *(f"accuracy_tokens.{ending}" for ending in ("png", "svg", "csv")),
        *(f"accuracy_dollars.{ending}" for ending in ("png", "svg", "csv")),
        *(f"paired_differences.{ending}" for ending in ("png", "svg", "csv")),
        *(f"spend_by_role.{ending}" for ending in ("png", "svg", "csv")),
        *(f"tokens_01_tale-ep.{ending}" for ending in ("png", "svg", "csv")),
        "report.html",
    ]
    assert all(p.stat().st_size > 0 for p in paths)


def budget_runs(*budgets: int, **config: Any) -> list[Run]:
    fields = {"budget_source": "given", "output_tokens": 50}
    return [
        make_run([make_record(i, token_budget=b, **fields) for i in range(5)], f"budget:{b}", **config) for b in budgets
    ]


def test_three_fixed_budgets_make_a_curve_with_a_table_and_no_other_figure_of_their_own(tmp_path: Path) -> None:
    paths = written([make_run("ccccc"), *budget_runs(5, 10, 20)], tmp_path)
    names = [p.name for p in paths]
    assert names[4] == "elasticity.md" and {"elasticity.png", "elasticity.svg", "elasticity.csv"} < set(names)
    assert not [name for name in names if name.startswith("tokens_")]
    assert all(p.stat().st_size > 0 for p in paths)


def test_two_fixed_budgets_are_drawn_as_any_other_run(tmp_path: Path) -> None:
    names = [p.name for p in written([make_run("ccccc"), *budget_runs(5, 10)], tmp_path)]
    assert "tokens_02_budget-10.png" in names and not [name for name in names if "elasticity" in name]


def test_the_curves_of_two_models_have_files_of_their_own(tmp_path: Path) -> None:
    runs = [*budget_runs(5, 10, 20), *budget_runs(5, 10, 20, model="b")]
    names = [p.name for p in written(runs, tmp_path)]
    assert {"elasticity.md", "elasticity.png", "elasticity_02.md", "elasticity_02.png"} < set(names)


def test_the_table_of_a_curve_has_a_line_a_budget_and_its_notes() -> None:
    (curve,) = elasticities([*budget_runs(5, 100, 70), make_run("ccccc", "other|name")])
    lines = curve_table(curve).markdown().splitlines()
    assert [line.split(" | ")[1] for line in lines[2:5]] == ["5", "70", "100"]
    assert "| 100.0 |" in lines[4] and lines[6].startswith("- No rise is seen")


def test_a_report_without_known_tokens_has_no_figures(tmp_path: Path) -> None:
    assert [p.suffix for p in written([UNKNOWN], tmp_path)] == [".md", ".tex", ".csv", ".json", ".html"]


def test_a_lone_surrogate_in_a_name_does_not_stop_a_report(tmp_path: Path) -> None:
    assert len(written([make_run("cc", "a\ud800")], tmp_path)) == 14


def test_a_folder_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="file is a file, not a folder"):
        written([make_run("c")], tmp_path / "file")


@pytest.mark.parametrize("name", ["table.md", "report.html", "accuracy_tokens.png"])
def test_files_that_no_report_wrote_are_not_replaced(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(UsageError, match=f"{name} is there already and is no report of tale, so it is not replaced"):
        written([make_run("cc")], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name] and (tmp_path / name).read_text() == "mine"


def test_a_report_replaces_an_earlier_one_and_leaves_other_files(tmp_path: Path) -> None:
    before = written([make_run("cc")], tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "table.md").unlink()  # as a kill may leave it
    assert written([make_run("cc")], tmp_path) == before and (tmp_path / "notes.txt").read_text() == "mine"


def test_without_matplotlib_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'tale-dspy\[report\]'"):
        written([make_run("c")], tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert CAPTION in runs_table(report_rows([make_run("c")])).markdown()


def test_several_models_at_effort_words_have_a_matrix(tmp_path: Path) -> None:
    runs = [
        make_run([make_record(i, effort=word) for i in range(4)], f"effort:{word}", model=model)
        for model in ("m1", "m2")
        for word in ("low", "high")
    ]
    names = {path.name for path in write_report(ReportSources(runs), tmp_path)}
    assert {"effort_matrix.md", "effort_matrix.csv"} <= names
    assert (tmp_path / "effort_matrix.md").read_text(encoding="utf-8").startswith("| model | low | high |")
    assert "Model by effort" in (tmp_path / "report.html").read_text(encoding="utf-8")
