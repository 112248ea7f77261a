"""A folder takes the run it was made for, and no shard that could not be merged with those beside it."""

import json
from pathlib import Path
from typing import Any

import pytest

from tale_dspy.errors import RunFolderError
from tale_dspy.runs.configuration import FORMAT, check_neighbours, check_same_config

INFO: dict[str, Any] = {"format": FORMAT, "config": {"model": "x", "data": {"n": 3, "name": "d"}}}


def test_differences_are_named_with_both_values(tmp_path: Path) -> None:
    check_same_config(tmp_path, INFO, {**INFO, "made": "later"})
    other = {**INFO, "config": {"model": "x", "data": {"n": 4, "name": "d"}}}
    with pytest.raises(RunFolderError, match=r"another configuration \(data.n was 3, now 4\): give another folder"):
        check_same_config(tmp_path, INFO, other)
    with pytest.raises(RunFolderError, match=r"has format 0, this version reads 1"):
        check_same_config(tmp_path, {**INFO, "format": 0}, INFO)


@pytest.mark.parametrize(
    ("name", "info", "message"),
    [
        ("shard-0002-of-0004", INFO, None),
        ("shard-0001-of-0005", INFO, "is split into 4 shards already, and 1/5 is of another split: give /4 or another"),
        ("shard-0002-of-0004", {**INFO, "config": {}}, "shard-0001-of-0004 holds a run of another configuration"),
    ],
)
def test_a_shard_goes_with_those_beside_it(
    name: str, info: dict[str, Any], message: str | None, tmp_path: Path
) -> None:
    check_neighbours(tmp_path / name, info)
    first = tmp_path / "shard-0001-of-0004"
    first.mkdir()
    check_neighbours(tmp_path / name, info)  # a folder without run.json is no shard yet
    (first / "run.json").write_text(json.dumps(INFO))
    if message is None:
        check_neighbours(tmp_path / name, info)
    else:
        with pytest.raises(RunFolderError, match=message):
            check_neighbours(tmp_path / name, info)
    (tmp_path / "records.jsonl").touch()
    with pytest.raises(RunFolderError, match="is a run of all questions: a shard in it would not be read"):
        check_neighbours(tmp_path / name, info)
