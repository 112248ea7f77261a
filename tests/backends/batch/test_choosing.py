"""An address says which batch API is meant; model and key say what may go into one batch."""

import pytest

from tale_dspy.backends.batch.anthropic_format import AnthropicBatchClient
from tale_dspy.backends.batch.choosing import batch_client, batch_group
from tale_dspy.backends.batch.interception import HTTPCall
from tale_dspy.backends.batch.openai_format import OpenAIBatchClient
from tale_dspy.errors import BackendError


def call(url: str, model: str = "m", **headers: str) -> HTTPCall:
    return HTTPCall(
        url, {name.replace("_", "-"): value for name, value in headers.items()}, b'{"model": "%s"}' % model.encode()
    )


def test_the_format_follows_from_the_address() -> None:
    assert isinstance(batch_client(call("https://a/v1/chat/completions")), OpenAIBatchClient)
    assert isinstance(batch_client(call("https://a/v1/responses")), OpenAIBatchClient)
    assert isinstance(batch_client(call("https://a/v1/messages")), AnthropicBatchClient)
    with pytest.raises(BackendError, match="https://a/api/chat has no batch API that is known here"):
        batch_client(call("https://a/api/chat"))


def test_one_batch_is_of_one_model_and_one_key_that_is_not_shown() -> None:
    groups = {
        batch_group(call("u", authorization="Bearer a")),
        batch_group(call("u", authorization="Bearer a")),
        batch_group(call("u", authorization="Bearer b")),
        batch_group(call("u", "other", authorization="Bearer a")),
    }
    assert len(groups) == 3 and "Bearer" not in repr(groups)
