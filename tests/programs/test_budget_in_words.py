"""A budget under DSPy's own adapters: their prompt without a budget, and one sentence behind it."""

from typing import Any

import dspy
import pytest
from fake_lm import fake_lm, sections

import tale_dspy
from tale_dspy.adapter import TaleAdapter
from tale_dspy.programs.base import with_budget
from tale_dspy.programs.budget_in_words import with_budget_in_words

SENTENCE = " The reasoning is short steps, each a few words and one equation, under 77 tokens in all."
ADAPTERS = [dspy.ChatAdapter(), dspy.JSONAdapter(), dspy.XMLAdapter()]


def messages(adapter: Any, signature: str, **inputs: Any) -> list[dict[str, Any]]:
    rendered: list[dict[str, Any]] = adapter.format(dspy.Signature(signature), [], inputs)
    return rendered


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_the_prompt_is_the_one_without_a_budget_and_a_sentence(adapter: Any) -> None:
    signature = with_budget(dspy.Signature("question -> reasoning, answer"))
    plain = messages(adapter, "question -> reasoning, answer", question="2+2?")
    worded = with_budget_in_words(adapter).format(signature, [], {"question": "2+2?", "token_budget": 77})
    assert worded[:-1] == plain[:-1]
    assert worded[-1]["content"] == plain[-1]["content"] + SENTENCE


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("signature", ["question -> reasoning, answer", "question, token_budget: int -> answer"])
def test_a_prompt_without_a_budget_or_visible_reasoning_is_left_alone(adapter: Any, signature: str) -> None:
    inputs = {"question": "2+2?"} | ({"token_budget": 77} if "token_budget" in signature else {})
    assert messages(with_budget_in_words(adapter), signature, **inputs) == messages(adapter, signature, **inputs)


def test_the_adapter_of_the_user_is_not_changed_and_tale_adapter_taken_as_it_is() -> None:
    chat, tale = dspy.ChatAdapter(), TaleAdapter()
    assert with_budget_in_words(chat) is not chat
    assert "format" not in vars(chat)
    assert with_budget_in_words(tale) is tale


def test_parts_of_a_message_are_followed_by_a_part() -> None:
    image = dspy.Image("https://example.com/a.png")
    worded = messages(
        with_budget_in_words(dspy.ChatAdapter()),
        "question: dspy.Image, token_budget: int -> reasoning, answer",
        question=image,
        token_budget=77,
    )
    assert worded[-1]["content"][-1] == {"type": "text", "text": SENTENCE.strip()}


def test_a_conversion_keeps_dspy_s_prompt_where_no_adapter_is_configured() -> None:
    plain, worded = fake_lm(lambda p: sections(p, "4")), fake_lm(lambda p: sections(p, "4"))
    program = dspy.ChainOfThought("question -> answer")
    with dspy.context(lm=plain):
        program(question="2+2?")
    with dspy.context(lm=worded):
        assert tale_dspy.budgeted(program)(question="2+2?", token_budget=77).answer == "4"
    assert worded.prompts == [plain.prompts[0] + SENTENCE]


def test_the_adapter_of_a_conversion_survives_a_file_and_gives_way_to_a_configured_one(tmp_path: Any) -> None:
    tale_dspy.budgeted(dspy.ChainOfThought("question -> answer")).save(tmp_path / "p.json")
    loaded = tale_dspy.load(tmp_path / "p.json")
    lm = fake_lm(lambda p: sections(p, "4"), "So.\nAnswer: [[4]]")
    with dspy.context(lm=lm):
        loaded(question="2+2?", token_budget=77)
    with dspy.context(lm=lm, adapter=TaleAdapter("paper")):
        loaded(question="2+2?", token_budget=77)
    assert lm.prompts[0].endswith(SENTENCE)
    assert lm.prompts[1].endswith("use less than 77 tokens:\n")
