"""Which effort words a search or a sweep asks at."""

import dspy
import pytest

import tale_dspy
from tale_dspy import BudgetedChainOfThought
from tale_dspy.optimizers.search.effort_settings import effort_settings


def model(name: str) -> dspy.LM:
    return tale_dspy.LM(name, api_key="any")


def program(**options: object) -> BudgetedChainOfThought:
    return BudgetedChainOfThought("question -> answer", **options)  # type: ignore[arg-type]


def test_auto_takes_all_words_of_the_model_with_and_without_the_phrase() -> None:
    settings = effort_settings(program(), model("openai/gpt-6.1-sol"), "auto")
    words = ("low", "medium", "high", "xhigh", "max")
    assert settings == tuple(setting for word in words for setting in (f"{word}+50", word))


@pytest.mark.parametrize("name", ["openai/gpt-4o-mini", "gemini/gemini-2.5-flash"])
def test_auto_takes_none_of_a_model_without_words(name: str) -> None:
    assert effort_settings(program(), model(name), "auto") == ()


def test_auto_takes_none_where_the_program_sends_no_words() -> None:
    assert effort_settings(program(mode="prompt"), model("openai/gpt-5"), "auto") == ()


def test_words_that_send_equal_requests_are_asked_once(caplog: pytest.LogCaptureFixture) -> None:
    assert effort_settings(program(), model("openai/gpt-5"), ["high", "max", "low"]) == ("high", "low")
    assert "effort high (the same request as max): asked once" in caplog.text


def test_none_takes_token_budgets() -> None:
    assert effort_settings(program(), model("openai/gpt-5"), None) == ()
