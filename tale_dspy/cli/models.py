"""The model that a plan names, how it is reached, and if its provider exists."""

import os
from typing import TYPE_CHECKING

from tale_dspy.backends.control_registry import reasoning_controls
from tale_dspy.backends.local.model_path import is_local
from tale_dspy.cli.plan import Plan
from tale_dspy.display import suggestion
from tale_dspy.errors import UsageError
from tale_dspy.protocols import JsonObject

if TYPE_CHECKING:
    from tale_dspy.backends.lm import LM


def language_model(plan: Plan) -> "LM":
    """Build the LM; a server of one's own needs no key.

    Raises:
        UsageError: If the engine is unknown, the settings are none for the model, or `$TALE_CONTROLS` names no file of
            reasoning controls.
    """
    from dspy import LMConfigurationError

    from tale_dspy.backends.lm import LM

    settings: JsonObject = {"temperature": plan.temperature, "max_tokens": plan.max_tokens, "seed": plan.seed}
    key = plan.api_key
    if key is None and plan.api_base and "OPENAI_API_KEY" not in os.environ:
        key = "none"  # the OpenAI client refuses to start without one
    settings |= {"api_base": plan.api_base, "api_key": key, "server": plan.server}
    settings |= {"rpm": plan.rpm, "tpm": plan.tpm}
    local = {"device": plan.device, "dtype": plan.dtype, "max_batch": plan.max_batch}
    for name, value in local.items():
        if value is not None and not is_local(plan.model):
            flag = f"--{name.replace('_', '-')}"
            raise UsageError(f"{flag} is for local: models, got {flag} {value} with --model {plan.model}")
    settings |= local
    reasoning_controls()  # one that cannot be read concerns all questions
    if is_local(plan.model) and plan.timeout != type(plan).timeout:  # off unless it was set
        settings["timeout"] = plan.timeout
    options = {k: v for k, v in settings.items() if v is not None}
    try:
        fallbacks = [_fallback_lm(plan, model) for model in plan.fallback or ()]
        if fallbacks:  # else the run tries again, with an attempt a line in its journal
            options["num_retries"] = plan.retries
        lm = LM(plan.model, engine=plan.engine, cache=plan.cache, fallbacks=fallbacks, **options)
    except LMConfigurationError as e:  # settings that DSPy knows the model refuses
        raise UsageError(f"--model {plan.model}: {e.message}") from e
    return lm


def _fallback_lm(plan: Plan, model: str) -> "LM":
    """Build an LM that answers in place of --model.

    It decodes alike, at its own provider's address.
    """
    from tale_dspy.backends.lm import LM

    decoding = {"temperature": plan.temperature, "max_tokens": plan.max_tokens, "seed": plan.seed}
    options: JsonObject = {k: v for k, v in decoding.items() if v is not None}
    return LM(model, engine=plan.engine, cache=plan.cache, **options)


def check_provider(plan: Plan, lm: "LM") -> None:
    """Refuse at once a model string whose provider LiteLLM does not have.

    A local model is loaded instead. LiteLLM and what it loads at its first request are loaded here, before any latency
    is measured.
    """
    if not isinstance(lm.engine, str):
        lm.engine.load()
        return
    if plan.engine == "lm15" or (plan.engine == "auto" and _is_routed_by_dspy(lm)):
        return
    from dspy import disable_litellm_logging

    disable_litellm_logging()
    import litellm
    import openai.resources  # noqa: F401

    litellm.ModelResponse()  # builds its schema, about which pydantic warns: now, while that goes nowhere
    _check_name("--model", plan.model, plan.api_base)
    for model in plan.fallback or ():
        if not is_local(model):
            _check_name("--fallback", model, None)


def _check_name(flag: str, model: str, api_base: str | None) -> None:
    import litellm

    try:
        litellm.get_llm_provider(model, api_base=api_base)
    except litellm.exceptions.BadRequestError:
        from litellm.types.utils import LlmProviders

        name, slash, _ = model.partition("/")
        hint = suggestion(name, [provider.value for provider in LlmProviders] if slash else ["embedded"])
        raise UsageError(
            f"{flag} {model}: LiteLLM knows no provider of this name{hint or ';'} give PROVIDER/MODEL, such as "
            "openai/gpt-4o-mini, and openai/MODEL with --api-base for a server of your own"
        ) from None


def _is_routed_by_dspy(lm: "LM") -> bool:
    """Return whether DSPy's own stack knows the provider.

    Engine auto goes through LiteLLM otherwise.
    """
    from tale_dspy.dspy_bridge import LM15Error, resolve_engine

    try:
        resolve_engine(lm)
    except (LM15Error, ValueError, TypeError):
        return False
    return True
