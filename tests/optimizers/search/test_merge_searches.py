"""A search in shards that share what they learn is, once merged, one search with every question once."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from elastic_replies import TRAIN, asking, elastic_server

from tale_dspy import TaleEP
from tale_dspy.errors import RunFolderError
from tale_dspy.optimizers.budget_search import BudgetSearch
from tale_dspy.optimizers.search.merge import merge_searches
from tale_dspy.optimizers.search.records import load_search
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
            out = tmp_path / str(number)
            search = BudgetSearch(lm=asking(server), out=out, shard=f"{number}/2", repeats=repeats)
            search.compile(TaleEP("question -> answer"), trainset=TRAIN[:6])
        with pytest.raises(RunFolderError, match=r"another configuration \(search.repeats was 0, now 1\)"):
            BudgetSearch(lm=asking(server), out=out, shard="1/2", repeats=1).compile(
                TaleEP("question -> answer"), trainset=TRAIN[:6]
            )
    (tmp_path / "1" / "shard-0001-of-0002").rename(out / "shard-0001-of-0002")
    with pytest.raises(RunFolderError, match="is of another configuration"):
        merge_searches(out, shards_in(out))


@pytest.fixture(scope="module")
def halves(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search in two shards."""
    out = tmp_path_factory.mktemp("halves")
    with elastic_server() as server:
        for number in (1, 2):
            search = BudgetSearch(lm=asking(server), out=out, shard=f"{number}/2", repeats=1)
            search.compile(TaleEP("question -> answer"), trainset=TRAIN)
    return out


def cut(shard: Path) -> None:
    file = shard / "search.jsonl"
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:2]))


def copy_over(shard: Path) -> None:
    shutil.rmtree(shard)
    shutil.copytree(shard.with_name("shard-0002-of-0002"), shard)


def rename(shard: Path) -> None:
    shard.rename(shard.with_name("shard-0001-of-0004"))
    shutil.rmtree(shard.with_name("shard-0002-of-0002"))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda shard: (shard / "search.jsonl").unlink(), "search.jsonl holds 0 results, and summary.json beside it"),
        (lambda shard: (shard / "calls.jsonl").unlink(), "shard-0001-of-0002 has no calls.jsonl: what was paid"),
        (cut, r"shard-0001-of-0002/search.jsonl holds 2 results, and summary.json beside it counts"),
        (copy_over, "holds no answer of a question of shard 1/2, but .* of others: is it a copy"),
        (rename, "shard-0001-of-0004 holds answers to .* questions of other shards"),
        (lambda shard: (shard / "summary.json").write_text('{"n": "5"}'), "summary.json: n must be a whole number"),
        (
            lambda shard: (shard.parent / "run.json").write_text('{"format": 1, "config": {"model": "other"}}'),
            "holds a run of another configuration",
        ),
    ],
)
def test_shards_that_are_damaged_copied_or_of_another_split_are_refused(
    damage: Callable[[Path], object], message: str, halves: Path, tmp_path: Path
) -> None:
    out = shutil.copytree(halves, tmp_path / "out")
    damage(out / "shard-0001-of-0002")
    with pytest.raises(RunFolderError, match=message):
        merge_searches(out, shards_in(out))
    assert not (out / "search.jsonl").exists(), "nothing is written of them"


def test_what_is_missing_is_said_and_the_rest_is_merged(halves: Path, tmp_path: Path) -> None:
    whole = merge_searches(halves, shards_in(halves))
    assert whole is not None and whole.doubled_results == 0
    assert (whole.summary["n"], whole.summary["stopped"]) == (len(TRAIN), None)
    out = shutil.copytree(halves, tmp_path / "out", ignore=shutil.ignore_patterns("search.jsonl.tmp"))
    for name in ("run.json", "search.jsonl", "calls.jsonl", "summary.json"):
        (out / name).unlink()
    (out / "shard-0002-of-0002" / "summary.json").unlink()
    merged = merge_searches(out, shards_in(out))
    assert merged is not None and merged.summary["stopped"] == f"1 of 2 shards in {out} have not ended"
    shutil.rmtree(out / "shard-0002-of-0002")
    merged = merge_searches(out, shards_in(out))
    assert merged is not None and merged.summary["stopped"] == f"1 of 2 shards are missing in {out}"


def test_a_search_that_lost_rows_is_no_search_to_read(halves: Path, tmp_path: Path) -> None:
    shard = shutil.copytree(halves / "shard-0001-of-0002", tmp_path / "shard")
    cut(shard)
    with pytest.raises(RunFolderError, match=r"holds 2 results, and summary.json beside it counts"):
        load_search(shard)


def test_without_shards_there_is_nothing_to_merge(tmp_path: Path) -> None:
    merge_searches(tmp_path, [])
    assert list(tmp_path.iterdir()) == []
