"""The scripted reasoner of effort words: what is enough, what it costs, and what it makes of a request body."""

from collections import Counter
from typing import Any

import dspy
import pytest
from serving import request

import tale_dspy
from tale_dspy import BudgetedChainOfThought
from tale_dspy.budget import read_budget
from tale_dspy.errors import UsageError
from tale_dspy.testing import EffortReply, ScriptedServer, word_problems

BANK = {row["question"]: row["answer"] for row in word_problems(200)}
QUESTION = next(iter(BANK))
PROMPT = "Q: {}\nPlease Give the response by strictly following this format: [[answer]]."


def right(model: EffortReply, question: str, **body: Any) -> bool:
    return f"[[{BANK[question]}]]" in (model(request(PROMPT.format(question), **body)).text or "")


def test_a_question_is_right_from_its_least_word_on() -> None:
    model = EffortReply(BANK, unsolved=0.1)
    for question in BANK:
        least = model.least_word(question)
        results = [right(model, question, reasoning_effort=word) for word in model.words]
        first = len(model.words) if least is None else model.words.index(least)
        assert results == [i >= first for i in range(len(model.words))]


def test_every_word_is_the_least_of_some_questions() -> None:
    counts = Counter(EffortReply(BANK).least_word(question) for question in BANK)
    assert min(counts.values()) > 30 and set(counts) == {"minimal", "low", "medium", "high"}


def test_more_effort_costs_more() -> None:
    model = EffortReply(BANK)
    tokens = [model(request(PROMPT.format(QUESTION), reasoning_effort=word)).completion_tokens for word in model.words]
    assert tokens == sorted(set(tokens))


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({}, "medium"),
        ({"reasoning_effort": "low"}, "low"),
        ({"reasoning": {"effort": "high"}}, "high"),
        ({"output_config": {"effort": "minimal"}}, "minimal"),
        ({"reasoning_effort": "none"}, "minimal"),
        ({"reasoning_effort": "max"}, "high"),
        ({"thinking": {"type": "disabled"}}, "minimal"),
    ],
)
def test_the_word_is_read_where_providers_take_it(body: Any, word: str) -> None:
    assert EffortReply(BANK).word_of(body) == word


def test_a_deaf_model_spends_the_same_whatever_the_word() -> None:
    model = EffortReply(BANK, deaf=True)
    replies = [model(request(PROMPT.format(QUESTION), reasoning_effort=word)) for word in model.words]
    assert len({(reply.text, reply.completion_tokens) for reply in replies}) == 1


def test_chance_hits_its_share_of_the_replies() -> None:
    model = EffortReply(BANK, noise=0.2)
    draws = [right(model, question, reasoning_effort="high") for question in BANK for _ in range(5)]
    assert sum(draws) / len(draws) == pytest.approx(0.8, abs=0.04)


def test_a_thought_that_does_not_fit_costs_all_and_says_nothing() -> None:
    reply = EffortReply(BANK)(request(PROMPT.format(QUESTION), reasoning_effort="high", max_completion_tokens=20))
    assert (reply.text, reply.completion_tokens, reply.finish_reason) == (None, 20, "length")


def test_a_program_of_a_word_gets_what_the_word_is_enough_for() -> None:
    model = EffortReply(BANK)
    easy = next(q for q in BANK if model.least_word(q) == "minimal")
    hard = next(q for q in BANK if model.least_word(q) == "high")
    with ScriptedServer(model) as server:
        lm = tale_dspy.LM("openai/gpt-5", api_base=server.url, api_key="any", engine="auto", cache=False)
        with dspy.context(lm=lm):
            program = BudgetedChainOfThought("question -> answer", effort="minimal")
            answers = [program(question=easy).answer, program(question=hard).answer]
            answers.append(program(question=hard, effort="high").answer)
    assert [a == BANK[q] for a, q in zip(answers, (easy, hard, hard), strict=True)] == [True, False, True]


@pytest.mark.parametrize(
    "options", [{"words": ()}, {"words": ("high", "low")}, {"words": ("fast",)}, {"default": "max"}, {"noise": 2}]
)
def test_what_is_no_model_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        EffortReply(BANK, **options)


def test_difficulty_decides_the_least_word_and_an_estimate_is_a_number() -> None:
    model = EffortReply(BANK, difficulty=lambda question: 0.3)
    assert {model.least_word(question) for question in BANK} == {"low"}
    estimate = model(request(f"Task: estimate the minimum number of tokens for\nQ: {QUESTION}", reasoning_effort="low"))
    assert read_budget(estimate.text) is not None


def test_a_number_in_the_prompt_shortens_the_thought_where_it_is_told_to() -> None:
    plain, short = EffortReply(BANK), EffortReply(BANK, phrase_factor=0.5)
    prompt = f"Let's think step by step and use less than 50 tokens:\n{PROMPT.format(QUESTION)}"
    thoughts = [(m(request(prompt, reasoning_effort="high")).reasoning or "").split() for m in (plain, short)]
    assert len(thoughts[1]) == pytest.approx(len(thoughts[0]) / 2, abs=1)
