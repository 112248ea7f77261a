"""A report in a real browser: nothing asked of the network, no error, every control by keyboard, no serious fault."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from make_runs import effort_run, make_record, make_run, random_run
from searched import search

from tale_dspy.reports.page import write_page
from tale_dspy.reports.page_sections import report_page
from tale_dspy.reports.search_run import SearchRun
from tale_dspy.reports.sources import ReportSources
from tale_dspy.reports.training_run import TrainingRun

HOSTILE = "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked=2'>\u202e\u200b\x00[[1]]"
LONG = "a program with a very long name and wording number"
TESTED = TrainingRun(
    Path("short"), {"strategy": "sft", "gate": {"outcome": "pass", "reason": "saves 70 %", "n": 60, "saving": 0.7}}
)
UNBROKEN = "optimized_program_with_a_name_of_one_very_long_word_" * 4
PAGES = ["runs", "search", "words", "gate", "hostile", "long"]
CONTROLS = "a[href], button:not([disabled]), input, select, summary, [tabindex='0']"


@dataclass
class Opened:
    """A page in the browser, with what went wrong on it."""

    page: Any
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def explorer(self, name: str) -> Any:
        return self.page.locator(f".explorer[data-name='{name}']")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    runs = [
        random_run(120),
        random_run(120, "tale-ep", tokens=90, estimate=(60, 10), token_budget=100, budget_source="estimate"),
        random_run(120, "concise", tokens=150),
    ]
    records = [make_record(i, question=HOSTILE, reply=HOSTILE * 400, gold=HOSTILE, answer=HOSTILE) for i in range(3)]
    records.append(make_record(3, reply="a" * 1_000_000, outcome="wrong"))
    searched = SearchRun({"provenance": "simulated"}, search([f"q{n}" for n in range(8)], lambda n: 30 + 3 * n))
    pages = {
        "runs": ReportSources(runs),
        "search": ReportSources([], [searched], [TrainingRun(Path("short"), {"strategy": "sft", "gate": None})]),
        "words": ReportSources(
            [effort_run(word, tokens) for word, tokens in (("low", 40), ("medium", 90), ("high", 300))]
        ),
        "gate": ReportSources(
            [random_run(60), make_run(list(random_run(60, tokens=90).records), model="local:short")], [], [TESTED]
        ),
        "long": ReportSources([random_run(20, f"{UNBROKEN}{end}") for end in "ab"]),
        "many": ReportSources(
            [random_run(40, f"{LONG} {i}", tokens=60 + 9 * i, accuracy=0.5 + 0.02 * i) for i in range(16)]
        ),
        "hostile": ReportSources([make_run(records, HOSTILE), make_run("cccc", "b")]),
    }
    return {name: write_page(report_page(sources), folder / f"{name}.html") for name, sources in pages.items()}


@pytest.fixture
def open_page(browser: Any, files: dict[str, Path]) -> Iterator[Any]:
    contexts = []

    def opened(name: str, width: int = 1000, scheme: str = "light") -> Opened:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        contexts.append(context)
        opened_page = Opened(context.new_page())
        opened_page.page.on("console", lambda message: opened_page.errors.append(message.text))
        opened_page.page.on("pageerror", lambda error: opened_page.errors.append(str(error)))
        opened_page.page.on("dialog", lambda dialog: opened_page.errors.append(dialog.message))
        opened_page.page.on("request", lambda request: opened_page.requests.append(request.url))
        opened_page.page.goto(files[name].as_uri())
        opened_page.page.wait_for_selector("html[data-ready]")
        return opened_page

    yield opened
    for context in contexts:
        context.close()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_opens_from_disk_without_an_error_or_another_request(
    name: str, open_page: Any, files: dict[str, Path]
) -> None:
    opened = open_page(name)
    assert opened.errors == [] and opened.requests == [files[name].as_uri()]
    for explorer in opened.page.locator(".explorer").all():
        assert explorer.locator("tbody tr.row").count() > 0


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_fault(name: str, scheme: str, open_page: Any) -> None:
    page = open_page(name, scheme=scheme).page
    page.locator("tr.row button").first.press("Enter")
    page.locator("summary").first.press("Enter")
    faults = Axe().run(page).response["violations"]
    assert {fault["id"]: fault["nodes"][0]["html"] for fault in faults} == {}


@pytest.mark.parametrize("width", [360, 1000, 1600])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_as_wide_as_its_window(name: str, width: int, open_page: Any) -> None:
    page = open_page(name, width).page
    page.locator("tr.row button").last.press("Enter")
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0


@pytest.mark.parametrize("name", ["runs", "many"])
def test_a_chart_is_as_wide_as_a_telephone_unless_plots_stand_side_by_side(name: str, open_page: Any) -> None:
    page = open_page(name, 400).page
    charts = page.evaluate(
        """[...document.querySelectorAll("figure:not(.wide) .chart")].map(
            (chart) => [chart.scrollWidth - chart.clientWidth, chart.querySelector("svg").clientWidth]
        )"""
    )
    assert charts and all(overflow <= 0 and 200 < width <= 400 for overflow, width in charts)


@pytest.mark.parametrize("name", ["search", "words", "gate"])
def test_every_control_is_reached_by_the_tab_key(name: str, open_page: Any) -> None:
    page = open_page(name).page
    controls = page.evaluate(
        """(selector) => {
            window.order = [...document.querySelectorAll(selector)].filter((control) => control.checkVisibility());
            return window.order.length;
        }""",
        CONTROLS,
    )
    reached = set()
    for _ in range(controls):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("window.order.indexOf(document.activeElement)"))
    assert reached == set(range(controls))


def test_questions_are_searched_filtered_sorted_turned_and_opened_by_keyboard(open_page: Any) -> None:
    opened = open_page("runs")
    table = opened.explorer("All questions")
    status, rows = table.get_by_role("status"), table.locator("tr.row")
    assert status.inner_text() == "120 of 120 questions, page 1 of 3" and rows.count() == 50
    next_page = table.get_by_role("button", name="Next page")
    next_page.press("Enter")
    next_page.press("Space")
    assert status.inner_text().endswith("page 3 of 3") and rows.count() == 20 and next_page.is_disabled()
    search_box = table.get_by_role("searchbox")
    search_box.press_sequentially("is 115 plus")
    assert status.inner_text() == "1 of 120 questions"
    opener = rows.first.get_by_role("button")
    opener.press("Enter")
    assert opener.get_attribute("aria-expanded") == "true"
    panes = table.locator(".detail pre")
    panes.nth(3).wait_for()
    assert panes.all_inner_texts() == ["What is 115 plus 0?", "115", "It is [[115]]", "It is [[115]]"]
    opener.press("Enter")
    assert opener.get_attribute("aria-expanded") == "false" and panes.count() == 0
    search_box.fill("")
    header = table.get_by_role("button", name="cot: tokens")
    header.press("Enter")
    tokens = [int(text.replace(",", "")) for text in table.locator("tr.row td:nth-child(5)").all_inner_texts()]
    assert tokens == sorted(tokens, reverse=True)
    assert table.locator("th[aria-sort]").get_attribute("aria-sort") == "descending"
    table.get_by_role("combobox", name="cot against").select_option("concise")
    assert table.get_by_role("button", name="concise: outcome").is_visible()
    table.get_by_role("combobox", name="Change").select_option("right→wrong")
    n_shown = rows.count()
    assert 0 < n_shown < 50 and status.inner_text() == f"{n_shown} of 120 questions"
    assert opened.errors == []


def test_changes_show_both_replies_side_by_side(open_page: Any) -> None:
    opened = open_page("runs", 1600)
    changes = opened.explorer("Right and wrong changes")
    changes.locator(".pair .pane").nth(9).wait_for()
    left, right = (changes.locator(".pair").first.locator(".pane").nth(i).bounding_box() for i in (0, 1))
    assert left["y"] == right["y"] and left["x"] < right["x"]
    assert {"right→wrong", "wrong→right"} >= set(changes.locator("td[data-value*='→']").all_inner_texts())


def test_hostile_replies_are_text(open_page: Any) -> None:
    opened = open_page("hostile")
    table = opened.explorer("All questions")
    for i in range(4):
        table.locator("tr.row").nth(i).get_by_role("button").press("Enter")
    table.locator(".detail").nth(3).locator("pre").nth(3).wait_for()
    texts = table.locator("pre").all_inner_texts()
    assert any("</script><script>window.hacked" in text and "\\u202e\\u200b\\x00" in text for text in texts)
    assert any("characters left out" in text for text in texts)
    assert opened.page.evaluate("window.hacked") is None and opened.page.locator("main img").count() == 0
    assert opened.errors == []


def test_a_page_prints_without_its_controls(open_page: Any) -> None:
    page = open_page("search").page
    page.emulate_media(media="print")
    assert not page.locator(".controls").first.is_visible() and page.locator("figure svg").first.is_visible()
    assert page.pdf().startswith(b"%PDF")
