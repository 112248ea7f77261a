"""Flags from a file and from the environment."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tale_dspy.cli import flags
from tale_dspy.cli.config_file import PANELS, read_config, write_config
from tale_dspy.errors import UsageError


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    file = tmp_path / "q.jsonl"
    file.write_text('{"question": "1+1?", "answer": "2"}\n' * 3)
    return file


def test_a_file_sets_flags_and_the_command_line_wins(tale: Any, task_flags: list[str], tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text('limit = 3\nmax-tokens = 7\nprogram = "direct"\n')
    file = tale("eval", *task_flags, "--config", str(tmp_path / "c.toml"), "--json", "--out", str(tmp_path / "a"))
    assert file.code == 0 and file.json["n"] == 3 and file.json["program"] == "direct"
    line = tale(
        "eval",
        *task_flags,
        "--config",
        str(tmp_path / "c.toml"),
        "--limit",
        "2",
        "--json",
        "--out",
        str(tmp_path / "b"),
    )
    assert line.json["n"] == 2


def test_the_environment_wins_over_the_file(
    tale: Any, task_flags: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "c.toml").write_text("limit = 3\n")
    monkeypatch.setenv("TALE_LIMIT", "1")
    result = tale(
        "eval", "direct", *task_flags, "--config", str(tmp_path / "c.toml"), "--json", "--out", str(tmp_path / "a")
    )
    assert result.json["n"] == 1


def test_a_flag_that_is_not_there_is_named_with_the_nearest(tale: Any, task_flags: list[str], tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("limt = 3\n")
    result = tale("eval", "direct", *task_flags, "--config", str(tmp_path / "c.toml"))
    assert result.code == 2 and "eval has no flag limt; did you mean limit?" in result.sentence


@pytest.mark.parametrize(("text", "reason"), [("limit =", "is no TOML"), ("[eval]\nlimit = 3", "eval is a table")])
def test_a_file_that_is_none_of_flags_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "c.toml").write_text(text)
    with pytest.raises(UsageError, match=reason):
        read_config(tmp_path / "c.toml")
    with pytest.raises(UsageError, match="cannot be read"):
        read_config(tmp_path / "none.toml")


@dataclass(frozen=True)
class Options:
    data: flags.Data
    limit: flags.Limit = None
    concurrency: flags.Concurrency = 32
    fallback: flags.Fallback = None
    secret: str = "never written"


def test_what_is_written_is_what_was_given_and_is_read_back(tmp_path: Path) -> None:
    write_config(tmp_path, Options('a "b".jsonl', 5, 32, ["x", "y"]), {"program": "cot", "unset": None})
    settings = {"data": 'a "b".jsonl', "limit": 5, "fallback": ["x", "y"], "program": "cot"}
    assert read_config(tmp_path / "config.toml") == settings


def test_no_flag_stands_in_two_panels() -> None:
    names = [name for panel in PANELS.values() for name in panel]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("limit = true", "limit must be a number, got True"),
        ("limit = [1]", "limit must be one value, got [1]"),
        ('data = ["a", "b"]', "data must be one value, got ['a', 'b']"),
        ("model = false", "model must be a text, got False"),
    ],
)
def test_a_setting_of_another_kind_is_refused(tale: Any, tmp_path: Path, setting: str, said: str) -> None:
    (tmp_path / "c.toml").write_text(setting + "\n")
    result = tale("eval", "cot", "--data", "x.jsonl", "--model", "openai/x", "--config", "c.toml")
    assert (result.code, result.sentence) == (2, f"error: --config c.toml: {said}")


def test_a_variable_that_looks_like_a_misspelt_flag_is_said(tale: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALE_LIMT", "3")
    monkeypatch.setenv("TALE_ZZZZZZ", "of another program")
    err = tale("runs", ".").err
    assert "$TALE_LIMT is set and has no effect: no flag has this name; did you mean TALE_LIMIT" in err
    assert "ZZZ" not in err
