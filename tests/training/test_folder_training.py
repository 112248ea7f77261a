"""The folder of an adapter while it is trained."""

from pathlib import Path

import pytest

from tale_dspy.errors import BackendError, RunFolderError
from tale_dspy.training.folder import AdapterFolder


@pytest.fixture
def folder(tmp_path: Path) -> AdapterFolder:
    return AdapterFolder(tmp_path / "a", {"epochs": 1, "targets": ("q",)})


def checkpoint(folder: AdapterFolder, step: int, *, seal: bool = True) -> Path:
    path = folder.checkpoints / f"checkpoint-{step}"
    path.mkdir(parents=True)
    (path / "weights").write_text(str(step))
    if seal:
        folder.seal(step, 1.5 * step)
    return path


def test_the_same_training_may_go_on(folder: AdapterFolder) -> None:
    folder.check()
    with folder.opened():
        pass
    AdapterFolder(folder.path, {"epochs": 1, "targets": ["q"]}).check()
    with pytest.raises(RunFolderError, match=r"another configuration \(epochs was 1, now 2\)"):
        AdapterFolder(folder.path, {**folder.config, "epochs": 2}).check()


def test_only_one_process_trains(folder: AdapterFolder) -> None:
    with folder.opened(), pytest.raises(RunFolderError, match="in use by another process"), folder.opened():
        pass


def test_the_newest_whole_checkpoint_is_gone_on_from(folder: AdapterFolder) -> None:
    assert folder.last_checkpoint() is None
    for step in (2, 10, 9):
        checkpoint(folder, step)
    cut_off, changed = checkpoint(folder, 12, seal=False), checkpoint(folder, 11)
    (changed / "weights").write_text("other")
    assert folder.last_checkpoint() == folder.checkpoints / "checkpoint-10"
    assert not cut_off.exists() and not changed.exists()
    folder.tidy()
    assert not folder.checkpoints.exists()


def test_a_folder_of_something_else_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(RunFolderError, match=r"holds mine\.txt"):
        AdapterFolder(tmp_path, {}).check()
    with pytest.raises(RunFolderError, match="is a file"):
        AdapterFolder(tmp_path / "mine.txt", {}).check()
    (tmp_path / "training.json").write_text("{broken")
    with pytest.raises(RunFolderError, match="cannot be read"):
        AdapterFolder(tmp_path, {}).check()
    (tmp_path / "training.json").write_text('{"format": 9}')
    with pytest.raises(RunFolderError, match="format 9"):
        AdapterFolder(tmp_path, {}).check()


def test_a_place_that_cannot_be_written_is_one_sentence() -> None:
    with pytest.raises(BackendError, match="cannot be written"), AdapterFolder(Path("/proc/nothing/a"), {}).opened():
        pass
