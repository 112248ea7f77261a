"""The figures of a search: all that there is something to draw for, each with its mark and its numbers."""

import csv
from pathlib import Path
from typing import Any

import pytest
from searched import row, search

from tale_dspy.errors import UsageError
from tale_dspy.reports.search_figures import best_budgets, search_figures, vanilla_searched
from tale_dspy.reports.search_run import SearchRun

INFO: dict[str, Any] = {"provenance": "simulated", "config": {"data": {"name": "stories"}}}
ROWS = search([f"q{n}" for n in range(8)], lambda n: 30 + 3 * n, shares=(0.14, 0.28, 0.55))
FOUND = SearchRun(INFO, [*ROWS, row("w", [], reason="wrong without a budget")])


def test_all_figures_of_a_search_are_drawn(tmp_path: Path) -> None:
    paths = [path for drawing in search_figures(FOUND) for path in drawing.save(tmp_path / "f" / drawing.stem)]
    names = {p.stem for p in paths}
    assert names == {"elasticity_questions", "elasticity_pooled", "best_budgets", "vanilla_searched"}
    assert all(p.exists() for p in paths) and len(paths) == 12
    for svg in (p for p in paths if p.suffix == ".svg"):
        assert "Evidence: simulated" in svg.read_text()
    assert "1 of 9 questions have none and are not drawn: 1 wrong without a budget" in (
        tmp_path / "f" / "best_budgets.svg"
    ).read_text().replace("\n", " ")


def test_the_numbers_are_those_of_the_rows(tmp_path: Path) -> None:
    table = vanilla_searched(FOUND).save(tmp_path)[2]
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert [int(r["vanilla_tokens"]) for r in rows] == sorted(r.vanilla.tokens or 0 for r in ROWS)
    assert {r["id"]: float(r["tokens"]) for r in rows} == {r.id: r.best.tokens for r in ROWS if r.best}


def test_draws_that_were_not_confirmed_are_reported(tmp_path: Path) -> None:
    assert "and therefore too low" in vanilla_searched(FOUND).save(tmp_path)[1].read_text()


def test_a_single_question_has_its_figures() -> None:
    one = SearchRun(INFO, ROWS[:1])
    assert {drawing.stem for drawing in search_figures(one)} == {
        "elasticity_questions",
        "best_budgets",
        "vanilla_searched",
    }


@pytest.mark.parametrize("draw", [best_budgets, vanilla_searched])
def test_nothing_found_is_said(draw: Any) -> None:
    with pytest.raises(UsageError, match="none of 1 questions has a best budget"):
        draw(SearchRun(INFO, [row("w", [], reason="wrong without a budget")]))
