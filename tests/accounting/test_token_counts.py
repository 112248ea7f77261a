"""Tokens are counted with the model's own tokenizer, offline, or not at all."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from tale_dspy.accounting.token_counts import count_cl100k, count_tokens


@pytest.mark.parametrize(
    "model",
    ["gpt-4o", "openai/gpt-4o-mini", "azure/gpt-4o", "openrouter/openai/gpt-4o", "openai/ft:gpt-4o:org", "openai/o3"],
)
def test_models_of_openai_are_counted(model: str) -> None:
    assert count_tokens(model, "The answer is four") == 4


@pytest.mark.parametrize(
    "model",
    [
        "openai/scripted",
        "openai/",
        "",
        "x",
        "anthropic/claude-sonnet-4-5",
        "hosted_vllm/gpt-4o",
        "ollama_chat/qwen3",
        "azure/my-deployment",
        "openrouter/anthropic/claude-sonnet-4-5",
    ],
)
def test_other_models_are_not_guessed(model: str) -> None:
    assert count_tokens(model, "The answer is four") is None


def test_encodings_differ_by_model() -> None:
    text = "这是一个关于价格的问题"
    assert count_tokens("openai/gpt-4o", text) != count_tokens("openai/gpt-4", text) == count_cl100k(text)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("", 0), (" ", 1), ("<|endoftext|>", 7), ("\ud800", 1), ("hello world", 2), ("[[42]]", 3), ("\0", 1)],
)
def test_the_papers_count_takes_any_text(text: str, tokens: int) -> None:
    assert count_cl100k(text) == tokens


def test_long_texts_are_counted_in_time() -> None:
    assert count_cl100k("a" * 100_000) == 12_500


def test_the_environment_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TIKTOKEN_CACHE_DIR", raising=False)
    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(count_cl100k, ["one two"] * 50)) == {2}
    assert "TIKTOKEN_CACHE_DIR" not in os.environ


def alone(code: str, **env: str) -> str:
    """Run code in a fresh process that has no way out to the network."""
    shut = "import socket; socket.socket.connect = lambda *a: (_ for _ in ()).throw(OSError('no network'));"
    result = subprocess.run(
        [sys.executable, "-c", f"{shut} from tale_dspy.accounting.token_counts import *; import os, sys; {code}"],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, **env},
    )
    return result.stdout


def test_no_network_is_needed() -> None:
    assert alone('sys.stdout.write(f\'{count_cl100k("one two")} {count_tokens("gpt-4o", "one two")}\')') == "2 2"


def test_a_folder_of_the_users_is_kept(tmp_path: object) -> None:
    # It is empty and there is no network: the count is unknown, not an error.
    code = 'sys.stdout.write(f\'{count_tokens("gpt-4o", "x")} {os.environ["TIKTOKEN_CACHE_DIR"]}\')'
    assert alone(code, TIKTOKEN_CACHE_DIR=str(tmp_path)) == f"None {tmp_path}"


def test_an_encoding_that_is_not_at_hand_is_unknown() -> None:
    # r50k_base, of davinci, does not ship with LiteLLM.
    assert alone("sys.stdout.write(str(count_tokens('davinci', 'x')))") == "None"


def test_litellm_is_not_imported_for_its_files() -> None:
    assert alone("count_cl100k('x'); sys.stdout.write(str('litellm' in sys.modules))") == "False"
