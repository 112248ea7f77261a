"""Documents of a server of batches: the same reply in each dialect."""

import pytest

from tale_dspy.testing.batch_documents import (
    anthropic_row,
    chat_messages,
    message_document,
    openai_row,
    response_document,
)

COMPLETION = {
    "model": "m",
    "created": 5,
    "choices": [{"message": {"content": "[[4]]"}, "finish_reason": "length"}],
    "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
}


def test_text_tokens_and_cut_survive_in_each_dialect() -> None:
    message, response = message_document(COMPLETION), response_document(COMPLETION)
    assert message["content"][0]["text"] == response["output"][-1]["content"][0]["text"] == "[[4]]"
    for document in (message, response):
        assert (document["usage"]["input_tokens"], document["usage"]["output_tokens"]) == (7, 3)
    assert message["stop_reason"] == "max_tokens"
    assert response["status"] == "incomplete" and response["incomplete_details"] == {"reason": "max_output_tokens"}


@pytest.mark.parametrize(("kind", "status"), [("succeeded", 200), ("failed", 500), ("refused", 400)])
def test_rows_say_how_a_request_ended(kind: str, status: int) -> None:
    assert openai_row("a", kind, {})["response"]["status_code"] == status
    assert anthropic_row("a", kind, {})["result"]["type"] == ("succeeded" if status == 200 else "errored")


def test_an_expired_request_has_no_response() -> None:
    assert openai_row("a", "expired", {})["response"] is None
    assert anthropic_row("a", "expired", {})["result"] == {"type": "expired"}


def test_messages_of_any_dialect() -> None:
    user = {"role": "user", "content": "hi"}
    assert chat_messages({"messages": [user]}) == chat_messages({"input": "hi"}) == chat_messages({"input": [user]})
    system = [{"role": "system", "content": "be brief"}, user]
    assert chat_messages({"messages": [user], "system": "be brief"}) == system
    assert chat_messages({"input": "hi", "instructions": "be brief"}) == system
    with pytest.raises(KeyError):
        chat_messages({})
