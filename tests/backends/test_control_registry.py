"""Rows of the user's: registered or from a file, before the published ones, and whole or refused."""

import json
import os
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import tale_dspy
from tale_dspy import UsageError
from tale_dspy.backends.control_registry import (
    ENVIRONMENT,
    control_from,
    control_toml,
    find_control,
    parameter_names,
    read_controls,
    register_control,
    unregister_control,
)
from tale_dspy.backends.reasoning_control import ReasoningControl
from tale_dspy.backends.reasoning_controls import REASONING_CONTROLS
from tale_dspy.backends.reasoning_params import budget_request, effort_words
from tale_dspy.backends.reasoning_settings import asks_to_think, caller_reasoning_param

ROW: dict[str, Any] = {
    "name": "our gateway",
    "models": "^openai/gateway-",
    "kind": "word",
    "words": ("low", "high"),
    "on": {"extra_body": {"gateway_effort": "<value>"}},
    "off": {"extra_body": {"gateway_effort": "none"}},
    "thinks": "by default",
}


@pytest.fixture
def registered() -> Iterator[ReasoningControl]:
    yield register_control(**ROW)
    unregister_control("our gateway")


def test_a_registered_row_is_found_sent_and_known_by_its_own_parameters(registered: ReasoningControl) -> None:
    lm = tale_dspy.LM("openai/gateway-1", api_key="k")
    assert find_control("openai/Gateway-1") is registered
    assert effort_words(lm) == ("none", "low", "high")
    request = budget_request(lm, "high")
    assert (request.settings, request.wire) == ({"extra_body": {"gateway_effort": "high"}}, {"gateway_effort": "high"})
    config = {"extra_body": {"gateway_effort": "none"}}
    assert (caller_reasoning_param(config), asks_to_think(config)) == ("extra_body gateway_effort", False)


def test_a_row_of_the_users_comes_before_the_published_one(registered: ReasoningControl) -> None:
    user_row = register_control(**{**ROW, "models": "^openai/gpt-5"})
    assert find_control("openai/gpt-5-mini") is user_row
    unregister_control("our gateway")
    assert find_control("openai/gpt-5-mini") in REASONING_CONTROLS
    assert "gateway_effort" not in parameter_names().body


def test_a_file_named_by_the_environment_is_read_and_read_again_when_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "controls.toml"
    path.write_text(control_toml(control_from(ROW)))
    monkeypatch.setenv(ENVIRONMENT, str(path))
    control = find_control("openai/gateway-1")
    assert control is not None and (control.name, control.words) == ("our gateway", ("low", "high"))
    path.write_text(control_toml(control_from({**ROW, "name": "renamed"})))
    os.utime(path, ns=(1, 1))
    control = find_control("openai/gateway-1")
    assert control is not None and control.name == "renamed"


@pytest.mark.parametrize("control", REASONING_CONTROLS, ids=lambda row: row.name)
def test_every_published_row_goes_through_a_file_and_back(control: ReasoningControl, tmp_path: Path) -> None:
    path = tmp_path / "controls.toml"
    path.write_text(control_toml(control), encoding="utf-8")
    assert read_controls(path) == (control,)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"models": "("}, "no regular expression"),
        ({"kind": "vibe"}, "kind must be tokens, word or none"),
        ({"words": ()}, "has words"),
        ({"words": ("high", "low")}, "from the least to the most"),
        ({"words": ("fast",)}, "words must be some of"),
        ({"on": {"reasoning_effort": "low"}}, "must hold <value>"),
        ({"on": "high"}, "on must be a table"),
        ({"colour": 1}, "no field 'colour'"),
    ],
)
def test_what_is_no_row_is_refused_with_the_field(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=re.escape(said)):
        register_control(**{**ROW, **changed})


@pytest.mark.parametrize("text", ["", "[control]\n", "control = 5", "[[control]\n", "[[control]]\nname = 'x'\n"])
def test_what_is_no_file_of_rows_is_refused_with_its_name(text: str, tmp_path: Path) -> None:
    path = tmp_path / "controls.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"controls\.toml"):
        read_controls(path)


# ---- LiteLLM's own map of models

WORD_FLAGS = {
    "none": "supports_none_reasoning_effort",
    "minimal": "supports_minimal_reasoning_effort",
    "xhigh": "supports_xhigh_reasoning_effort",
    "max": "supports_max_reasoning_effort",
}
COMPARED = (
    r"gpt-[5-9]|o\d|claude-|gemini/gemini-[2-9]|xai/grok-[3-9]|deepseek/|moonshot/kimi|zai/glm|groq/openai|"
    r"mistral/magistral"
)

DIFFERENCES = {
    "GPT-5 Pro": "LiteLLM lists minimal; OpenAI's guide has high alone",
    "GPT-5.x Pro": "LiteLLM lists minimal for 5.2 Pro; OpenAI's guide begins at medium",
    "GPT-5.x Codex": "LiteLLM lists none for 5.3 Codex; not published by OpenAI",
    "Claude up to 4.6": "LiteLLM sends words to 4.6; the number is still taken, and exact",
}
"""Rows that say something else about words than LiteLLM 1.106.2, and why."""


def litellm_map() -> dict[str, Any]:
    origin = Path(str(find_spec("litellm").origin))  # type: ignore[union-attr]  # a dependency
    text = (origin.parent / "model_prices_and_context_window_backup.json").read_text(encoding="utf-8")
    return {name: row for name, row in json.loads(text).items() if row.get("mode") in ("chat", "responses")}


def test_the_words_are_litellms_but_for_these() -> None:
    different = set()
    for name, row in litellm_map().items():
        control = find_control(name) if re.match(COMPARED, name) and "/" not in name.split("/", 1)[-1] else None
        if control is None:
            continue
        words = {*control.words, *(["none"] if control.off is not None else [])}
        for word, flag in WORD_FLAGS.items():
            if row.get(flag) is not None and row[flag] is not (word in words) and control.kind == "word":
                different.add(control.name)
        if control.kind == "tokens" and row.get("supports_max_reasoning_effort"):
            different.add(control.name)
    assert different == set(DIFFERENCES)


UNLISTED = {
    "gpt-5-search-api",
    "gpt-5-search-api-2025-10-14",
}
"""Models LiteLLM says reason that no row knows: none of them can be asked for less."""


def test_every_model_that_litellm_says_reasons_has_a_row() -> None:
    missing = {
        name
        for name, row in litellm_map().items()
        if row.get("supports_reasoning") and re.match(COMPARED, name) and find_control(name) is None
    }
    unlisted = {name for name in missing if not re.search("-chat|deep-research|cyber|deepseek-v3.2", name)}
    assert unlisted <= UNLISTED, sorted(unlisted)
