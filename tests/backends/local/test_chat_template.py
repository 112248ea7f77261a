"""Messages become the text the model's template writes; a template without a system role gets it in the user's turn."""

import logging
from typing import Any

import pytest
from jinja2.exceptions import TemplateError
from tiny_models import tokenizer as byte_tokenizer

from tale_dspy.backends.local.chat_template import fold_messages, render_conversation, render_prompt

GEMMA = (
    "{{ '<bos>' }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "<start_of_turn>{{ 'model' if m['role'] == 'assistant' else m['role'] }}\n{{ m['content'] | trim }}<end_of_turn>\n"
    "{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
SILENT = (
    "{% for m in messages %}{% if m['role'] != 'system' %}[{{ m['role'] }}] {{ m['content'] }} {% endif %}{% endfor %}"
)
SYSTEM, USER = {"role": "system", "content": "Be brief."}, {"role": "user", "content": "1+1?"}
DEMO = [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}]


def templated(template: str | None) -> Any:
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = template
    return tokenizer


def test_a_template_with_a_system_role_gets_the_messages_as_they_are() -> None:
    text = render_prompt(byte_tokenizer(), [SYSTEM, *DEMO, USER])
    assert text.count("<|im_start|>") == 5
    assert text.startswith("<|im_start|>system\nBe brief.</s>")
    assert text.endswith("<|im_start|>assistant\n")


@pytest.mark.parametrize("messages", [[SYSTEM, USER], [SYSTEM, *DEMO, USER], [SYSTEM, USER, USER]])
def test_a_template_that_refuses_a_system_role_gets_it_in_the_users_turn(messages: list[dict[str, str]]) -> None:
    text = render_prompt(templated(GEMMA), messages)
    assert text.startswith(f"<bos><start_of_turn>user\nBe brief.\n\n{messages[1]['content']}")
    assert text.endswith("1+1?<end_of_turn>\n<start_of_turn>model\n")


def test_a_template_that_drops_the_system_message_gets_it_in_the_users_turn() -> None:
    assert render_prompt(templated(SILENT), [SYSTEM, USER]).strip() == "[user] Be brief.\n\n1+1?"


def test_a_finished_conversation_is_folded_the_same_way() -> None:
    messages = [SYSTEM, USER, {"role": "assistant", "content": "2"}]
    whole = render_conversation(templated(GEMMA), messages)
    assert whole.startswith(render_prompt(templated(GEMMA), messages[:2]))
    assert whole.endswith("model\n2<end_of_turn>\n")


def test_messages_no_folding_helps_are_refused() -> None:
    with pytest.raises(TemplateError, match="no tools here"):
        render_prompt(byte_tokenizer(), [SYSTEM, {"role": "tool", "content": "x"}])
    with pytest.raises(TemplateError, match="must alternate"):
        render_prompt(templated(GEMMA), DEMO[1:])


def test_folding_keeps_every_text_in_order() -> None:
    late = {"role": "system", "content": "Now in French."}
    folded = fold_messages([SYSTEM, USER, late, *DEMO])
    assert folded == [
        {"role": "user", "content": "Be brief.\n\n1+1?\n\nNow in French.\n\n2+2?"},
        {"role": "assistant", "content": "4"},
    ]
    assert fold_messages([SYSTEM]) == [{"role": "user", "content": "Be brief."}]


def test_a_missing_template_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    model = templated(None)
    model.name_or_path = "models/base-of-this-test"
    with caplog.at_level(logging.WARNING):
        texts = [render_prompt(model, [SYSTEM, USER]) for _ in range(3)]
    assert texts == ["System: Be brief.\n\nUser: 1+1?\n\nAssistant:"] * 3
    assert [r.getMessage().partition(":")[0] for r in caplog.records] == [
        "models/base-of-this-test has no chat template"
    ]
