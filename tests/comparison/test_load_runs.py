import json
from pathlib import Path

import pytest
from make_runs import make_run

from tale_dspy.comparison.load_runs import load_runs, named_apart
from tale_dspy.errors import RunFolderError, UsageError


def folder_of(path: Path, model: str = "openai/gpt-4o-mini") -> Path:
    info = make_run("c").info
    path.mkdir(parents=True)
    (path / "run.json").write_text(json.dumps({**info, "config": {**info["config"], "model": model}}))
    return path


def test_runs_of_one_program_are_named_with_what_tells_their_folders_apart(tmp_path: Path) -> None:
    paths = [folder_of(tmp_path / name) for name in ("x/a", "y/a", "y/b")]
    assert [run.name for run in load_runs(paths)] == ["cot (x/a)", "cot (y/a)", "cot (y/b)"]
    assert [run.name for run in load_runs(paths[1:])] == ["cot (a)", "cot (b)"]
    assert [run.name for run in load_runs(paths[:1])] == ["cot"]


def test_runs_that_differ_in_the_model_keep_their_names(tmp_path: Path) -> None:
    paths = [folder_of(tmp_path / "a"), folder_of(tmp_path / "b", "openai/gpt-5")]
    assert [run.name for run in load_runs(paths)] == ["cot", "cot"]


def test_a_search_is_no_run_to_compare(tmp_path: Path) -> None:
    path = folder_of(tmp_path / "s")
    info = json.loads((path / "run.json").read_text())
    (path / "run.json").write_text(json.dumps({**info, "config": {**info["config"], "search": {"sampler": "grid"}}}))
    with pytest.raises(RunFolderError, match="s is the folder of a search, and no run"):
        load_runs([folder_of(tmp_path / "a"), path])


def test_runs_without_a_folder_keep_their_names() -> None:
    assert [run.name for run in named_apart([make_run("c"), make_run("c")])] == ["cot", "cot"]


@pytest.mark.parametrize("again", ["run", "run/.", "link", "x/../run"])
def test_a_folder_is_compared_with_others_only(again: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder_of(Path("run"))
    Path("x").mkdir()
    Path("link").symlink_to("run")
    also = "" if Path(again) == Path("run") else f", as run and as {again}"
    with pytest.raises(UsageError, match=f"^run is given twice{also}: a run is compared with other runs"):
        load_runs([Path("run"), Path(again)])


def test_links_in_a_circle_are_no_run_folders(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(RunFolderError, match="Too many levels of symbolic links"):
        load_runs([tmp_path / "a", tmp_path / "b"])
