"""What the package takes from inside DSPy."""

import sys
from importlib import import_module
from types import ModuleType

import dspy
import litellm
import pytest

import tale_dspy
from tale_dspy import dspy_bridge
from tale_dspy.testing import Reply, ScriptedServer


@pytest.mark.parametrize("name", dspy_bridge.__all__)
def test_a_name_in_the_bridge_is_one_that_dspy_does_not_export(name: str) -> None:
    member = getattr(dspy_bridge, name)
    assert getattr(dspy, name, None) is not member, f"`dspy.{name}` is exported: import it from there"


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
    prices = {name: value for name, value in original("openai", model).items() if "cost" in name}
    assert costs.model_info("openai", model) == prices


def test_the_provider_of_a_model_is_found_once(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[object] = []

    def engine(config: object, *, model_type: str) -> object:
        built.append(config)
        return original(config, model_type=model_type)

    original = dspy_bridge.LM15Engine
    with ScriptedServer(Reply("4")) as server:
        lm = tale_dspy.LM("openai/gpt-4o-mini", engine="auto", api_base=server.url, api_key="k", cache=False)
        dspy_bridge._find_route.cache_clear()
        monkeypatch.setattr(dspy_bridge, "LM15Engine", engine)
        for _ in range(3):
            lm("2+2?")
    assert len(built) == 1
    capabilities = import_module("dspy.clients.capabilities")
    assert capabilities.resolve(lm) == dspy_bridge.resolve_engine(lm)


def test_a_provider_that_a_user_has_registered_is_asked_at_its_own_address() -> None:
    registry, lm15 = import_module("dspy.lm15"), import_module("dspy._vendor.lm15")
    compat = import_module("dspy._vendor.lm15.compat").OpenAIChatCompat()
    with ScriptedServer(Reply("4")) as server:
        access = lm15.AccessPolicy(provider="of-ours", base_url=server.url)
        registry.register_provider(registry.ProviderDefinition.chat(access, compat=compat, placeholder_key="none"))
        try:
            lm = tale_dspy.LM("of-ours/some-model", engine="lm15", cache=False)
        finally:
            registry.unregister_provider("of-ours")
        assert lm("2+2?") == ["4"]
        assert [request.body["model"] for request in server.requests] == ["some-model"]


async def test_litellm_is_asked_once_what_the_model_of_an_lm_can_do(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def capabilities(lm: dspy.LM, selection: object) -> object:
        asked.append(lm.model)
        return original(lm, selection)

    module = import_module("dspy.clients.capabilities")
    original = module._litellm_capabilities
    monkeypatch.setattr(module, "_litellm_capabilities", capabilities)
    with ScriptedServer("Answer: [[4]]") as server:
        program = tale_dspy.VanillaCoT("question -> answer")
        for model in ("openai/x", "openai/y"):
            lm = tale_dspy.LM(model, engine="litellm", api_base=server.url, api_key="k", cache=False)
            with dspy.context(lm=lm):
                assert [(await program.acall(question="2+2?")).answer for _ in range(3)] == ["4"] * 3
    assert asked == ["openai/x", "openai/y"]


@pytest.mark.parametrize("change", ["a model is registered", "another model", "another provider"])
async def test_what_a_model_can_do_is_asked_anew_after_a_change(change: str) -> None:
    lm = tale_dspy.LM("openai/of-our-own", engine="litellm", api_base="http://127.0.0.1:1", api_key="k")
    seen = []
    for changed in (False, True):
        if changed and change == "a model is registered":
            entry = {"litellm_provider": "openai", "mode": "chat", "supports_function_calling": True}
            litellm.register_model({"of-our-own": entry})
        elif changed and change == "another model":
            lm.model = "openai/gpt-4o-mini"
        elif changed:
            lm.kwargs["custom_llm_provider"] = "anthropic"
        options: dict[str, object] = {}
        with dspy_bridge.capabilities_planned(lm, options):
            await dspy_bridge._capabilities.prepare_async(lm)
            seen.append(dspy_bridge._capabilities.capabilities(lm))
        assert seen[-1] == dspy_bridge._capabilities.capabilities(lm)
    litellm.model_cost.pop("of-our-own", None)
    assert seen[0] != seen[1]


@pytest.mark.parametrize("loaded", [[], ["litellm"], ["litellm", "litellm.utils"]])
def test_a_call_while_another_thread_imports_litellm_imports_no_part_of_it(
    loaded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lm = tale_dspy.LM("openai/x", engine="litellm", api_base="http://127.0.0.1:1", api_key="k")
    for name in [name for name in sys.modules if name.partition(".")[0] == "litellm"]:
        monkeypatch.delitem(sys.modules, name)
    for name in loaded:  # as they stand when their import has begun
        begun = ModuleType(name)
        begun.__path__ = litellm.__path__
        monkeypatch.setitem(sys.modules, name, begun)
    with dspy_bridge.capabilities_planned(lm, {}):
        assert [name for name in sys.modules if name.partition(".")[0] == "litellm"] == loaded
