"""A search in shards that share what they learn is, once merged, one search with every question once."""

from pathlib import Path

import pytest
from elastic_replies import TRAIN, asking, elastic_server

from tale_dspy import TaleEP
from tale_dspy.errors import RunFolderError
from tale_dspy.optimizers.budget_search import BudgetSearch
from tale_dspy.optimizers.search.merge import merge_searches
from tale_dspy.runs.files import read_jsonl
from tale_dspy.runs.shards import shards_in


def test_shards_are_merged_into_one_search_that_asks_nothing_again(tmp_path: Path) -> None:
    with elastic_server() as server:
        rows = {}
        for number in (1, 2, 3):
            search = BudgetSearch(lm=asking(server), out=tmp_path, shard=f"{number}/3", repeats=1)
            search.compile(TaleEP("question -> answer"), trainset=TRAIN)
            rows |= {row.id: row for row in search.rows}
        requests_before = server.stats.requests
        for _ in range(2):  # the second time changes nothing
            merge_searches(tmp_path, shards_in(tmp_path))
            whole = BudgetSearch(lm=asking(server), out=tmp_path, repeats=1)
            program = whole.compile(TaleEP("question -> answer"), trainset=TRAIN)
        assert server.stats.requests == requests_before
    assert {row.id: row for row in whole.rows} == rows and len(rows) == len(TRAIN)
    assert whole.summary["calls"] == requests_before == len(read_jsonl(tmp_path / "calls.jsonl"))
    assert program.estimator is not None and (tmp_path / "summary.json").exists()


def test_shards_of_other_configurations_do_not_mix(tmp_path: Path) -> None:
    with elastic_server() as server:
        for number, repeats in ((1, 1), (2, 0)):
            search = BudgetSearch(lm=asking(server), out=tmp_path, shard=f"{number}/2", repeats=repeats)
            search.compile(TaleEP("question -> answer"), trainset=TRAIN[:6])
    with pytest.raises(RunFolderError, match="is of another configuration"):
        merge_searches(tmp_path, shards_in(tmp_path))


def test_without_shards_there_is_nothing_to_merge(tmp_path: Path) -> None:
    merge_searches(tmp_path, [])
    assert list(tmp_path.iterdir()) == []
