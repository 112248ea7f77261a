"""What the package takes from inside DSPy."""

from importlib import import_module

import dspy
import pytest

import tale_dspy
from tale_dspy import dspy_bridge
from tale_dspy.testing import Reply, ScriptedServer


@pytest.mark.parametrize("name", dspy_bridge.__all__)
def test_a_name_in_the_bridge_is_one_that_dspy_does_not_export(name: str) -> None:
    taken = getattr(dspy_bridge, name)
    assert getattr(dspy, name, None) is not taken, f"`dspy.{name}` is exported: import it from there"


@pytest.mark.parametrize(("model", "cost"), [("gpt-4o-mini", 1000 * 0.15e-6 + 100 * 0.6e-6), ("of-our-own", None)])
def test_the_price_entry_of_a_model_is_looked_up_once(
    model: str, cost: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_up: list[str] = []

    def model_info(provider: str, model: str, *, namespaces: object = None) -> object:
        looked_up.append(model)
        return original(provider, model, namespaces=namespaces)

    original = dspy_bridge.model_info
    with ScriptedServer(Reply("4", prompt_tokens=1000, completion_tokens=100)) as server:
        lm = tale_dspy.LM(f"openai/{model}", engine="auto", api_base=server.url, api_key="k", cache=False)
        dspy_bridge._model_info_once.cache_clear()
        monkeypatch.setattr(dspy_bridge, "model_info", model_info)
        lm("2+2?")
        at_first = len(looked_up)
        for _ in range(2):
            lm("2+2?")
    assert [entry["cost"] for entry in lm.history] == [pytest.approx(cost)] * 3
    assert 0 < at_first == len(looked_up)
    costs = import_module("dspy.clients.costs")
    assert costs.model_info("openai", model) == original("openai", model)
