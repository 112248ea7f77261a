"""Turn a budget into the settings of one request.

It does so once the proxy has chosen the model that answers.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Literal

from tale_dspy.backends.budget_planner import Mode
from tale_dspy.backends.lm import LM
from tale_dspy.backends.reasoning_params import budget_request
from tale_dspy.backends.reasoning_settings import caller_reasoning_param
from tale_dspy.budget import BudgetValue
from tale_dspy.integrations.proxy_requests import LIMIT_NAMES, ApiFormat, JsonObject, output_limit

_READ = ("temperature", "top_p", "top_k", "presence_penalty", "frequency_penalty", "extra_body")
"""Settings of a request that decide how a reasoning control is sent."""
_LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens")


def control_settings(
    api: ApiFormat, model: str, budget: BudgetValue, mode: Mode, request: Mapping[str, object]
) -> JsonObject:
    """Return the settings that send a budget to a model.

    They set its reasoning control or a cap.

    What they are is decided where every budget of this package is (`tale_dspy.backends.reasoning_params`); here they
    are put as the request's format wants them. Where a format has no place for a control, the prompt alone has the
    budget.

    Args:
        api: The format of the request.
        model: LiteLLM's model string, such as `openai/gpt-5-mini`.
        budget: What the policy gave.
        mode: As in `BudgetedModule`: `auto`, `prompt`, `native` or `cap`.
        request: The request as it is.

    Returns:
        Settings to merge over the request's; None takes one away. Empty where only the prompt has the budget.

    Raises:
        UsageError: If mode is `native` and no reasoning control of the model is known.
    """
    lm = _language_model(model, "responses" if api == "responses" else "chat")
    if mode == "prompt" or (mode == "cap" and budget.tokens is None):
        return {}
    config = {name: request[name] for name in _READ if request.get(name) is not None}
    limit = output_limit(api, request)
    if limit is not None:
        config["max_tokens"] = limit
    budget_request_sent = budget_request(lm, budget, mode, config)
    return _as_format(api, dict(budget_request_sent.settings), dict(budget_request_sent.wire))


def effort_sent(settings: Mapping[str, object]) -> str | None:
    """Return the effort word among settings, for the response header."""
    for holder in (settings, settings.get("output_config"), settings.get("reasoning"), settings.get("extra_body")):
        if isinstance(holder, Mapping):
            word = holder.get("reasoning_effort") or (holder.get("effort") if holder is not settings else None)
            if isinstance(word, str):
                return word
    return None


@lru_cache(maxsize=256)
def _language_model(model: str, model_type: Literal["chat", "responses"]) -> LM:
    return LM(model, engine="litellm", model_type=model_type, cache=False)


def _as_format(api: ApiFormat, settings: JsonObject, wire: JsonObject) -> JsonObject:
    """Return settings of LiteLLM's `completion` as the request's format has them."""
    if api == "chat":
        return settings
    limits = [value for name, value in settings.items() if name in _LIMITS and value is not None]
    renamed: JsonObject = {LIMIT_NAMES[api][0]: limits[0]} if limits else {}
    for name, value in settings.items():
        is_control = caller_reasoning_param({name: value}) is not None or name == "allowed_openai_params"
        if name not in _LIMITS and not is_control:
            renamed[name] = value
    control = settings.get("thinking")
    effort = settings.get("reasoning_effort")
    if api == "responses":
        if isinstance(effort, str):
            renamed["reasoning"] = {"effort": effort}
        elif "reasoning" in wire:
            renamed["reasoning"] = wire["reasoning"]
    elif isinstance(control, Mapping):
        renamed["thinking"] = dict(control)
    elif isinstance(effort, str):
        renamed |= {"thinking": {"type": "disabled"}} if effort == "none" else {"output_config": {"effort": effort}}
    return renamed
