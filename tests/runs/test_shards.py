"""Which questions a shard holds, and what its folder is called."""

from pathlib import Path

import pytest

from tale_dspy.errors import UsageError
from tale_dspy.runs.shards import Shard, shard_folders, shard_of


def test_every_question_is_in_exactly_one_shard_and_equal_rows_together() -> None:
    shards = [Shard(number, 7) for number in range(1, 8)]
    for content in range(100):
        key = f"{content * 7919:016x}"
        holders = [shard for shard in shards if shard.holds(key)]
        assert len(holders) == 1 and holders[0].holds(f"{key}-2")
    assert Shard(1, 4).holds(f"{8:016x}") and Shard(4, 4).holds(f"{11:016x}")


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "a/b", "1/0", "-1/4", "1/4/2", ""])
def test_what_is_no_shard_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="a shard is I/N with I from 1 to N"):
        Shard.parse(text)


def test_a_shard_names_its_folder_and_is_named_by_it(tmp_path: Path) -> None:
    shard = Shard.parse(" 3/12 ")
    assert (str(shard), shard.folder_name, shard_of(Path(shard.folder_name))) == ("3/12", "shard-0003-of-0012", shard)
    assert shard_of(tmp_path / "shard-0005-of-0004") is None and shard_folders(tmp_path) == []
