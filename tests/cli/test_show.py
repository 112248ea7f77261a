"""`tale show`: a run, and one of its questions."""

import json
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def records(tale: Any, task_flags: list[str]) -> list[dict[str, Any]]:
    assert tale("eval", "tale-ep", *task_flags, "--out", "a").code == 0
    return [json.loads(line) for line in Path("a/records.jsonl").read_text().splitlines()]


def test_a_run_is_its_table_and_what_it_failed(tale: Any, records: list[dict[str, Any]]) -> None:
    result = tale("show", "a")
    assert result.code == 0 and "tale-ep" in result.out and "answered right." in result.out
    assert tale("show", "a", "--json").json["n"] == len(records)


def test_a_question_is_shown_whole_and_found_by_the_start_of_its_id(tale: Any, records: list[dict[str, Any]]) -> None:
    result = tale("show", "a", records[3]["id"][:10])
    shown = " ".join(result.out.split())  # lines are wrapped
    assert (
        result.code == 0 and f"Question {records[3]['id']}" in shown and " ".join(records[3]["reply"].split()) in shown
    )
    assert "estimate_tokens" in result.out
    assert tale("show", "a", records[3]["id"], "--json").json["records"] == [records[3]]


def test_a_question_that_is_not_there_is_said(tale: Any, records: list[dict[str, Any]]) -> None:
    result = tale("show", "a", "zzz")
    assert result.code == 2 and "a has no question zzz" in result.sentence
    assert tale("show", "nowhere").code == 2
