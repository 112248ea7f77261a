"""The formats of `tale export`."""

from pathlib import Path

import pytest

import tale_dspy
from tale_dspy.integrations.exports import EXPORT_FORMATS, export


def test_every_format_says_what_it_is_made_of() -> None:
    assert {"litellm", "json-policy"} <= EXPORT_FORMATS.keys()
    assert {export_format.source for export_format in EXPORT_FORMATS.values()} <= {"program", "run"}
    assert all(len(export_format.summary) < 80 for export_format in EXPORT_FORMATS.values())


def test_what_cannot_be_exported_is_said(tmp_path: Path) -> None:
    with pytest.raises(tale_dspy.UsageError, match=r"to must be one of litellm, .*, got 'pdf'"):
        export(tmp_path, "pdf", tmp_path / "x")
    with pytest.raises(tale_dspy.UsageError, match=r"litellm is made of a saved program \(.json\)"):
        export(tmp_path, "litellm", tmp_path / "x")
    with pytest.raises(tale_dspy.UsageError, match="nowhere does not exist: parquet is made of a run folder"):
        export(tmp_path / "nowhere", "parquet", tmp_path / "x")
    with pytest.raises(tale_dspy.StateError, match="does not exist"):
        export(tmp_path / "none.json", "litellm", tmp_path / "x")
