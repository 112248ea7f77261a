"""The tokens of a row: those the model will be asked with, and a reply that ends."""

from pathlib import Path
from typing import Any

import pytest

from tale_dspy.errors import DataError
from tale_dspy.training.rows import read_rows
from tale_dspy.training.tokenization import load_row_tokenizer

USER = [{"role": "user", "content": "1+1?"}]
PROMPT = "<|im_start|>user\n1+1?</s>\n<|im_start|>assistant\n"


def tokens(row_tokenizer: Any, **row: Any) -> Any:
    (read,) = read_rows([{"prompt": USER, "completion": "2", **row}], "sft")
    return row_tokenizer.row(read)


@pytest.fixture
def row_tokenizer(base: Path) -> Any:
    return load_row_tokenizer(base)


def test_the_prompt_is_the_one_the_backend_renders(row_tokenizer: Any, base: Path) -> None:
    from tale_dspy.backends.local.weights import load_model, load_prompt_tokenizer

    prompt_tokenizer = load_prompt_tokenizer(base, load_model(base, "cpu", "float32"))
    assert tokens(row_tokenizer).prompt == prompt_tokenizer.encode(PROMPT)


def test_a_reply_ends_with_the_end_token_and_nothing_behind_it(row_tokenizer: Any) -> None:
    row = tokens(row_tokenizer)
    assert row_tokenizer.tokenizer.decode(row.replies[0]) == "2</s>"
    assert (row.longest, row.tokens) == (len(row.prompt) + 2, len(row.prompt) + 2)


@pytest.mark.parametrize(
    ("template", "reply"),
    [
        ("{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}", "2\n</s>"),
        ("{% for m in messages %}[{{ loop.length }}]{{ m['content'] }}{% endfor %}", "2</s>"),
        (None, " 2</s>"),
    ],
)
def test_it_is_appended_where_the_template_has_none(row_tokenizer: Any, template: str | None, reply: str) -> None:
    row_tokenizer.tokenizer.chat_template = (
        template and template + "{% if add_generation_prompt %}assistant: {% endif %}"
    )
    assert row_tokenizer.tokenizer.decode(tokens(row_tokenizer).replies[0]) == reply


def test_a_plain_text_is_taken_as_it_is(row_tokenizer: Any) -> None:
    row = tokens(row_tokenizer, prompt="1+1=")
    assert (row_tokenizer.tokenizer.decode(row.prompt), row_tokenizer.tokenizer.decode(row.replies[0])) == (
        "1+1=",
        "2</s>",
    )


def test_messages_the_template_refuses_are_refused(row_tokenizer: Any) -> None:
    with pytest.raises(DataError, match="row 1: the model's chat template refuses these messages: no tools here"):
        tokens(row_tokenizer, prompt=[{"role": "tool", "content": "x"}])


def test_a_broken_tokenizer_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(DataError, match="no tokenizer that can be read"):
        load_row_tokenizer(tmp_path)
