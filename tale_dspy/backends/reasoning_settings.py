"""Read and replace the settings of a call that make a model think.

They are recognised in every spelling that providers use.

A caller's settings are only read here; what is put in their place is a copy.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from tale_dspy.backends.control_registry import parameter_names
from tale_dspy.backends.reasoning_control import VALUE
from tale_dspy.protocols import RequestSettings, SettingsView

_LIMITS = {
    "gemini": ("generationConfig.max_output_tokens", "generationConfig.maxOutputTokens"),
    "vertex_ai": ("generationConfig.max_output_tokens", "generationConfig.max_output_tokens"),
    "ollama": ("options.num_predict", "max_tokens"),
    "ollama_chat": ("options.num_predict", "max_tokens"),
    "bedrock": ("inferenceConfig.maxTokens", "inferenceConfig.maxTokens"),
    "openai": ("max_tokens", "max_completion_tokens"),
    "moonshot": ("max_tokens", "max_completion_tokens"),
}
"""Where max_tokens stands in the body, sent by LiteLLM and by DSPy itself, where not under its own name."""
_OFF = ("none", "disable", "disabled", "off")
"""Words that switch thinking off."""


def filled(template: Any, value: Any) -> Any:
    """Copy a template of settings with a value in its place.

    Every call gets its own copy, since LiteLLM changes them.
    """
    if isinstance(template, Mapping):
        return {k: filled(v, value) for k, v in template.items()}
    if isinstance(template, list):
        return list(template)
    return value if template == VALUE else template


def caller_reasoning_param(config: SettingsView) -> str | None:
    """Name the reasoning control that the settings of a call set, or None."""
    names = parameter_names()
    for name in names.settings:
        if config.get(name) is not None:
            return name
    body = config.get("extra_body")
    for name, value in body.items() if isinstance(body, Mapping) else ():
        if name in names.body or _without_control(name, value)[0]:
            return f"extra_body {name}"
    return None


def caller_effort(settings: SettingsView) -> str | None:
    """Name the effort word that settings carry, or return None.

    An example is `reasoning_effort high`. Switches are no words.
    """
    body = settings.get("extra_body")
    for place, where in ((settings, ""), (body if isinstance(body, Mapping) else {}, "extra_body ")):
        for name in ("reasoning_effort", "think"):
            word = place.get(name)
            if isinstance(word, str) and word not in _OFF:
                return f"{where}{name} {word}"
        for name in ("reasoning", "output_config"):
            setting = place.get(name)
            word = setting.get("effort") if isinstance(setting, Mapping) else None
            if isinstance(word, str) and word not in _OFF:
                return f"{where}{name} effort {word}"
    return None


def asks_to_think(settings: SettingsView) -> bool | None:
    """Return whether settings ask for thinking or against it.

    It is None if they say nothing. A switch counts before a mapping, a mapping before a word and a word before a number
    of tokens.
    """
    body = settings.get("extra_body")
    for place in (settings, body) if isinstance(body, Mapping) else (settings,):
        verdicts: dict[int, bool] = {}
        for value in _control_values(place):
            kind, requested = _thinking_verdict(value)
            if kind is not None:
                verdicts.setdefault(kind, requested)
        if verdicts:
            return verdicts[min(verdicts)]
    return None


def _control_values(place: SettingsView) -> Iterator[object]:
    """Yield the values of all reasoning controls in settings and `extra_body`."""
    names = parameter_names()
    for holder, inner in names.nested.items():
        setting = place.get(holder)
        yield from (setting.get(name) for name in inner) if isinstance(setting, Mapping) else ()
    yield from (place.get(name) for name in names.body)


def _thinking_verdict(value: object) -> tuple[int | None, bool]:
    """Return the rank of a kind of value, and whether it asks for thinking.

    The rank is None for a value that says nothing.
    """
    if isinstance(value, bool):
        return 0, value
    if isinstance(value, Mapping):
        off = value.get("enabled") is False or value.get("type") in _OFF or value.get("effort") in _OFF
        return 1, not off
    if isinstance(value, str):
        return 2, value not in _OFF
    return (3, bool(value)) if isinstance(value, int) else (None, False)


def with_reasoning_params(settings: SettingsView, reasoning_params: SettingsView) -> RequestSettings:
    """Return settings of a call with another reasoning control.

    It replaces every control the LM has set.

    Args:
        settings: The LM's and the call's, merged.
        reasoning_params: Settings of the reasoning control.

    Returns:
        What is to be merged over them: the reasoning control, None for each other one, and the rest of `extra_body`.
    """
    names = parameter_names()
    params: RequestSettings = filled(reasoning_params, None)
    replaced: RequestSettings = {name: None for name in names.settings if settings.get(name) is not None}
    before = settings.get("extra_body")
    caller_body: RequestSettings = {}
    for name, value in before.items() if isinstance(before, Mapping) else ():
        holds_control, rest = _without_control(name, value)
        if name not in names.body and not (holds_control and not rest):
            caller_body[name] = _copy_value(rest if holds_control else value)
    body = params.pop("extra_body", {})
    for name, value in body.items():
        old = caller_body.get(name)
        caller_body[name] = {**old, **value} if isinstance(old, dict) and isinstance(value, dict) else value
    if body or (isinstance(before, Mapping) and caller_body != before):
        replaced["extra_body"] = caller_body or None  # an empty one would still hand the call to LiteLLM
    return replaced | params


def _without_control(name: str, value: object) -> tuple[bool, RequestSettings]:
    """Return whether a field holds a reasoning control, and it without."""
    params = parameter_names().nested.get(name, ())
    if not isinstance(value, Mapping):
        return False, {}
    return any(k in value for k in params), {k: v for k, v in value.items() if k not in params}


def doubled(settings: SettingsView) -> RequestSettings:
    """Return the settings that hold thinking tokens, with twice as many."""
    grown: RequestSettings = {}
    for path in parameter_names().numbers:
        *parents, last = path
        holder: Any = settings
        for name in parents:
            holder = holder.get(name) if isinstance(holder, Mapping) else None
        number = holder.get(last) if isinstance(holder, Mapping) else None
        if not isinstance(number, int) or isinstance(number, bool) or number <= 0:
            continue
        if not parents:
            grown[last] = 2 * number
            continue
        place: Any = grown.setdefault(parents[0], _copy_value(settings[parents[0]]))
        for name in parents[1:]:
            place = place[name]
        place[last] = 2 * number
    return grown


def _copy_value(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _copy_value(v) for k, v in value.items()}
    return [_copy_value(v) for v in value] if isinstance(value, list) else value


def limit_path(lm: Any, name: str, *, litellm: bool) -> str:
    """Return where a request holds the output limit: a dotted path in the body.

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


def nested(path: str, value: object) -> RequestSettings:
    """Lay a value out under a dotted path."""
    name, _, rest = path.partition(".")
    return {name: nested(rest, value) if rest else value}
