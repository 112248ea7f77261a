"""Chat completions past OpenAI's SDK: what the caller adds to a request is sent."""

from collections.abc import Callable
from typing import Any

import tale_dspy
from tale_dspy.testing import ScriptedServer

Caller = Callable[[Any], Any]


def test_headers_and_body_fields_of_the_caller_are_sent(call: Caller) -> None:
    with ScriptedServer("4") as server:
        settings: dict[str, Any] = {"extra_headers": {"x-team": "a"}, "extra_body": {"top_k": 5}, "seed": 3}
        call(tale_dspy.LM("openai/x", api_base=server.url, api_key="k", cache=False, **settings))
        (request,) = server.requests
        assert (request.body["top_k"], request.body["seed"]) == (5, 3)
        assert request.headers["x-team"] == "a"
