"""`tale export`."""

import json
from pathlib import Path

import pytest

from tale_dspy.cli.main import main
from tests.integrations.programs import regression_program, saved


def test_the_files_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = str(saved(regression_program(), tmp_path))
    out = tmp_path / "policy.json"
    assert main(["export", source, "--to", "json-policy", "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"written: {out}, {tmp_path / 'read_policy.mjs'}\n"
    assert main(["export", source, "--to", "litellm", "--out", str(tmp_path / "proxy"), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["to"], len(document["files"])) == ("litellm", 5)


def test_an_unknown_format_is_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(tmp_path), "--to", "pdf", "--out", str(tmp_path / "x")]) == 2
    assert "to must be one of" in capsys.readouterr().err
