"""Files of a run folder: what is planted or edited ends in one sentence, what is cut off is left out."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import filelock
import pytest

from tale_dspy.errors import BackendError, RunFolderError
from tale_dspy.runs import files
from tale_dspy.runs.files import (
    append_line,
    iter_jsonl,
    line_at,
    lock_folder,
    open_for_appending,
    read_json,
    read_jsonl,
    replace_file,
    replace_json,
    require_plain_file,
)


def test_a_link_a_pipe_and_a_folder_are_not_opened(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text('{"a": 1}\n')
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name, reason in (("link", "symbolic link"), ("pipe", "no plain file"), ("folder", "no plain file")):
        for read in (read_json, read_jsonl, open_for_appending, require_plain_file):
            with pytest.raises(RunFolderError, match=f"{name} is (a|no) .*{reason.split()[-1]}"):
                read(tmp_path / name)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "line 2 is not JSON"),
        ("[1]", "line 2 must be a JSON object, got list"),
        ('{"a": "x"}', "line 2: a must be a number"),
        ("{}", "line 2: lacks 'a'"),
        ("[" * 100_000, "line 2 is not JSON"),
    ],
)
def test_a_broken_line_is_named(line: str, reason: str, tmp_path: Path) -> None:
    def parse(row: dict[str, Any]) -> int:
        if not isinstance(row["a"], int):
            raise ValueError("a must be a number")
        return row["a"]

    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1}\n' + line + "\n")
    with pytest.raises(RunFolderError, match=f"a.jsonl, {reason}"):
        list(iter_jsonl(path, parse))


def test_lines_come_with_their_places_and_a_cut_one_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": NaN}\n\n{"a": 2}\n{"a": ')
    places = [place for place, _ in iter_jsonl(path, dict)]
    assert read_jsonl(path) == [{"a": None}, {"a": 2}] and line_at(path, places[1]) == {"a": 2}
    assert read_jsonl(tmp_path / "none.jsonl") == []


@pytest.mark.parametrize("size", [0, 10, files._TAIL - 3, 2 * files._TAIL + 5])
def test_what_a_kill_cut_off_is_cut_away(size: int, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"1\n2\n" + b"x" * size)
    os.close(open_for_appending(path))
    assert path.read_bytes() == b"1\n2\n"
    path.write_bytes(b"x" * size)
    os.close(open_for_appending(path))
    assert path.read_bytes() == b""


def test_a_file_that_was_deleted_takes_no_more_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    descriptor = open_for_appending(path)
    append_line(descriptor, path.parent, path.name, b"1\n")
    path.unlink()
    with pytest.raises(BackendError, match="was deleted while the run was going on: nothing more is asked"):
        append_line(descriptor, path.parent, path.name, b"2\n")
    os.close(descriptor)


def test_a_folder_is_locked_once(tmp_path: Path) -> None:
    lock = lock_folder(tmp_path)
    with pytest.raises(RunFolderError, match="is in use by another process"):
        lock_folder(tmp_path)
    lock.release()
    lock_folder(tmp_path).release()


def test_a_file_system_without_locks_gets_a_lock_that_is_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_locks(self: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(filelock.FileLock, "_acquire", no_locks)
    lock = lock_folder(tmp_path)
    assert "has no file locks: .lock.held marks it as in use" in caplog.text
    with pytest.raises(RunFolderError, match="is in use by another process"):
        lock_folder(tmp_path)
    lock.release()
    assert not (tmp_path / ".lock.held").exists()


def test_a_folder_that_cannot_be_written_is_not_said_to_be_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(self: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(filelock.FileLock, "_acquire", denied)
    with pytest.raises(BackendError, match="cannot be written: Permission denied"):
        lock_folder(tmp_path)


def test_a_file_that_cannot_be_written_whole_stays_what_it_was(tmp_path: Path) -> None:
    file = tmp_path / "calls.jsonl"
    file.write_bytes(b"before\n")

    def lines() -> Iterator[bytes]:
        yield b"half\n"
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(BackendError, match="the disk is full"):
        replace_file(file, lines())
    assert file.read_bytes() == b"before\n" and list(tmp_path.iterdir()) == [file]
    replace_json(tmp_path / "summary.json", {"n": 1, "text": "\ud800"})
    assert read_json(tmp_path / "summary.json") == {"n": 1, "text": "\ud800"}, "half a pair of surrogates is text too"
