"""Which models go through a batch, and which results may be had by sending again."""

import pytest

import tale_dspy
from tale_dspy.backends.batch.client import check_batch_support, fails_in_passing
from tale_dspy.errors import UsageError


@pytest.mark.parametrize("model", ["openai/gpt-4o-mini", "anthropic/claude-haiku-4-5", "groq/llama-3.1-8b-instant"])
def test_models_of_known_batch_apis_are_taken(model: str) -> None:
    check_batch_support(tale_dspy.LM(model, api_key="k"))


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        ("embedded", "embedded has no batch API"),
        ("gemini/gemini-2.5-flash", "gemini has no batch API that is known here"),
        ("azure/gpt-4o", "give openai/DEPLOYMENT with --api-base https://RESOURCE.openai.azure.com/openai/v1"),
    ],
)
def test_others_are_refused_with_one_sentence(model: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        check_batch_support(tale_dspy.LM(model, api_key=None if model == "embedded" else "k"))


@pytest.mark.parametrize("model", ["openai/gpt-5-pro", "openai/responses/gpt-5-mini"])
def test_what_litellm_sends_past_a_batch_is_refused(model: str) -> None:
    with pytest.raises(UsageError, match="to /responses itself, past any batch: take engine='auto'"):
        check_batch_support(tale_dspy.LM(model, api_key="k", max_tokens=None, engine="litellm"))
    check_batch_support(tale_dspy.LM(model, api_key="k", max_tokens=None, engine="auto", model_type="responses"))


def test_statuses_that_pass() -> None:
    assert [s for s in (200, 400, 401, 404, 408, 409, 413, 429, 500, 529, 599) if fails_in_passing(s)] == [
        *(408, 409, 429, 500, 529, 599)
    ]
