from pathlib import Path
from typing import Any

import pytest

from tale_dspy.cli.flag_values import misfit

COMMAND = ("eval", "cot", "--data", "x.jsonl", "--model", "openai/x")


def words(text: str) -> str:
    return " ".join(text.replace("\N{BOX DRAWINGS LIGHT VERTICAL}", " ").split())


def test_a_value_that_a_flag_cannot_take_is_named(tale: Any) -> None:
    result = tale(*COMMAND, "--limit", "three")
    assert result.code == 2 and "'--limit'" in result.err and "got 'three'" in words(result.err)


def test_where_a_value_came_from_is_named(tale: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "c.toml").write_text('temperature = "hot"\n')
    assert "got 'hot' from --config" in words(tale(*COMMAND, "--config", "c.toml").err)
    monkeypatch.setenv("TALE_LIMIT", "1.5")
    assert "got '1.5' from $TALE_LIMIT" in words(tale(*COMMAND).err)


def test_numbers_for_texts_and_lists_for_lists_fit() -> None:
    assert [misfit(list[str] | None, ["a"]), misfit(Path | None, 5), misfit(bool, True)] == [None, None, None]
    assert [misfit(int | None, True), misfit(str, ["a"])] == ["a number", "one value"]
