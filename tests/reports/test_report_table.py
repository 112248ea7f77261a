import csv
import io
import json
import re
from collections.abc import Sequence
from dataclasses import fields

import pytest
from make_runs import UNKNOWN, make_run, three_runs
from rich.console import Console

from tale_dspy.reports.report_folder import to_json
from tale_dspy.reports.report_table import ReportTable, TableColumn, latex_text
from tale_dspy.reports.rows import ReportRow, compact_table, provenance_notes, report_rows, runs_table


def latex(rows: Sequence[ReportRow]) -> str:
    return compact_table(rows, provenance_notes(rows)).latex()


HOSTILE = r"a|b_c*d`e [[18]] [/red] {x} \n $5$ & #1 ~^<> 50% 中 é -- ", "*star", "[0pt]", "new\nline"


def test_unknown_is_a_dash_an_empty_cell_and_null_but_never_zero() -> None:
    rows = report_rows([make_run("c"), UNKNOWN])
    line = runs_table(rows).known().markdown().splitlines()[3]
    assert line.split(" | ")[5:8] == ["–", "–", "–"]
    unknown = list(csv.DictReader(io.StringIO(runs_table(rows).csv())))[1]
    assert [unknown[k] for k in ("output_tokens", "usd_per_1000", "latency_p50", "net_saving_low")] == [""] * 4
    assert [to_json(rows)[1][k] for k in ("output_tokens", "usd_per_1000", "latency_p50", "net_saving")] == [None] * 4


@pytest.mark.parametrize("write", [lambda rows: runs_table(rows).known().markdown(), latex])
def test_outcomes_intervals_notes_and_provenances_are_written(write) -> None:
    text = write(report_rows([*three_runs(), make_run("cw", "s", info={"provenance": "simulated"})]))
    for part in ("1 empty, 1 truncated", "on other data than the first row", "simulated", "paired differences"):
        assert part in text


@pytest.mark.parametrize("name", HOSTILE)
def test_markdown_rows_have_equally_many_cells_whatever_the_name(name: str) -> None:
    rows = report_rows([make_run("cc", name), make_run("cw", name)])
    lines = [line for line in runs_table(rows).known().markdown().splitlines() if line.startswith("|")]
    assert len(lines) == 4
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1


def test_markdown_leaves_out_columns_unknown_everywhere() -> None:
    header = runs_table(report_rows([UNKNOWN])).known().markdown().splitlines()[0]
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
    table_rows = list(csv.DictReader(io.StringIO(runs_table(rows).csv())))
    assert names <= {re.sub("_(low|high)$", "", key) for key in table_rows[0]}
    assert table_rows[2]["outcomes"] == "empty=1; truncated=1"
    again = json.loads(json.dumps(to_json(rows), allow_nan=False))
    assert again[1]["net_saving_interval"] == list(rows[1].net_saving_interval or ())


def test_no_rows_make_a_csv_of_names_alone() -> None:
    assert runs_table([]).csv().count("\n") == 1


PAIRS = ReportTable(
    [
        TableColumn[tuple[str, int]]("Name", lambda pair: pair[0], {"name": lambda pair: pair[0]}, is_text=True),
        TableColumn[tuple[str, int]]("Size", lambda pair: str(pair[1]), {"size": lambda pair: pair[1]}),
    ],
    [("[red]a\x1b", 1), ("b", 20)],
    ["a note"],
)


def test_one_list_of_columns_feeds_every_format() -> None:
    console = Console(width=40, file=io.StringIO())
    console.print(PAIRS.rich(40))
    text = console.file.getvalue()
    assert "[red]a\\x1b" in text and "a note" in text
    assert PAIRS.markdown() == "| Name | Size |\n| --- | ---: |\n| \\[red\\]a\\\\x1b | 1 |\n| b | 20 |\n\n- a note\n"
    assert PAIRS.csv().splitlines()[0::2] == ["name,size", "b,20"]
    assert r"b & 20 \\" in PAIRS.latex() and r"\begin{tabular}{lr}" in PAIRS.latex()


def test_columns_can_be_left_out() -> None:
    assert PAIRS.without({"Size"}).header == ["Name"]
