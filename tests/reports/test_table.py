import csv
import io
import json
import re
import sys
from dataclasses import fields, replace
from pathlib import Path

import pytest
from make_runs import make_record, make_run, random_run
from rich.console import Console

from tale_dspy.errors import MissingExtraError, UsageError
from tale_dspy.reports import table
from tale_dspy.reports.table import (
    ReportRow,
    latex,
    latex_text,
    markdown,
    report_rows,
    rich_table,
    to_csv,
    to_json,
    visible,
    write_report,
)
from tale_dspy.runs.compare import compare
from tale_dspy.runs.records import Run

HOSTILE = r"a|b_c*d`e [[18]] [/red] {x} \n $5$ & #1 ~^<> 50% 中 é -- ", "*star", "[0pt]", "new\nline"
UNKNOWN = make_run(
    [make_record(0, output_tokens=None, cost_usd=None, latency_s=None)], "unknown", info={"mark": "paper"}
)


def three_runs() -> list[Run]:
    other = make_run("cctew", "other", data={"name": "gsm8k-zero"})
    return [random_run(60), random_run(60, "tale-ep", tokens=90, estimate=(60, 10)), other]


def printed(rows: list[ReportRow], width: int) -> list[str]:
    console = Console(width=width, file=io.StringIO(), force_terminal=False)
    console.print(rich_table(rows, width))
    return console.file.getvalue().splitlines()


# Rows


def test_differences_are_the_paired_ones_to_the_first_run() -> None:
    runs = three_runs()
    first, second, _ = report_rows(runs)
    c = compare(runs[0], runs[1])
    assert (first.versus, first.accuracy_points, first.mcnemar_p, first.is_budget_saving) == (None, None, None, None)
    assert second.versus == "cot"
    assert second.accuracy_points == pytest.approx(100 * (c.accuracy.difference or 0))
    assert (second.net_saving, second.net_saving_interval) == (c.net_tokens.saving, c.net_tokens.saving_interval)
    assert (second.money_saving, second.mcnemar_p) == (c.price_usd.saving, c.mcnemar_p)


def test_a_row_holds_the_figures_of_its_run() -> None:
    run = make_run([make_record(i, output_tokens=80, estimate=(60, 10), cost_usd=0.001) for i in range(4)])
    (row,) = report_rows([run])
    assert (row.program, row.model, row.data, row.n) == ("cot", "openai/gpt-4o-mini", "gsm8k", 4)
    assert (row.accuracy, row.output_tokens, row.estimate_tokens, row.net_tokens) == (1.0, 80, 10, 90)
    assert (row.usd_per_1000, row.latency_p50, row.outcomes) == (pytest.approx(1.0), 1.0, {})


def test_other_data_gets_a_note_and_no_difference() -> None:
    row = report_rows(three_runs())[2]
    assert (row.versus, row.net_saving, row.mcnemar_p) == (None, None, None)
    assert row.notes == ("on other data than the first row (gsm8k): no difference is given",)
    assert row.outcomes == {"empty": 1, "truncated": 1}


def test_runs_without_a_common_question_get_a_note_and_no_difference() -> None:
    row = report_rows([make_run("cc"), make_run([make_record(9)])])[1]
    assert row.versus is None
    assert row.notes == ("no question in common with the first row: no difference is given",)


def test_a_difference_that_is_no_budget_saving_says_why() -> None:
    row = report_rows([make_run("cc"), make_run("cc", adapter="ChatAdapter")])[1]
    assert row.is_budget_saving is False
    assert "the difference is not called a budget saving: other adapter" in row.notes


def test_partly_unknown_figures_and_early_stops_are_told() -> None:
    run = replace(make_run([make_record(0), make_record(1, output_tokens=None)]), stopped="cap")
    (row,) = report_rows([run])
    assert row.notes[0] == "not finished: cap"
    assert row.notes[1] == "tokens unknown on 1 of 2 answers, left out of the mean"
    assert row.output_tokens == 100


@pytest.mark.parametrize(
    ("info", "snapshot", "mark"),
    [
        ({"mark": "simulated"}, "m", "simulated"),
        ({"mark": "simulated", "contaminated": True}, "m", "simulated (contaminated)"),
        ({"mark": None, "created": "2025-03-04T05:06:07+00:00"}, "m-1", "openai/gpt-4o-mini, m-1, 2025-03-04"),
        ({"mark": " "}, None, "openai/gpt-4o-mini, snapshot unknown, date unknown"),
    ],
)
def test_every_row_carries_a_mark(info: dict, snapshot: str | None, mark: str) -> None:
    (row,) = report_rows([make_run([make_record(0, response_model=snapshot)], info=info)])
    assert row.mark == mark


def test_a_run_without_records_or_model_is_a_row_of_unknowns() -> None:
    (row,) = report_rows([Run(info={}, records=[])])
    assert (row.n, row.accuracy, row.net_tokens, row.usd_per_1000) == (0, None, None, None)
    assert row.mark == "model unknown, snapshot unknown, date unknown"


def test_a_report_of_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="at least one run"):
        report_rows([])


# Formats


def test_unknown_is_a_dash_an_empty_cell_and_null_but_never_zero() -> None:
    rows = report_rows([make_run("c"), UNKNOWN])
    line = markdown(rows).splitlines()[3]
    assert line.split(" | ")[5:8] == ["–", "–", "–"]
    unknown = list(csv.DictReader(io.StringIO(to_csv(rows))))[1]
    assert [unknown[k] for k in ("output_tokens", "usd_per_1000", "latency_p50", "net_saving_low")] == [""] * 4
    assert [to_json(rows)[1][k] for k in ("output_tokens", "usd_per_1000", "latency_p50", "net_saving")] == [None] * 4


@pytest.mark.parametrize("write", [markdown, latex])
def test_outcomes_intervals_notes_and_marks_are_written(write) -> None:
    text = write(report_rows([*three_runs(), make_run("cw", "s", info={"mark": "simulated"})]))
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


# Terminal


@pytest.mark.parametrize("width", [80, 100, 149, 150, 160, 220])
def test_the_terminal_table_fits_and_loses_no_figure(width: int) -> None:
    rows = report_rows(three_runs())
    lines = printed(rows, width)
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    for figure in ("McNemar", "1 truncated", f"{rows[1].net_tokens:.1f}", f"{100 * (rows[1].net_saving or 0):.1f}"):
        assert figure in text
    assert "…" not in text


@pytest.mark.parametrize("width", [80, 160])
def test_names_are_printed_as_they_are(width: int) -> None:
    text = "\n".join(
        printed(report_rows([make_run("c", "[[18]]"), make_run("c", "[/red]"), make_run("c", "a\x1b[31m")]), width)
    )
    assert "[[18]]" in text
    assert "[/red]" in text
    assert "\x1b" not in text


@pytest.mark.parametrize("width", [80, 160])
def test_a_table_of_unknowns_prints(width: int) -> None:
    assert "unknown" in "\n".join(printed(report_rows([UNKNOWN]), width))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\tb\r\nc", "a\tb\nc"),
        ("\x1b[2J\x07", "\\x1b[2J\\x07"),
        ("a\rb", "a\\rb"),
        ("abc\u202edef", "abc\\u202edef"),
        ("\ud800", "\\ud800"),
        ("中 é 😀 [[1]]", "中 é 😀 [[1]]"),
    ],
)
def test_what_could_command_a_terminal_is_shown_as_its_code(text: str, expected: str) -> None:
    assert visible(text) == expected


# Files


def test_a_report_is_four_tables_and_three_files_a_figure(tmp_path: Path) -> None:
    paths = write_report(three_runs(), tmp_path / "new" / "report")
    assert [p.name for p in paths] == [
        *("table.md", "table.tex", "table.csv", "table.json"),
        *("accuracy_tokens.png", "accuracy_tokens.svg", "accuracy_tokens.csv"),
        *("tokens_01_tale-ep.png", "tokens_01_tale-ep.svg", "tokens_01_tale-ep.csv"),
    ]
    assert all(p.stat().st_size > 0 for p in paths)


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
    assert table.CAPTION in markdown(report_rows([make_run("c")]))
