import io

import pytest
from make_runs import UNKNOWN, make_run, three_runs
from rich.console import Console

from tale_dspy.reports.rows import ReportRow, report_rows
from tale_dspy.reports.screen import rich_table


def printed(rows: list[ReportRow], width: int) -> list[str]:
    console = Console(width=width, file=io.StringIO(), force_terminal=False)
    console.print(rich_table(rows, width))
    return console.file.getvalue().splitlines()


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


@pytest.mark.parametrize("width", [80, 160])
def test_a_single_run_has_no_columns_of_differences(width: int) -> None:
    alone, both = (
        "\n".join(printed(report_rows(runs), width)) for runs in ([make_run("c")], [make_run("cw"), make_run("cc")])
    )
    for words in ("saved %", "Two rows differ"):
        assert words not in alone and words in " ".join(both.split())
    assert "Intervals are 95 %." in alone
