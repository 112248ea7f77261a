"""A run in a notebook: its figures as a table, its records as a data frame."""

import sys
from xml.etree import ElementTree

import pytest
from make_runs import UNKNOWN, make_record, make_run

from tale_dspy.errors import MissingExtraError
from tale_dspy.runs.records import Record, Run
from tale_dspy.runs.summary_html import summary_html


def cells(html: str) -> dict[str, str]:
    head, body = ElementTree.fromstring(f"<div>{html}</div>").iter("tr")
    return {str(name.text): str(cell.text) for name, cell in zip(head, body, strict=True)}


def test_a_run_shows_its_figures() -> None:
    shown_cells = cells(make_run("cccw")._repr_html_())
    assert (
        shown_cells["Program"] == "cot"
        and shown_cells["n"] == "4"
        and shown_cells["Right % [95 %]"].startswith("75.0 [")
    )
    assert shown_cells["Output tokens"] == "100.0" and shown_cells["Other outcomes"] == "1 wrong"


def test_unknown_is_a_dash_and_evidence_is_said() -> None:
    html = summary_html(UNKNOWN.summary, "paper")
    assert cells(html)["USD"] == "–" == cells(html)["Output tokens"] and "Evidence: paper." in html
    assert cells(Run(info={}, records=[])._repr_html_())["Right % [95 %]"] == "–"


def test_names_are_text() -> None:
    html = make_run("c", "<script>alert(1)</script>")._repr_html_()
    assert "<script" not in html and "&lt;script&gt;" in html


def test_records_become_a_data_frame() -> None:
    frame = make_run([make_record(0), make_record(1, output_tokens=None)]).to_pandas()
    assert list(frame["outcome"]) == ["correct", "correct"] and frame["output_tokens"].isna().sum() == 1
    assert set(Record.__dataclass_fields__) == set(Run(info={}, records=[]).to_pandas().columns)


def test_without_pandas_the_pip_line_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingExtraError, match="pip install"):
        make_run("c").to_pandas()
