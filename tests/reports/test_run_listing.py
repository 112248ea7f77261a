import json
from io import StringIO
from pathlib import Path

import pytest
from make_runs import make_run
from rich.console import Console
from searched import search

from tale_dspy.errors import UsageError
from tale_dspy.reports.run_listing import FolderEntry, list_folder, listing_table, screen_listing


def write(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value))


def test_every_kind_of_folder_is_an_entry(tmp_path: Path) -> None:
    write(tmp_path / "a/run.json", {**make_run("c").info, "created": "2026-11-29T01:02:03+00:00"})
    write(tmp_path / "a/summary.json", {"n": 5, "accuracy": 0.8, "stopped": "cap", "cost_usd": 0.5})
    write(tmp_path / "b/deep/run.json", make_run("c").info)
    write(tmp_path / "c/search.jsonl", json.dumps(search(["q"], lambda n: 30)[0].to_json()) + "\n")
    write(tmp_path / "d/tale_adapter.json", {"strategy": "sft", "base": "embedded", "gate": {"outcome": "pass"}})
    write(tmp_path / "e/run.json", "no json")
    write(tmp_path / "f/other.txt", "")
    write(tmp_path / "g/training.json", {"format": 1, "config": {"strategy": "grpo", "base": "embedded"}})
    entries = list_folder(tmp_path)
    assert [(e.path, e.kind, e.status) for e in entries[:4]] == [
        ("a", "run", "stopped: cap"),
        ("b/deep", "run", "unfinished"),
        ("c", "search", "unfinished"),
        ("d", "training", "pass"),
    ]
    assert entries[4].kind == "unreadable" and "cannot be read" in entries[4].status and len(entries) == 6
    assert (entries[5].kind, entries[5].name, entries[5].status) == ("training", "grpo", "unfinished")
    assert (entries[0].n, entries[0].accuracy, entries[0].created) == (5, 0.8, "2026-11-29")


def test_runs_that_a_search_made_for_itself_are_listed_in_its_own_folder(tmp_path: Path) -> None:
    write(tmp_path / "s/search.jsonl", json.dumps(search(["q"], lambda n: 30)[0].to_json()) + "\n")
    write(tmp_path / "s/gain/self/searched/run.json", make_run("c").info)
    assert [entry.path for entry in list_folder(tmp_path)] == ["s"]
    assert [entry.path for entry in list_folder(tmp_path / "s")] == [".", "gain/self/searched"]


def test_a_tuning_is_one_line(tmp_path: Path) -> None:
    names = ("0" * 16, "1" * 16, "1" * 16 + "-fresh", "fresh-unbudgeted", "fresh-chosen")
    for i, name in enumerate(names):
        write(tmp_path / "t" / name / "run.json", make_run("c").info)
        write(tmp_path / "t" / name / "summary.json", {"n": i, "accuracy": i / 4, "cost_usd": 0.5})
    write(tmp_path / "a-run" / "run.json", make_run("c").info)
    entries = list_folder(tmp_path)
    assert [(e.path, e.kind, e.name) for e in entries] == [("a-run", "run", "cot"), ("t", "tuning", "2 trials")]
    assert (entries[1].n, entries[1].accuracy, entries[1].cost_usd, entries[1].status) == (4, 1.0, 2.5, "unfinished")
    write(tmp_path / "t" / "program.json", "{}")
    assert list_folder(tmp_path)[1].status == "finished"
    assert len(list_folder(tmp_path, with_inner_runs=True)) == len(list_folder(tmp_path / "t")) + 1 == 7


def test_the_shards_of_a_run_are_one_line(tmp_path: Path) -> None:
    for i in (1, 2):
        write(tmp_path / f"r/shard-000{i}-of-0002/run.json", make_run("c").info)
    (entry,) = list_folder(tmp_path)
    assert (entry.path, entry.kind, entry.name, entry.status) == ("r", "run", "cot, 2 shards", "not merged")
    write(tmp_path / "r/summary.json", {"n": 5, "accuracy": 0.8})
    (entry,) = list_folder(tmp_path)
    assert (entry.n, entry.accuracy, entry.status) == (5, 0.8, "finished")
    assert len(list_folder(tmp_path / "r")) == len(list_folder(tmp_path, with_inner_runs=True)) == 3
    write(tmp_path / "r/shard-0001-of-0003/run.json", make_run("c").info)
    assert list_folder(tmp_path)[0].kind == "unreadable"


@pytest.mark.parametrize("width", [80, 160])
def test_long_paths_break_between_their_words(width: int) -> None:
    path = "gsm8k--cot--openai-gpt-5-mini--elasticity-sample/effort-high+50"
    entry = FolderEntry(path=path, kind="run", name="cot", status="finished")
    cell = screen_listing([entry], width).cells[0][0]
    lines = cell.split("\n")[: -(width < 120) or None]
    assert "".join(lines) == path and all(line.endswith(("/", "-")) for line in lines[:-1]) and len(lines) > 1


def test_unknown_figures_are_dashes(tmp_path: Path) -> None:
    write(tmp_path / "run.json", {"program": 5, "config": None})
    (cells,) = listing_table(list_folder(tmp_path)).cells
    assert cells[:5] == [".", "run", "–", "–", "–"] and cells[-1] == "unfinished"


@pytest.mark.parametrize("figure", ["1e400", "NaN", "-1", "true", "1" + 400 * "0", '"many"'])
def test_what_is_no_figure_is_unknown(figure: str, tmp_path: Path) -> None:
    write(tmp_path / "run.json", {"program": {"name": "cot"}})
    (tmp_path / "summary.json").write_text(f'{{"n": {figure}, "accuracy": {figure}, "cost_usd": {figure}}}')
    (entry,) = list_folder(tmp_path)
    assert (entry.n, entry.accuracy, entry.cost_usd, entry.status) == (None, None, None, "finished")


def test_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no folder"):
        list_folder(tmp_path / "none")


def test_on_a_narrow_terminal_names_share_a_cell_and_nothing_is_cut() -> None:
    entry = FolderEntry(
        path="sweep/budget-100", kind="run", name="budget:100", model="openai/gpt-4o-mini", data="gsm8k", n=200,
        accuracy=0.845, output_tokens=104.6, cost_usd=0.0131, created="2026-11-29", status="finished",
    )  # fmt: skip
    written = StringIO()
    Console(width=80, file=written).print(screen_listing([entry], 80).rich())
    text = written.getvalue()
    for cell in ("sweep/budget-100", "budget:100 (run)", "openai/gpt-4o-mini", "gsm8k, 2026-11-29", "84.5", "finished"):
        assert cell in text
    assert [column.name for column in screen_listing([entry], 160).columns][:3] == ["Folder", "Kind", "What"]
