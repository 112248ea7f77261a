"""The model that a plan names: what it is built with, and that an unknown provider is said."""

from typing import Any

import pytest

from tale_dspy.cli.models import check_provider, language_model
from tale_dspy.cli.plan import Plan
from tale_dspy.errors import UsageError

GIVEN: dict[str, Any] = {"program": "cot", "data": "gsm8k", "model": "openai/gpt-4o-mini"}
OWN: dict[str, Any] = {**GIVEN, "api_base": "http://127.0.0.1:1/v1"}


def test_a_server_of_ones_own_needs_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    assert language_model(Plan(**OWN, engine="auto")).kwargs["api_key"] == "none"
    assert "api_key" not in language_model(Plan(**GIVEN, engine="auto")).kwargs
    monkeypatch.setenv("OPENAI_API_KEY", "sk-real")
    assert "api_key" not in language_model(Plan(**OWN, engine="auto")).kwargs


def test_requests_and_tokens_a_minute_are_those_of_the_limiter() -> None:
    limiter = language_model(Plan(**OWN, engine="auto", rpm=1200, tpm=90_000)).limiter
    assert (limiter.rpm, limiter.tpm) == (1200, 90_000)


def test_a_fallback_decodes_alike_at_the_address_of_its_own_provider() -> None:
    lm = language_model(Plan(**OWN, temperature=0.5, seed=3, fallback=["openai/gpt-4o"], engine="auto", retries=4))
    (second,) = lm.fallbacks
    assert (lm.num_retries, second.model) == (4, "openai/gpt-4o")
    assert {k: second.kwargs.get(k) for k in ("temperature", "seed", "api_base")} == {
        "temperature": 0.5,
        "seed": 3,
        "api_base": None,
    }


@pytest.mark.parametrize("engine", ["auto", "litellm"])
def test_a_provider_that_nobody_knows_is_said(engine: str) -> None:
    plan = Plan(**{**GIVEN, "model": "nobody/x"}, engine=engine)
    with pytest.raises(UsageError, match="--model nobody/x: LiteLLM knows no provider of this name"):
        check_provider(plan, language_model(plan))


def test_a_provider_of_a_fallback_that_nobody_knows_is_said() -> None:
    plan = Plan(**GIVEN, fallback=["openai/gpt-4o", "opnai/gpt-4o"])
    with pytest.raises(
        UsageError, match="--fallback opnai/gpt-4o: LiteLLM knows no provider of this name; did you mean"
    ):
        check_provider(plan, language_model(plan))


@pytest.mark.parametrize("engine", ["auto", "lm15", "litellm"])
def test_a_provider_that_is_known_is_not_asked(engine: str) -> None:
    plan = Plan(**GIVEN, engine=engine)
    check_provider(plan, language_model(plan))


def test_a_local_model_has_no_time_limit_unless_one_is_set() -> None:
    local = {**GIVEN, "model": "embedded"}
    assert language_model(Plan(**local)).local_timeout is None
    assert language_model(Plan(**local, timeout=7.0)).local_timeout == 7.0


@pytest.mark.parametrize(
    ("flag", "said"),
    [({"device": "cuda"}, "--device cuda"), ({"dtype": "bf16"}, "--dtype bf16"), ({"max_batch": 4}, "--max-batch 4")],
)
def test_flags_of_local_models_are_refused_for_others(flag: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=f"is for local: models, got {said} with --model openai/gpt-4o-mini"):
        language_model(Plan(**GIVEN, **flag))


def test_a_file_of_controls_that_cannot_be_read_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALE_CONTROLS", "nowhere.toml")
    with pytest.raises(UsageError, match=r"TALE_CONTROLS names nowhere\.toml, which cannot be read: No such file"):
        language_model(Plan(**GIVEN, engine="auto"))
