"""`tale report`: the table on the screen, in four formats and as figures."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from searched import search


@pytest.fixture
def runs(tale: Any, task_flags: list[str]) -> tuple[str, str]:
    assert (
        tale("eval", "cot", *task_flags, "--out", "a").code
        == tale("eval", "tale-ep", *task_flags, "--out", "b").code
        == 0
    )
    return "a", "b"


def test_the_table_is_shown_and_written_with_figures(tale: Any, runs: tuple[str, str]) -> None:
    result = tale("report", *runs, "--out", "r")
    assert (result.code, result.err) == (0, "")
    assert "tale-ep" in result.out and "written to r: table.md" in result.out
    assert {p.suffix for p in Path("r").iterdir()} == {".md", ".tex", ".csv", ".json", ".png", ".svg", ".html"}


def test_json_names_rows_and_files(tale: Any, runs: tuple[str, str]) -> None:
    result = tale("report", *runs, "--out", "r", "--json")
    assert result.out.count("\n") == 1
    assert len(result.json["rows"]) == 2 and all(Path(f).exists() for f in result.json["files"])


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["nowhere"], 2, "nowhere is not a run folder"),
        (["a", "questions.jsonl"], 2, "questions.jsonl is not a run folder"),
        (["a", "--out", "questions.jsonl"], 2, "cannot be written"),
        (["a", "--out", "/proc/nothing"], 2, "cannot be written"),
    ],
)
def test_what_cannot_be_reported_is_said(
    args: list[str], code: int, said: str, tale: Any, runs: tuple[str, str]
) -> None:
    result = tale("report", *args)
    assert result.code == code and said in result.sentence


def test_without_matplotlib_the_table_is_shown_and_the_pip_line(
    tale: Any, runs: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = tale("report", *runs, "--out", "r")
    assert result.code == 1 and "tale-ep" in result.out
    assert "pip install 'tale-dspy[report]'" in result.sentence and not Path("r").exists()


@pytest.fixture
def searched(tmp_path: Path) -> Any:
    """Write a search of the ten questions that `asked` asks, with a grid of budgets on each."""

    def write(name: str, sampler: str = "GridSampler") -> str:
        rows = [json.loads(line) for line in Path("a/records.jsonl").read_text().splitlines()]
        search_rows = [
            replace(one, id=row["id"], question=row["question"])
            for one, row in zip(search(["q"] * len(rows), lambda n: 30 + n), rows, strict=True)
        ]
        folder = tmp_path / name
        folder.mkdir()
        (folder / "search.jsonl").write_text("".join(json.dumps(row.to_json()) + "\n" for row in search_rows))
        info = {"provenance": "simulated", "config": {"data": {"name": "stories"}, "search": {"sampler": sampler}}}
        (folder / "run.json").write_text(json.dumps(info))
        return name

    return write


def test_a_search_gets_its_figures_and_the_runs_their_place_in_its_ranges(
    tale: Any, runs: tuple[str, str], searched: Any
) -> None:
    result = tale("report", *runs, searched("s"), "--out", "r", "--json")
    assert (result.code, result.err) == (0, "")
    (search,) = result.json["searches"]
    assert search["figures"]["With a best budget"] == "10" and search["provenance"] == "simulated"
    assert [row["program"] for row in result.json["rows"]] == ["cot", "tale-ep", "searched budgets, confirmed"]
    assert "| searched budgets, confirmed |" in Path("r/table.md").read_text()
    (quality,) = search["ranges"]
    assert quality["run"] == "b" and quality["n"] == 10 and 0 <= quality["in_range_accuracy"] <= 1
    assert {"table", "best_budgets", "vanilla_searched", "elasticity_pooled"} <= {p.stem for p in Path("r").iterdir()}


def test_searches_alone_are_reported_each_in_its_own_folder(tale: Any, runs: tuple[str, str], searched: Any) -> None:
    result = tale("report", searched("s"), searched("t", "HalvingSampler"), "--out", "r")
    assert result.code == 0 and "Tokens saved %" in result.out and "HalvingSampler" in result.out
    assert "Evidence: simulated" in result.out and sorted(p.name for p in Path("r").iterdir()) == [
        "01_s",
        "02_t",
        "report.html",
    ]


def test_the_ideal_range_is_reported_in_words(tale: Any, runs: tuple[str, str], searched: Any) -> None:
    result = tale("report", "b", searched("t", "HalvingSampler"), "--out", "r")
    assert "Ideal range, tale-ep: " in result.out and "% of 10 budgets in the ideal range" in result.out
    assert "only a grid search shows them, not HalvingSampler" in result.out


def test_a_broken_search_is_said(tale: Any, runs: tuple[str, str], searched: Any) -> None:
    Path(searched("s"), "search.jsonl").write_text('{"id": "a", "predictor": "self"}\n')
    result = tale("report", "s")
    assert result.code == 2 and "is none of a search" in result.sentence
