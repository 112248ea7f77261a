from pathlib import Path

import pytest

from tale_dspy.errors import UsageError
from tale_dspy.output_paths import HEAD_BYTES, check_file, check_folder


def test_new_paths_and_empty_files_may_be_written(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    for name in ("new", "a/b/new", "empty"):
        check_file(tmp_path / name, "table")
    check_folder(tmp_path / "a" / "b", "table")


def test_only_an_earlier_file_of_the_kind_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"# table of mine")
    check_file(path, "table", b"other", b"table of")
    with pytest.raises(UsageError, match="file is there already and is no table, so it is not replaced"):
        check_file(path, "table", b"other")
    path.write_bytes(b" " * HEAD_BYTES + b"table of")
    with pytest.raises(UsageError, match="is there already"):
        check_file(path, "table", b"table of")


def test_files_and_folders_in_the_way_are_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match=r"is a folder: a table is written to a file"):
        check_file(tmp_path, "table")
    for check in (check_file, check_folder):
        with pytest.raises(UsageError, match=r"file is a file, not a folder$"):
            check(tmp_path / "file" / "a" / "b", "table")
