"""Reading and replacing the settings of a call that make a model think: whatever way they are spelled.

A caller's settings are only read here; what is put in their place is a copy.
"""

from collections.abc import Mapping
from typing import Any

from tale_dspy.backends.reasoning_controls import VALUE

REASONING_PARAMS = ("thinking", "reasoning_effort", "reasoning", "think")
"""Settings of a call that turn a reasoning control."""
BODY_REASONING_PARAMS = (
    *REASONING_PARAMS,
    "thinking_token_budget",
    "enable_thinking",
    "thinking_budget",
    "reasoning_budget_tokens",
)
"""Fields of `extra_body` that do so."""
_NESTED = {"custom_params": ("thinking_budget",), "chat_template_kwargs": ("enable_thinking", "thinking")}
"""Fields of `extra_body` that hold a reasoning control among other things."""
_LIMITS = {
    "gemini": ("generationConfig.max_output_tokens", "generationConfig.maxOutputTokens"),
    "vertex_ai": ("generationConfig.max_output_tokens", "generationConfig.max_output_tokens"),
    "ollama": ("options.num_predict", "max_tokens"),
    "ollama_chat": ("options.num_predict", "max_tokens"),
    "bedrock": ("inferenceConfig.maxTokens", "inferenceConfig.maxTokens"),
    "openai": ("max_tokens", "max_completion_tokens"),
}
"""Where max_tokens stands in the body, sent by LiteLLM and by DSPy itself, where not under its own name."""
_OFF = ("none", "disable", "off")


def filled(template: Any, value: Any) -> Any:
    """Copy a template of settings with a value in its place; every call its own, since LiteLLM changes them."""
    if isinstance(template, Mapping):
        return {k: filled(v, value) for k, v in template.items()}
    if isinstance(template, list):
        return list(template)
    return value if template == VALUE else template


def caller_reasoning_param(config: Mapping[str, Any]) -> str | None:
    """Name the reasoning control that the settings of a call turn, or None."""
    found = next((name for name in REASONING_PARAMS if config.get(name) is not None), None)
    body = config.get("extra_body")
    if found is None and isinstance(body, Mapping):
        found = next(
            (f"extra_body {name}" for name in body if name in BODY_REASONING_PARAMS or _rest(name, body[name])[0]), None
        )
    return found


def caller_effort(settings: Mapping[str, Any]) -> str | None:
    """Name the effort word that settings carry, such as `reasoning_effort high`, or None; switches are no words."""
    body = settings.get("extra_body")
    for place, where in ((settings, ""), (body if isinstance(body, Mapping) else {}, "extra_body ")):
        for name in ("reasoning_effort", "think"):
            word = place.get(name)
            if isinstance(word, str) and word not in _OFF:
                return f"{where}{name} {word}"
        for name in ("reasoning", "output_config"):
            held = place.get(name)
            word = held.get("effort") if isinstance(held, Mapping) else None
            if isinstance(word, str) and word not in _OFF:
                return f"{where}{name} effort {word}"
    return None


def asks_to_think(settings: Mapping[str, Any]) -> bool | None:
    """Say whether settings ask for thinking or against it; None if they say nothing."""
    body = settings.get("extra_body")
    places = [settings, body] if isinstance(body, Mapping) else [settings]
    for place in places:
        template = place.get("chat_template_kwargs")
        nested = template if isinstance(template, Mapping) else {}
        for told in (place.get("enable_thinking"), nested.get("enable_thinking"), nested.get("thinking")):
            if isinstance(told, bool):
                return told
        for name in ("reasoning", "thinking"):
            told = place.get(name)
            if isinstance(told, Mapping):
                return (
                    told.get("enabled") is not False
                    and told.get("type") != "disabled"
                    and told.get("effort") not in _OFF
                )
        for name in ("reasoning_effort", "think"):
            told = place.get(name)
            if told is not None:
                return not (told is False or told in _OFF)
        for name in ("thinking_token_budget", "thinking_budget", "reasoning_budget_tokens"):
            if place.get(name) is not None:
                return bool(place[name])
    return None


def with_reasoning_params(settings: Mapping[str, Any], reasoning_params: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings of a call that put a reasoning control in the place of every one the LM has set.

    Args:
        settings: The LM's and the call's, merged.
        reasoning_params: Settings of the reasoning control.

    Returns:
        What is to be merged over them: the reasoning control, None for each other one, and the rest of `extra_body`.
    """
    own: dict[str, Any] = filled(reasoning_params, None)
    replaced: dict[str, Any] = {name: None for name in REASONING_PARAMS if settings.get(name) is not None}
    before = settings.get("extra_body")
    kept: dict[str, Any] = {}
    for name, value in before.items() if isinstance(before, Mapping) else ():
        budget_request, rest = _rest(name, value)
        if name not in BODY_REASONING_PARAMS and not (budget_request and not rest):
            kept[name] = _copied(rest if budget_request else value)
    body = own.pop("extra_body", {})
    for name, value in body.items():
        old = kept.get(name)
        kept[name] = {**old, **value} if isinstance(old, dict) and isinstance(value, dict) else value
    if body or (isinstance(before, Mapping) and kept != before):
        replaced["extra_body"] = kept or None  # an empty one would still hand the call to LiteLLM
    return replaced | own


def _rest(name: str, value: Any) -> tuple[bool, dict[str, Any]]:
    """Say whether a nested field holds a reasoning control, and return it without."""
    params = _NESTED.get(name, ())
    if not isinstance(value, Mapping):
        return False, {}
    return any(k in value for k in params), {k: v for k, v in value.items() if k not in params}


def _copied(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _copied(v) for k, v in value.items()}
    return [_copied(v) for v in value] if isinstance(value, list) else value


def limit_path(lm: Any, name: str, *, litellm: bool) -> str:
    """Say where the limit on output tokens stands in the body of a request, as a dotted path.

    Args:
        lm: The LM that is asked.
        name: The setting that holds it, `max_tokens` or `max_completion_tokens`.
        litellm: Whether LiteLLM sends the call, or DSPy itself.
    """
    provider = lm.model.partition("/")[0] if "/" in lm.model else "openai"
    if name == "max_completion_tokens" and (litellm or provider == "openai"):
        return name
    by_litellm, by_dspy = _LIMITS.get(provider, ("max_tokens", "max_tokens"))
    return by_litellm if litellm else by_dspy


def nested(path: str, value: Any) -> dict[str, Any]:
    """Lay a value out under a dotted path."""
    name, _, rest = path.partition(".")
    return {name: nested(rest, value) if rest else value}
