from pathlib import Path
from typing import Annotated, Any

import pytest
import typer

from tale_dspy.cli.flag_values import misfit, with_flag_name

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


def test_a_sentence_on_an_argument_names_its_flag(tale: Any) -> None:
    for flag, sentence in (
        ("--max-usd", "--max-usd must be a number above 0, got 0.0"),
        ("--concurrency", "--concurrency must be a whole number of at least 1, got 0"),
    ):
        assert (
            tale("eval", "cot", "--data", "embedded", "--model", "embedded", flag, "0").sentence == f"error: {sentence}"
        )


def test_a_flag_with_a_name_of_its_own_is_left_as_it_is() -> None:
    def command(
        max_tokens: Annotated[int, typer.Option("--reply-tokens")] = 1, max_usd: Annotated[float, typer.Option()] = 1
    ) -> None:
        raise NotImplementedError

    assert with_flag_name(command, "max_tokens must be 1") == "max_tokens must be 1"
    assert with_flag_name(command, "max_usd must be 1") == "--max-usd must be 1"
    assert with_flag_name(command, "trials must be 1") == "trials must be 1"
