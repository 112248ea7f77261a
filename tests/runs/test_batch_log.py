"""`batches.jsonl` after a kill at any line: what is open, what was tried, and ids that never come twice."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tale_dspy.errors import RunFolderError
from tale_dspy.protocols import JsonObject
from tale_dspy.runs.batch_log import BATCHES_FILE, BatchLog, request_key
from tale_dspy.runs.folder import RunFolder

INFO = {"format": 1, "config": {}}
KEY, OTHER = request_key(("q", 0, "hash", 0), 0), request_key(("q", 0, "hash", 1), 0)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[RunFolder]:
    folder = RunFolder(tmp_path / "run", INFO)
    yield folder
    folder.close()


def test_a_planned_batch_is_open_until_all_its_answers_are_journalled(folder: RunFolder) -> None:
    log = BatchLog(folder)
    batch = log.plan([(KEY, "q", 0), (OTHER, "q", 0)], 1, 0.5)
    assert BatchLog(folder).open[batch.name].batch_id is None
    log.submitted(batch, "batch_1")
    reread = BatchLog(folder)
    assert reread.open[batch.name].batch_id == "batch_1" and reread.open[batch.name].reserved_usd == 0.5
    log.settled(batch, batch.requests[0].custom_id)
    assert log.open
    log.settled(batch, batch.requests[1].custom_id)
    assert not log.open and not BatchLog(folder).open
    assert BatchLog(folder).rounds == 1 and BatchLog(folder).attempts[KEY] == 1


def test_ids_never_come_twice_and_an_unsubmitted_batch_is_no_attempt(folder: RunFolder) -> None:
    log, ids = BatchLog(folder), []
    for end in ("lost", "collected", "refused", "collected"):
        batch = log.plan([(KEY, "q", 0)], log.rounds + 1, 0.0)
        ids.append(batch.requests[0].custom_id)
        log.end(batch, end)  # type: ignore[arg-type]
        log = BatchLog(folder)
    assert len(set(ids)) == 4 and log.attempts[KEY] == 2
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", custom_id) for custom_id in ids)
    assert {custom_id.rpartition("-")[0] for custom_id in ids} == {KEY}


def test_answers_that_the_journal_has_are_forgotten(folder: RunFolder) -> None:
    log = BatchLog(folder)
    log.plan([(KEY, "q", 0), (OTHER, "q", 0)], 1, 0.0)
    again = BatchLog(folder)
    again.forget(lambda request: request.key == KEY)
    assert [b.unsettled for b in again.open.values()] == [{f"{OTHER}-1"}]
    again.forget(lambda request: request.sample == "q")
    assert not again.open


def test_a_foreign_line_is_refused(folder: RunFolder) -> None:
    (folder.path / BATCHES_FILE).write_text('{"event": "submitted", "batch": "x"}\n')
    with pytest.raises(RunFolderError, match="holds a line that no version writes"):
        BatchLog(folder)


PLAN: JsonObject = {"event": "planned", "batch": "a", "round": 1, "time": 1.0, "reserved_usd": 0.5}
PLAN["requests"] = [[f"{KEY}-1", "q", 0]]
SUBMITTED, COLLECTED = {"event": "submitted", "batch": "a", "batch_id": "b"}, {"event": "collected", "batch": "a"}


def write(folder: RunFolder, *rows: JsonObject) -> None:
    (folder.path / BATCHES_FILE).write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.parametrize(
    "rows", [[PLAN, PLAN, SUBMITTED, COLLECTED], [PLAN, SUBMITTED, SUBMITTED, COLLECTED, COLLECTED]]
)
def test_a_doubled_line_counts_once(folder: RunFolder, rows: list[JsonObject]) -> None:
    for doubled in (rows, rows + rows):
        write(folder, *doubled)
        log = BatchLog(folder)
        assert (log.open, log.rounds, log.attempts[KEY]) == ({}, 1, 1)


@pytest.mark.parametrize(
    "rows",
    [
        *([PLAN | change] for change in ({"round": "1"}, {"round": 0}, {"time": None}, {"reserved_usd": -1})),
        *([PLAN | {"requests": requests}] for requests in (["abc"], {"abc": 1}, [[f"{KEY}-1", "q", "0"]])),
        [PLAN | {"batch": None}],
        [PLAN, SUBMITTED | {"batch_id": None}],
        [PLAN, SUBMITTED, SUBMITTED | {"batch_id": "other"}],
        [PLAN, {"event": "lost", "batch": "a"}, SUBMITTED],
        [PLAN, SUBMITTED, COLLECTED, {"event": "cancelled", "batch": "a"}],
    ],
)
def test_a_line_of_other_types_or_against_an_earlier_one_is_refused(folder: RunFolder, rows: list[JsonObject]) -> None:
    write(folder, *rows)
    with pytest.raises(RunFolderError, match="holds a line that no version writes"):
        BatchLog(folder)
