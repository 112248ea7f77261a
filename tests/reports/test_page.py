import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from make_runs import make_record, make_run, three_runs

from tale_dspy.errors import MissingExtraError, UsageError
from tale_dspy.reports.page import ReportPage, render, write_page
from tale_dspy.reports.page_sections import report_page
from tale_dspy.reports.sources import ReportSources

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)> {{ 7*7 }} \u202e\u200b\x00 [[1]]"


class Elements(HTMLParser):
    """Collects elements, ids and addresses of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.ids += [str(value) for name, value in attrs if name == "id"]
        self.addresses += [str(value) for name, value in attrs if name in ("src", "href", "xlink:href", "action")]


def elements(text: str) -> Elements:
    parser = Elements()
    parser.feed(text)
    return parser


def hostile_page() -> ReportPage:
    records = [make_record(0, question=HOSTILE, reply=HOSTILE, answer=HOSTILE, gold=HOSTILE)]
    return report_page(ReportSources([make_run(records, HOSTILE), make_run(records, f"b{HOSTILE}")]))


def test_a_page_has_no_address_outside_it_and_no_id_twice() -> None:
    page_elements = elements(render(report_page(ReportSources(three_runs()))))
    assert page_elements.addresses and all(a.startswith(("#", "data:image/png")) for a in page_elements.addresses)
    assert len(page_elements.ids) == len(set(page_elements.ids))


def test_no_text_of_a_run_is_markup_or_template() -> None:
    ours, theirs = elements(render(report_page(ReportSources(three_runs()[:2])))), elements(render(hostile_page()))
    assert "img" not in theirs.tags and theirs.tags.count("script") == ours.tags.count("script")
    text = render(hostile_page())
    assert "49" not in re.findall(r"<h1>(.*?)</h1>", text)[0] and not re.search("[\u202e\u200b\x00]", text)


def test_the_policy_lets_the_page_run_its_own_script_alone() -> None:
    text = render(hostile_page())
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy.startswith("default-src 'none'; script-src 'sha256-") and "eval" not in policy


def test_the_same_runs_give_the_same_page() -> None:
    assert render(report_page(ReportSources(three_runs()))) == render(report_page(ReportSources(three_runs())))


def test_a_page_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="file is a file, not a folder"):
        write_page(hostile_page(), tmp_path / "file" / "report.html")


def test_without_jinja2_the_pip_line_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    page = hostile_page()
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'tale-dspy\[report\]'"):
        render(page)
