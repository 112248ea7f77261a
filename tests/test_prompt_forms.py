"""The prompt forms: the budget speaks of the reasoning, the answer's format comes last, the rest is the paper's."""

from typing import Any

import dspy
import pytest
from dspy.signatures.signature import ensure_signature

from tale_dspy.adapter import TaleAdapter
from tale_dspy.errors import UsageError
from tale_dspy.prompt_forms import DEFAULT_FORM, PAPER, PROMPT_FORMS, prompt_form
from tale_dspy.prompts import STATED

OTHERS = [name for name in PROMPT_FORMS if name != PAPER]
BUDGETED = "question, token_budget: int -> reasoning, answer"


def user(signature: Any, form: str | None, task: str | None = None, **inputs: Any) -> str:
    content = TaleAdapter(form, task=task).format(ensure_signature(signature), [], inputs)[-1]["content"]
    assert isinstance(content, str)
    return content


@pytest.mark.parametrize("name", OTHERS)
def test_the_budget_stands_before_the_format_and_the_format_ends_the_prompt(name: str) -> None:
    prompt = prompt_form(name).render("How many {budget}?", "Answer: [[answer]]", budget=73)
    assert prompt.count("73") == 1
    assert prompt.index("73") < prompt.index("Answer: [[answer]]")
    assert prompt.endswith("Answer: [[answer]]")
    assert "How many {budget}?" in prompt


@pytest.mark.parametrize("name", OTHERS)
def test_no_form_shows_a_number_that_a_model_could_copy_as_its_answer(name: str) -> None:
    for budget in ("", STATED):
        assert "[[50]]" not in prompt_form(name).render("Q", "Answer: [[answer]]", budget=budget)


def test_a_prompt_without_an_answer_format_ends_with_the_request() -> None:
    assert (
        prompt_form(DEFAULT_FORM)
        .render("Q", "", budget=9)
        .endswith(prompt_form(DEFAULT_FORM).budgeted.replace("{budget}", "9"))
    )


def test_an_unknown_form_is_refused_with_those_there_are() -> None:
    with pytest.raises(UsageError, match=r"form must be one of paper, .* got 'terse'"):
        prompt_form("terse")


@pytest.mark.parametrize("form", [None, *PROMPT_FORMS])
@pytest.mark.parametrize("signature", ["question -> answer", "question -> reasoning, answer", "q -> reasoning, a: int"])
def test_without_a_budget_every_form_sends_the_paper_s_prompt(form: str | None, signature: str) -> None:
    inputs = {"question": "How many?", "q": "How many?"}
    assert user(signature, form, **inputs) == user(signature, PAPER, **inputs)


def test_the_default_form_is_sent_where_none_is_named() -> None:
    assert user(BUDGETED, None, question="Q?", token_budget=9) == user(
        BUDGETED, DEFAULT_FORM, question="Q?", token_budget=9
    )
    assert user(BUDGETED, None, question="Q?", token_budget=9) != user(BUDGETED, PAPER, question="Q?", token_budget=9)


@pytest.mark.parametrize("task", ["choice-zh", "cloze", "cloze-zh"])
def test_tasks_without_a_format_in_english_keep_the_paper_s_wording(task: str) -> None:
    assert user(BUDGETED, None, task, question="Q?", token_budget=9) == user(
        BUDGETED, PAPER, task, question="Q?", token_budget=9
    )


@pytest.mark.parametrize(
    ("signature", "ending"),
    [
        (BUDGETED, "Answer: [[answer]]"),
        ("question, token_budget: int -> reasoning, choice", "Choice: [[letter]]"),
        ("question, token_budget: int -> reasoning, low: int, high: int", "Low: [[low]]"),
    ],
)
def test_a_form_asks_for_the_outputs_of_the_signature(signature: str, ending: str) -> None:
    assert ending in user(signature, DEFAULT_FORM, question="Q?", token_budget=9).rpartition("\n")[2]


def test_the_embedded_model_is_asked_in_the_form_it_was_trained_on() -> None:
    import tale_dspy

    adapter = TaleAdapter()
    assert adapter.for_lm(tale_dspy.LM("embedded")).form == PAPER
    assert adapter.for_lm(tale_dspy.LM("openai/gpt-4o-mini", api_key="none")) is adapter
    assert adapter.for_lm(dspy.LM("openai/gpt-4o-mini", api_key="none")) is adapter
    assert TaleAdapter(DEFAULT_FORM).for_lm(tale_dspy.LM("embedded")).form == DEFAULT_FORM
