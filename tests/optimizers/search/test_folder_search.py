"""The folder of a search: what was finished, what was asked of the rest, and what failed and is asked again."""

import json
from pathlib import Path
from typing import Any

import pytest
from searched import row

from tale_dspy.errors import RunFolderError
from tale_dspy.optimizers.search.folder import SearchFolder, sample_id, total_cost
from tale_dspy.optimizers.search.question import BudgetQuery
from tale_dspy.optimizers.search.records import SearchRow
from tale_dspy.runs.configuration import FORMAT

INFO: dict[str, Any] = {"format": FORMAT, "config": {"model": "x"}}


def call(question: str, budget: int | None, number: int = 0, cost: float | None = 0.5, **more: Any) -> dict[str, Any]:
    unit = sample_id(question, "parts['a b']", budget)
    return {
        "id": unit,
        "repeat": number,
        "key": "k",
        "step": 0,
        "attempt": 1,
        "error": None,
        "cost": cost,
        "usage": {},
        "reply": "r",
        **more,
    }


def test_a_killed_search_knows_what_it_asked_of_questions_not_finished(tmp_path: Path) -> None:
    folder = SearchFolder(tmp_path, INFO)
    lines = [call("01", None), call("01", 40), call("02", 9), call("01", 20), call("01", 40), call("01", 40, 1)]
    for line in [*lines, call("01", 10, error="LMError")]:
        folder.append("calls.jsonl", line)
    finished_row = SearchRow(**{**vars(row("02", [(9, 9, True)])), "predictor": "parts['a b']"})
    folder.append("search.jsonl", finished_row.to_json())
    folder.close()
    again = SearchFolder(tmp_path, INFO)
    assert again.known("parts['a b']", "01") == [BudgetQuery(40), BudgetQuery(20)]
    assert again.known("parts['a b']", "02") == again.known("self", "01") == []
    assert list(again.rows.values()) == [finished_row]
    assert len(again.journal) == 4  # the two draws of one budget are one request
    assert again.cost() == (6, 3.0)
    again.close()


def test_questions_that_could_not_be_asked_are_asked_again(tmp_path: Path) -> None:
    folder = SearchFolder(tmp_path, INFO)
    for key, reason, unanswered in (("01", "error: 400", 0), ("02", "no gain", 0), ("03", None, 2)):
        folder.append("search.jsonl", row(key, [], best=None, reason=reason, unanswered=unanswered).to_json())
    folder.close()
    again = SearchFolder(tmp_path, INFO)
    again.close()
    assert again.asked_again == {("self", "01"), ("self", "03")}
    assert [r.id for r in again.rows.values()] == ["02"]
    assert [json.loads(line)["id"] for line in (tmp_path / "search.jsonl").read_text().splitlines()] == ["02"]


def test_another_search_is_refused(tmp_path: Path) -> None:
    SearchFolder(tmp_path, INFO).close()
    with pytest.raises(RunFolderError, match="another configuration"):
        SearchFolder(tmp_path, {**INFO, "config": {"model": "y"}})


def test_a_cost_with_an_unknown_part_is_unknown() -> None:
    assert (total_cost([0.5, None]), total_cost([0.5, 0.25]), total_cost([])) == (None, 0.75, 0.0)
