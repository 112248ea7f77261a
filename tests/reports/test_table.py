import csv
import io
import json
import re
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from make_runs import UNKNOWN, make_record, make_run, three_runs

from tale_dspy.errors import MissingExtraError, UsageError
from tale_dspy.reports.elasticity import elasticities
from tale_dspy.reports.rows import CAPTION, ReportRow, report_rows
from tale_dspy.reports.table import elasticity_markdown, latex, latex_text, markdown, to_csv, to_json, write_report
from tale_dspy.runs.records import Run

HOSTILE = r"a|b_c*d`e [[18]] [/red] {x} \n $5$ & #1 ~^<> 50% 中 é -- ", "*star", "[0pt]", "new\nline"


def test_unknown_is_a_dash_an_empty_cell_and_null_but_never_zero() -> None:
    rows = report_rows([make_run("c"), UNKNOWN])
    line = markdown(rows).splitlines()[3]
    assert line.split(" | ")[5:8] == ["–", "–", "–"]
    unknown = list(csv.DictReader(io.StringIO(to_csv(rows))))[1]
    assert [unknown[k] for k in ("output_tokens", "usd_per_1000", "latency_p50", "net_saving_low")] == [""] * 4
    assert [to_json(rows)[1][k] for k in ("output_tokens", "usd_per_1000", "latency_p50", "net_saving")] == [None] * 4


@pytest.mark.parametrize("write", [markdown, latex])
def test_outcomes_intervals_notes_and_marks_are_written(write) -> None:
    text = write(report_rows([*three_runs(), make_run("cw", "s", info={"provenance": "simulated"})]))
    for part in ("1 empty, 1 truncated", "on other data than the first row", "simulated", "paired differences"):
        assert part in text


@pytest.mark.parametrize("name", HOSTILE)
def test_markdown_rows_have_equally_many_cells_whatever_the_name(name: str) -> None:
    rows = report_rows([make_run("cc", name), make_run("cw", name)])
    lines = [line for line in markdown(rows).splitlines() if line.startswith("|")]
    assert len(lines) == 4
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1


def test_markdown_leaves_out_columns_unknown_everywhere() -> None:
    header = markdown(report_rows([UNKNOWN])).splitlines()[0]
    assert header == "| Program | Model | Data | n | Accuracy % | Evidence |"


@pytest.mark.parametrize("name", HOSTILE)
def test_latex_rows_have_equally_many_cells_and_balanced_braces(name: str) -> None:
    text = latex(report_rows([make_run("cc", name), make_run("cw", name)]))
    bare = re.sub(r"\\[\\{}$&#_%]", lambda m: m[0] if m[0] == r"\\" else "", text)
    body = bare[bare.index(r"\toprule") : bare.index(r"\bottomrule")]
    assert len({line.count("&") for line in body.splitlines() if "&" in line}) == 1
    assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")
    assert not re.search(r"(\\\\|rule)\n[\[*]", text)
    assert not re.search(r"[#%]", bare.replace("{!}{%", "").removeprefix(r"% "))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("50% & #1_x {y}", r"50\% \& \#1\_x \{y\}"),
        ("a\\b^c~d", r"a\textbackslash{}b\textasciicircum{}c\textasciitilde{}d"),
        ("[x] a[b]", "{}[x] a[b]"),
        ("*", "{}*"),
        ("a--b---c", "a-{}-b-{}-{}-c"),
        ("–", r"\textendash{}"),
        ("é 中 ×", "é U+4E2D U+00D7"),
        ("a\nb\x1b", r"a b\textbackslash{}x1b"),
        ('<"|>', r"\textless{}''\textbar{}\textgreater{}"),
    ],
)
def test_latex_text_is_escaped(text: str, expected: str) -> None:
    assert latex_text(text) == expected


def test_csv_and_json_hold_every_field() -> None:
    rows = report_rows(three_runs())
    names = {f.name.removesuffix("_interval") for f in fields(ReportRow)}
    table_rows = list(csv.DictReader(io.StringIO(to_csv(rows))))
    assert names <= {re.sub("_(low|high)$", "", key) for key in table_rows[0]}
    assert table_rows[2]["outcomes"] == "empty=1; truncated=1"
    again = json.loads(json.dumps(to_json(rows), allow_nan=False))
    assert again[1]["net_saving_interval"] == list(rows[1].net_saving_interval or ())


def test_no_rows_make_an_empty_csv() -> None:
    assert to_csv([]) == "\n"


# ---- the folder


def test_a_report_is_four_tables_and_three_files_a_figure(tmp_path: Path) -> None:
    paths = write_report(three_runs(), tmp_path / "new" / "report")
    assert [p.name for p in paths] == [
        *("table.md", "table.tex", "table.csv", "table.json"),
        *("accuracy_tokens.png", "accuracy_tokens.svg", "accuracy_tokens.csv"),
        *("tokens_01_tale-ep.png", "tokens_01_tale-ep.svg", "tokens_01_tale-ep.csv"),
    ]
    assert all(p.stat().st_size > 0 for p in paths)


def budget_runs(*budgets: int, **config: Any) -> list[Run]:
    asked = {"budget_source": "given", "output_tokens": 50}
    return [
        make_run([make_record(i, token_budget=b, **asked) for i in range(5)], f"budget:{b}", **config) for b in budgets
    ]


def test_three_fixed_budgets_make_a_curve_with_a_table_and_no_other_figure_of_their_own(tmp_path: Path) -> None:
    paths = write_report([make_run("ccccc"), *budget_runs(5, 10, 20)], tmp_path)
    names = [p.name for p in paths]
    assert names[4] == "elasticity.md" and {"elasticity.png", "elasticity.svg", "elasticity.csv"} < set(names)
    assert not [name for name in names if name.startswith("tokens_")]
    assert all(p.stat().st_size > 0 for p in paths)


def test_two_fixed_budgets_are_drawn_as_any_other_run(tmp_path: Path) -> None:
    names = [p.name for p in write_report([make_run("ccccc"), *budget_runs(5, 10)], tmp_path)]
    assert "tokens_02_budget-10.png" in names and not [name for name in names if "elasticity" in name]


def test_the_curves_of_two_models_have_files_of_their_own(tmp_path: Path) -> None:
    runs = [*budget_runs(5, 10, 20), *budget_runs(5, 10, 20, model="b")]
    names = [p.name for p in write_report(runs, tmp_path)]
    assert {"elasticity.md", "elasticity.png", "elasticity_02.md", "elasticity_02.png"} < set(names)


def test_the_table_of_a_curve_has_a_line_a_budget_and_its_notes() -> None:
    (curve,) = elasticities([*budget_runs(5, 100, 70), make_run("ccccc", "other|name")])
    lines = elasticity_markdown(curve).splitlines()
    assert [line.split(" | ")[1] for line in lines[2:5]] == ["5", "70", "100"]
    assert "| 100.0 |" in lines[4] and lines[6].startswith("- No rise is seen")


def test_a_report_without_known_tokens_has_tables_only(tmp_path: Path) -> None:
    assert [p.suffix for p in write_report([UNKNOWN], tmp_path)] == [".md", ".tex", ".csv", ".json"]


def test_a_lone_surrogate_in_a_name_does_not_stop_a_report(tmp_path: Path) -> None:
    assert len(write_report([make_run("cc", "a\ud800")], tmp_path)) == 7


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="the report cannot be written to"):
        write_report([make_run("c")], tmp_path / "file")


def test_without_matplotlib_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'tale-dspy\[report\]'"):
        write_report([make_run("c")], tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert CAPTION in markdown(report_rows([make_run("c")]))
