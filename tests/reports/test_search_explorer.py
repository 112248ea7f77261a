from searched import row, search

from tale_dspy.reports.search_explorer import search_explorer
from tale_dspy.reports.search_run import SearchRun

ROWS = [*search(["q0", "q1"], lambda n: 30 + n), row("w", [], reason="wrong without a budget")]


def test_each_question_has_its_best_budget_or_the_reason_for_none() -> None:
    table = search_explorer(SearchRun({}, ROWS), "search-1")
    columns = {c.name: c.values for c in table.columns}
    assert columns["Best budget"] == [ROWS[0].best.budget, ROWS[1].best.budget, None]  # type: ignore[union-attr]
    assert columns["Without a best budget"] == [None, None, "wrong without a budget"]
    assert columns["Saved %"][0] == 100 * (1 - ROWS[0].best.tokens / ROWS[0].vanilla.tokens)  # type: ignore[union-attr,operator]


def test_an_opened_question_shows_every_budget_from_the_largest() -> None:
    titles = [pane["title"] for pane in search_explorer(SearchRun({}, ROWS), "s").panes(0)]
    assert titles[1].startswith("without a budget: correct, 120 tokens") and len(titles) == 2 + len(ROWS[0].trials)
    assert titles[2].startswith("budget 90: correct") and titles[-1].startswith("budget 8: wrong")
