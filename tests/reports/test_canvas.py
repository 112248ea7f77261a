import os
from pathlib import Path

import pytest
from make_runs import random_run

from tale_dspy.errors import UsageError
from tale_dspy.reports.canvas import plain
from tale_dspy.reports.figures import accuracy_tokens


@pytest.mark.parametrize(
    ("text", "expected"), [("$5", r"\$5"), ("中a\x1b", "\ufffda\\x1b"), ("a\nb", "a\nb"), ("\ud800", "\\ud800")]
)
def test_drawn_text_is_no_mathematics_and_has_known_characters_only(text: str, expected: str) -> None:
    assert plain(text) == expected


def test_the_style_of_the_user_is_neither_used_nor_changed(tmp_path: Path) -> None:
    import matplotlib

    plain_bytes = accuracy_tokens([random_run(5)], tmp_path / "a")[1].read_bytes()
    with matplotlib.rc_context({"font.size": 30, "text.usetex": True}):
        assert accuracy_tokens([random_run(5)], tmp_path / "b")[1].read_bytes() == plain_bytes
        assert matplotlib.rcParams["font.size"] == 30


@pytest.mark.parametrize(
    ("out", "stem"), [("fig", "fig"), ("run.v1", "run.v1"), ("x.png", "x"), ("x.SVG", "x"), (".", "accuracy_tokens")]
)
def test_files_are_named_after_the_stem(out: str, stem: str, tmp_path: Path) -> None:
    assert [p.name for p in accuracy_tokens([random_run(3)], tmp_path / out)] == [
        stem + e for e in (".png", ".svg", ".csv")
    ]


def test_a_path_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="the figure cannot be written to"):
        accuracy_tokens([random_run(3)], tmp_path / "file" / "x")
    assert os.listdir(tmp_path) == ["file"]
