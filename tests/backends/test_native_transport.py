"""The transport beneath DSPy's engine."""

import pickle
from typing import Any

import tale_dspy
from tale_dspy.backends.native_transport import GuardedEngineStore, GuardedTransport
from tale_dspy.testing import Reply, ScriptedServer


def lm(url: str, **settings: Any) -> Any:
    return tale_dspy.LM("openai/x", api_base=url, api_key="k", engine="auto", cache=False, num_retries=0, **settings)


def test_an_engine_sends_through_the_guard_from_its_first_request_on() -> None:
    body = b'{"choices": [{"message": {"content": 4}}]}'
    with ScriptedServer(Reply(raw_body=body)) as server:
        model = lm(server.url, timeout=7.0)
        assert model("2+2?") == ["4"]
        (engine,) = model._engine_store.values()
        assert isinstance(engine.router._transport, GuardedTransport)
        model.close()


def test_copies_share_the_store_and_a_pickled_lm_has_a_new_one() -> None:
    model = lm("http://127.0.0.1:9/v1")
    assert model.copy(temperature=0.5)._engine_store is model._engine_store
    assert isinstance(pickle.loads(pickle.dumps(model))._engine_store, GuardedEngineStore)
