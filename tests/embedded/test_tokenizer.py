from functools import cache
from typing import Any

import pytest

from tale_dspy.embedded.lessons import KINDS, fixed_sentences, messages_of
from tale_dspy.embedded.problems import problems
from tale_dspy.embedded.tokenizer import END, VOCABULARY, train_tokenizer


@cache
def tokenizer() -> Any:
    return train_tokenizer(1500)


def pieces(text: str) -> list[str]:
    return tokenizer().convert_ids_to_tokens(tokenizer().encode(text, add_special_tokens=False))


def test_the_vocabulary_is_as_large_as_the_model_expects() -> None:
    assert len(tokenizer()) == VOCABULARY


def test_digits_are_tokens_of_their_own() -> None:
    assert pieces("12+345=357") == [*"12+345=357"]


@pytest.mark.parametrize("sentence", fixed_sentences())
def test_a_fixed_sentence_of_a_prompt_is_one_token(sentence: str) -> None:
    assert len(pieces(sentence)) == 1


@pytest.mark.parametrize("text", ["Grüße, 東京 \N{ROCKET}!", "a\tb\n\n  c", "[[12]]", "x" * 300, " "])
def test_any_text_comes_back(text: str) -> None:
    assert tokenizer().decode(tokenizer().encode(text, add_special_tokens=False)) == text


def test_stories_come_back() -> None:
    for p in problems("test", 30):
        assert tokenizer().decode(tokenizer().encode(p.question, add_special_tokens=False)) == p.question


@pytest.mark.parametrize("kind", KINDS)
def test_a_prompt_costs_little_more_than_its_question(kind: str) -> None:
    question = problems("dev", 1)[0].question
    prompt = tokenizer().apply_chat_template(
        messages_of(kind, question, 50), tokenize=False, add_generation_prompt=True
    )
    assert len(pieces(prompt)) - len(pieces(question)) <= 20


def test_a_turn_of_the_assistant_ends_with_the_end_token() -> None:
    turns = [{"role": "user", "content": "1+1?"}, {"role": "assistant", "content": "[[2]]"}]
    assert tokenizer().apply_chat_template(turns, tokenize=False).endswith(f"<|assistant|>[[2]]{END}")
