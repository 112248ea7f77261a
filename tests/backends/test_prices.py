"""Prices come from the table that ships with DSPy: no LiteLLM, no network, and None where the table knows nothing."""

import os
import subprocess
import sys
from typing import Any

import dspy
import pytest

import tale_dspy
from tale_dspy.backends.endpoint import fallback_lms
from tale_dspy.backends.prices import Price, highest_price, price_of
from tale_dspy.testing import ScriptedServer


class Engine:
    def complete(self, request: Any) -> Any:
        raise NotImplementedError


@pytest.mark.parametrize("engine", ["litellm", "auto"])
@pytest.mark.parametrize(
    ("model", "price"),
    [
        ("openai/gpt-4o-mini", Price(0.15e-6, 0.6e-6)),
        ("openai/gpt-4o-mini-2024-07-18", Price(0.15e-6, 0.6e-6)),
        ("gpt-4o-mini", Price(0.15e-6, 0.6e-6)),
        ("azure/gpt-4o-mini", Price(0.15e-6, 0.6e-6)),
        ("openrouter/openai/gpt-4o", Price(2.5e-6, 10e-6)),
        ("anthropic/claude-sonnet-4-5", Price(3e-6, 15e-6)),
        ("gemini/gemini-2.5-flash", Price(0.3e-6, 2.5e-6)),
        ("vertex_ai/gemini-2.5-pro", Price(1.25e-6, 10e-6)),
        ("bedrock/anthropic.claude-3-5-sonnet-20241022-v2:0", Price(3e-6, 15e-6)),
        ("bedrock/us.anthropic.claude-sonnet-4-5-20250929-v1:0", Price(3.3e-6, 16.5e-6)),
        ("deepseek/deepseek-chat", Price(0.28e-6, 0.42e-6)),
        ("ollama/llama3", Price(0.0, 0.0)),
    ],
)
def test_known_models(model: str, price: Price, engine: str) -> None:
    known_price = price_of(tale_dspy.LM(model, engine=engine))
    assert known_price is not None
    assert (known_price.input, known_price.output) == pytest.approx((price.input, price.output))


@pytest.mark.parametrize(
    "model", ["openai/scripted", "hosted_vllm/gpt-4o-mini", "ollama_chat/qwen3", "x", "///", "no/such/model", "gpt 4"]
)
def test_unknown_models_have_no_price(model: str) -> None:
    assert price_of(dspy.LM(model, engine="litellm")) is None


def test_an_embedding_model_has_no_price_for_output() -> None:
    price = price_of(dspy.LM("openai/text-embedding-3-small"))
    assert price is None or price.output == 0.0


def test_an_engine_object_has_no_price_whatever_its_model_is_called() -> None:
    assert price_of(dspy.LM("openai/gpt-4o-mini", engine=Engine())) is None


def test_what_is_no_dspy_lm_has_no_price() -> None:
    class Own(dspy.BaseLM):  # type: ignore[misc]
        pass

    assert price_of(Own("openai/gpt-4o-mini")) is None


def test_the_price_is_the_one_that_dspy_books(server: Any) -> None:
    lm = dspy.LM("openai/gpt-4o-mini", api_base=server.url, api_key="k")
    lm("q")
    price, usage = price_of(lm), lm.history[0]["usage"]
    assert price is not None
    expected_usd = usage["prompt_tokens"] * price.input + usage["completion_tokens"] * price.output
    assert lm.history[0]["cost"] == pytest.approx(expected_usd)


def test_no_litellm_is_imported_and_nothing_is_fetched() -> None:
    script = (
        "import sys, tale_dspy; from tale_dspy.backends.prices import price_of; "
        "assert price_of(tale_dspy.LM('openai/gpt-4o-mini')); sys.exit('litellm' in sys.modules)"
    )
    with ScriptedServer("x") as server:
        env = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MODEL_COST_MAP_URL": server.url}
        assert subprocess.run([sys.executable, "-c", script], check=False, env=env).returncode == 0
    assert server.stats.other == 0


def test_the_dearest_of_a_model_and_its_fallbacks_is_what_a_call_may_cost() -> None:
    mini, whole = tale_dspy.LM("openai/gpt-4o-mini"), tale_dspy.LM("openai/gpt-4o")
    assert highest_price(mini) == price_of(mini)
    assert highest_price(tale_dspy.LM("openai/gpt-4o-mini", fallbacks=[whole])) == price_of(whole)
    assert highest_price(tale_dspy.LM("openai/gpt-4o-mini", fallbacks=["openai/unheard-of"])) is None
    assert fallback_lms(dspy.LM("openai/gpt-4o-mini")) == ()
