"""The scripted reasoner that thinks first: what its thought costs, and what closes it."""

from typing import Any

import pytest
from serving import request

from tale_dspy.errors import UsageError
from tale_dspy.testing.problems import SolverReply, word_problems
from tale_dspy.testing.thinking import ThinkingReply

BANK = {row["question"]: row["answer"] for row in word_problems(100)}
SOLVER = SolverReply(BANK, wrong=0.0)
QUESTION = next(iter(BANK))
COT = f"Q: {QUESTION}\nfollow this format: [[answer]], for example: Answer: [[50]].Let's think step by step:\n"
RIGHT = f"Answer: [[{BANK[QUESTION]}]]"


def ask(prompt: str = COT, body: Any = None, **options: Any) -> Any:
    return ThinkingReply(SOLVER, **options)(request(prompt, **(body or {})))


def test_a_thought_that_fits_comes_before_the_answer_and_is_counted() -> None:
    reply = ask(thought=40)
    assert reply.text.endswith(RIGHT) and reply.reasoning.split() == ["hmm"] * 40
    assert reply.completion_tokens == 40 + len(reply.text.split()) and reply.finish_reason == "stop"


@pytest.mark.parametrize("limit", ["max_tokens", "max_completion_tokens"])
def test_a_thought_that_does_not_fit_leaves_nothing_and_costs_all(limit: str) -> None:
    reply = ask(body={limit: 30}, thought=40)
    assert (reply.text, reply.completion_tokens, reply.finish_reason) == (None, 30, "length")
    assert len(reply.reasoning.split()) == 30


def test_without_a_length_it_thinks_as_long_as_there_is_room() -> None:
    assert [ask(body=b).completion_tokens for b in ({}, {"max_tokens": 9_000})] == [512, 9_000]
    assert ask(room=80).completion_tokens == 80


def test_a_thought_that_is_not_shown_is_billed() -> None:
    reply = ask(shown=False)
    assert (reply.text, reply.reasoning, reply.completion_tokens) == (None, None, 512)


@pytest.mark.parametrize(
    "body",
    [
        {"reasoning_effort": "none"},
        {"reasoning_effort": "minimal"},
        {"thinking": {"type": "disabled"}},
        {"chat_template_kwargs": {"enable_thinking": False}},
    ],
)
def test_a_control_that_is_off_is_obeyed(body: Any) -> None:
    reply = ask(body=body)
    assert reply.text.endswith(RIGHT) and reply.reasoning is None


@pytest.mark.parametrize("close", ["Do not think any further: answer.", COT + "\nDo not think."])
def test_words_close_the_thought(close: str) -> None:
    turns = [{"role": "user", "content": COT}, {"role": "user", "content": close + " [[answer]]"}]
    answer_request = request(close + " [[answer]]")
    reply = ThinkingReply(SOLVER)(answer_request.__class__(**{**vars(answer_request), "messages": turns}))
    assert (reply.text, reply.finish_reason) == (RIGHT, "stop")


def test_some_cannot_be_stopped() -> None:
    stubborn = ThinkingReply(SOLVER, stubborn=0.2)
    empty = [stubborn(request(f"Q: {q}\nDo not think. [[answer]]")).text is None for q in BANK]
    assert 5 <= sum(empty) <= 35


@pytest.mark.parametrize("options", [{"thought": 0}, {"room": 0}, {"stubborn": 1.5}])
def test_numbers_out_of_range_are_refused(options: Any) -> None:
    with pytest.raises(UsageError):
        ThinkingReply(SOLVER, **options)
