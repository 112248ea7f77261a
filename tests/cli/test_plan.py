"""What the flags say by themselves: folder names, presets, addresses."""

import itertools
import re
from pathlib import Path
from typing import Any

import pytest

from tale_dspy.cli.plan import Plan
from tale_dspy.errors import UsageError

GIVEN: dict[str, Any] = {"program": "cot", "data": "gsm8k", "model": "openai/gpt-4o-mini"}

NAMES = "gsm8k a/q.jsonl b/q.jsonl q.jsonl ../q.jsonl hf:x/y:test .. / 数据.jsonl 数/据.jsonl -x x a--b a\0b"
PROGRAMS = "cot budget:50 budget-50 a/best.json a-best.json m:f m-f"
MODELS = "openai/gpt-4o openai-gpt-4o openai/gpt-4o/ a/b/c a/b-c ollama/qwen3:8b ../../etc 💥"


def test_the_default_folder_is_readable() -> None:
    assert Plan(**GIVEN).folder() == Path("runs/gsm8k--cot--openai-gpt-4o-mini")
    assert Plan(**{**GIVEN, "program": "budget:50"}).folder() == Path("runs/gsm8k--budget-50--openai-gpt-4o-mini")


def test_default_folders_are_safe_and_tell_commands_apart() -> None:
    choices = (NAMES.split(" "), [*PROGRAMS.split(), "x" * 400, "x" * 401], MODELS.split())
    commands = [{"data": d, "program": p, "model": m} for d, p, m in itertools.product(*choices)]
    folders = [Plan(**command).folder() for command in commands]
    assert len(set(folders)) == len(commands)
    assert {folder.parent for folder in folders} == {Path("runs")}
    assert all(re.fullmatch(r"[A-Za-z0-9][\w.-]{0,220}", folder.name, re.ASCII) for folder in folders)


def test_a_folder_that_is_given_is_taken() -> None:
    assert Plan(**GIVEN, out=Path("mine")).folder() == Path("mine")


@pytest.mark.parametrize(
    ("model", "settings"),
    [
        ("openai/gpt-4o-mini", (0.1, 1024, 1024)),
        ("openai/o3-mini", (None, None, 1024)),
        ("openai/gpt-5.1", (None, None, 1024)),
        ("openai/gpt-5-chat", (0.1, 1024, 1024)),
        ("anthropic/claude-o3", (0.1, 1024, 1024)),
    ],
)
def test_the_paper_preset_fills_in_unset_flags(model: str, settings: tuple[Any, ...]) -> None:
    plan = Plan(**{**GIVEN, "model": model}, preset="paper").checked()
    assert (plan.temperature, plan.max_tokens, plan.seed) == settings
    assert Plan(**{**GIVEN, "model": model}, preset="paper", seed=0).checked().seed == 0


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:8000/v1", "https://host", "http://[::1]:8000/v1", "https://x.y/deploy?api-version=1"]
)
def test_an_address_is_taken_as_it_is(address: str) -> None:
    assert Plan(**GIVEN, api_base=address).checked().api_base == address


@pytest.mark.parametrize("address", ["", "localhost:8000", "ftp://x", "http://", "http://me:secret@host", "http:// x"])
def test_an_address_that_is_none_is_refused_and_not_repeated(address: str) -> None:
    with pytest.raises(UsageError, match="--api-base") as refused:
        Plan(**GIVEN, api_base=address).checked()
    assert "secret" not in str(refused.value)


def test_a_key_is_not_shown_in_the_plan() -> None:
    assert "sk-real" not in repr(Plan(**GIVEN, api_key="sk-real"))
