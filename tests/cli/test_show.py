"""`tale show`: a run, and one of its questions."""

import json
from pathlib import Path
from typing import Any

import pytest
from searched import search


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
    text = " ".join(result.out.split())  # lines are wrapped
    assert result.code == 0 and f"Question {records[3]['id']}" in text and " ".join(records[3]["reply"].split()) in text
    assert "estimate_tokens" in result.out
    assert tale("show", "a", records[3]["id"], "--json").json["records"] == [records[3]]


def test_a_search_and_an_adapter_are_shown_as_what_they_are(tale: Any, tmp_path: Path) -> None:
    rows = search(["q", "r"], lambda n: 30)
    Path("s").mkdir()
    Path("s/search.jsonl").write_text("".join(json.dumps(row.to_json()) + "\n" for row in rows))
    result = tale("show", "s")
    assert result.code == 0 and result.out.startswith("Search of self on unnamed data: 2 of 2 questions have a best")
    assert "Tokens saved %" in result.out
    assert tale("show", "s", "--json").json["searches"][0]["Questions"] == "2"
    assert "s is no run: only a run's questions are shown one by one" in tale("show", "s", "0000").sentence
    Path("t").mkdir()
    Path("t/tale_adapter.json").write_text(json.dumps({"strategy": "sft", "gate": None}))
    assert tale("show", "t").out.startswith("t: whether it is shorter and not worse than its base was not tested.")
    assert tale("show", "t", "--json").json["strategy"] == "sft"


def test_a_question_that_is_not_there_is_said(tale: Any, records: list[dict[str, Any]]) -> None:
    result = tale("show", "a", "zzz")
    assert result.code == 2 and "a has no question 'zzz'" in result.sentence
    assert "the id of a question is empty" in tale("show", "a", "").sentence
    assert tale("show", "nowhere").code == 2
