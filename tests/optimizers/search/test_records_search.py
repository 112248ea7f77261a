"""A line of search.jsonl: exactly the contract's keys, back and forth without a loss, and broken ones refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from tale_dspy.errors import RunFolderError
from tale_dspy.optimizers.search.records import (
    BestBudget,
    ConfirmationDraws,
    SearchRow,
    Trial,
    VanillaAnswer,
    load_search,
)

ROW = SearchRow(
    id="00ff",
    question="1+1?",
    gold="2",
    predictor="self",
    vanilla=VanillaAnswer(90, "It is 2. Answer: [[2]]", correct=True),
    trials=[Trial(45, 40, True, "Answer: [[2]]", "stop"), Trial(5, None, False)],
    best=BestBudget(45, 41.5, 40, "Answer: [[2]]", ConfirmationDraws(2, 2)),
)


def write(folder: Path, *rows: SearchRow, end: str = "") -> Path:
    lines = "".join(json.dumps(row.to_json()) + "\n" for row in rows)
    (folder / "search.jsonl").write_text(lines + end)
    return folder


def test_a_line_has_the_keys_of_the_contract() -> None:
    line = ROW.to_json()
    assert line.keys() >= {"id", "question", "gold", "vanilla", "trials", "predictor", "best", "reason"}
    assert line["vanilla"].keys() == {"tokens", "text", "correct"}
    assert line["trials"][0].keys() == {"budget", "tokens", "correct", "text", "finish_reason"}
    assert line["best"].keys() == {"budget", "tokens", "selected_tokens", "text", "confirmed"}
    assert line["best"]["confirmed"] == {"n": 2, "right": 2}


def test_rows_come_back_as_they_were(tmp_path: Path) -> None:
    none = SearchRow(
        id="00fe", question=None, inputs={"a": 1}, gold=None, predictor="self", vanilla=ROW.vanilla, trials=[]
    )
    folder = write(tmp_path, ROW, none)
    assert load_search(folder) == load_search(folder / "search.jsonl") == [ROW, none]


def test_a_question_that_was_searched_again_counts_once_the_last(tmp_path: Path) -> None:
    again = SearchRow(**{**vars(ROW), "best": None, "reason": "no gain"})
    other = SearchRow(**{**vars(ROW), "predictor": "plan"})
    assert load_search(write(tmp_path, ROW, other, again)) == [again, other]


def test_a_line_cut_off_by_a_kill_is_left_out(tmp_path: Path) -> None:
    assert load_search(write(tmp_path, ROW, end='{"id": "00')) == [ROW]


def test_keys_of_later_versions_are_ignored() -> None:
    assert SearchRow.from_json({**ROW.to_json(), "later": 1}) == ROW


def test_what_is_no_search_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"is no search: it has no search\.jsonl"):
        load_search(tmp_path)
    with pytest.raises(RunFolderError, match="none of a search"):
        SearchRow.from_json({"id": "x", "predictor": "self", "best": None})


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ({"id": ["00ff"]}, r"id must be text, got \['00ff'\]"),
        ({"trials": [{"budget": 45, "tokens": -40, "correct": True}]}, "tokens must be from 0 to .* got -40"),
        ({"trials": [{"budget": 45, "tokens": 10**400, "correct": True}]}, "tokens must be from 0 to .* got 1000"),
        ({"trials": ["short"]}, "none of a search"),
        ({"vanilla": {"tokens": "many", "text": None, "correct": True}}, "tokens must be a whole number or null"),
        ({"best": {"budget": [45]}}, "budget must be a whole number or text"),
    ],
)
def test_a_broken_line_is_refused_with_file_line_and_field(broken: dict[str, Any], said: str, tmp_path: Path) -> None:
    write(tmp_path, ROW, end=json.dumps({**ROW.to_json(), **broken}) + "\n")
    with pytest.raises(RunFolderError, match=rf"search\.jsonl, line 2: .*{said}"):
        load_search(tmp_path)
