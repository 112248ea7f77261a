import json
from dataclasses import replace
from pathlib import Path

import pytest
from make_runs import make_run, three_runs
from searched import search

from tale_dspy.errors import RunFolderError, UsageError
from tale_dspy.reports.rows import report_rows
from tale_dspy.reports.search_run import SearchRun
from tale_dspy.reports.sources import ReportSources, load_sources


def test_rows_and_comparisons_are_those_of_the_report() -> None:
    sources = ReportSources(three_runs())
    assert sources.rows == report_rows(sources.runs)
    assert [c is None for c in sources.comparisons] == [True, False, True]
    assert ReportSources().rows == [] == ReportSources().comparisons


def test_folders_are_read_as_what_they_are(tmp_path: Path) -> None:
    run, searched, trained = (tmp_path / name for name in ("run", "search", "adapter"))
    for folder in (run, searched, trained):
        folder.mkdir()
    (run / "run.json").write_text(json.dumps(make_run("c").info))
    (searched / "search.jsonl").write_text("".join(json.dumps(r.to_json()) + "\n" for r in search(["q"], lambda n: 30)))
    (trained / "tale_adapter.json").write_text("{}")
    sources = load_sources([trained, run, searched])
    assert [run.name for run in sources.runs] == ["cot"]
    assert [t.name for t in sources.trainings] == ["adapter"] and sources.searches[0].folder == searched
    with pytest.raises(RunFolderError, match="not a run folder"):
        load_sources([tmp_path])


def test_a_folder_is_given_once(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text(json.dumps(make_run("c").info))
    (tmp_path / "link").symlink_to(tmp_path / "run")
    for again in (tmp_path / "run", tmp_path / "x" / ".." / "run", tmp_path / "link"):
        with pytest.raises(UsageError, match="run is given twice"):
            load_sources([tmp_path / "run", again])


def test_several_searches_have_folders_of_their_own() -> None:
    one = SearchRun({}, search(["q"], lambda n: 30), Path("a/x y"))
    assert [key for key, _, _ in ReportSources(searches=[one]).named_searches] == ["search-1"]
    folders = [folder for _, folder, _ in ReportSources(searches=[one, replace(one, folder=None)]).named_searches]
    assert folders == ["01_x-y/", "02_search/"]
