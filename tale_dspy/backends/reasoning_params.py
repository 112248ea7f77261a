"""Turn a budget into what this model takes.

That is the phrase in the prompt, a number, an effort word, or a hard cap.

`budget_request` decides it for one call. The rows it reads are in `tale_dspy.backends.reasoning_controls`. Nothing of
the caller's is changed: the result holds settings for the one call, and the receipt says what they are.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tale_dspy.backends.budget_planner import BudgetPlanner, BudgetRequest, Mode
from tale_dspy.backends.model_control import engine_name, family_of, is_reasoning_model
from tale_dspy.backends.reasoning_settings import (
    caller_reasoning_param,
)
from tale_dspy.budget import BudgetLike, BudgetValue
from tale_dspy.errors import UsageError

MODES: tuple[Mode, ...] = ("auto", "prompt", "native", "cap")
SERVERS = ("vllm", "sglang", "llama.cpp")
"""Software behind an OpenAI-compatible address whose reasoning control is known."""


def check_mode(mode: object) -> Mode:
    """Return a mode, or say which there are.

    Raises:
        UsageError: If it is none.
    """
    if mode not in MODES:
        raise UsageError(f"mode must be one of {', '.join(MODES)}, got {mode!r}")
    return mode


def budget_request(
    lm: Any, budget: BudgetLike, mode: Mode = "auto", config: Mapping[str, Any] | None = None
) -> BudgetRequest:
    """Decide how a budget is sent.

    `prompt` sends the phrase alone. `cap` sets max_tokens to the number, or leaves the caller's where that is less.
    `native` sends the model's own reasoning control, raised or lowered to what it takes. `auto` does so where the
    model thinks natively as it is set up; where it does not, or where thinking can be switched off and the number is
    less than the reasoning control takes, it sends the phrase alone.

    An effort word is sent under `auto` and `native`; a model without that word gets the next lower one it has, a model
    of numbers the number of `LEVELS`, and the notes say so. A reasoning control that the caller has set for this call
    is kept; so is an effort word that the caller has set on the LM, unless the budget is a word or the mode `native`.

    Args:
        lm: Any DSPy language model.
        budget: A number of tokens, an effort word, or a `BudgetValue`.
        mode: One of `MODES`.
        config: Settings of the call beside the LM's own.

    Raises:
        UsageError: If `native` is asked of a model, an engine or a server without a reasoning control, or `cap` of a
            word without a number.
    """
    call_config, value = dict(config or {}), BudgetValue.parse(budget)
    if mode == "prompt":
        unsent = () if value.effort is None else (f"mode prompt: effort {value.effort} was not sent",)
        return BudgetRequest(notes=unsent, thinks=value.effort is not None and is_reasoning_model(lm, call_config))
    if mode != "cap" and (param := caller_reasoning_param(call_config)) is not None:
        thinks = is_reasoning_model(lm, call_config)
        return BudgetRequest(
            "native" if thinks else "prompt", notes=(f"the call's own {param} was kept",), thinks=thinks
        )
    planner = BudgetPlanner(lm, call_config)
    if mode == "cap":
        if value.tokens is None:
            raise UsageError(f"mode cap needs a number of tokens, got effort {value.effort}")
        return planner.cap(value.tokens)
    if value.effort is not None:
        return planner.effort(value.effort, strict=mode == "native")
    if value.tokens is None:  # BudgetValue refuses that
        raise UsageError("a budget is a number of tokens or an effort word, got neither")
    return planner.native(value.tokens) if mode == "native" else planner.auto(value.tokens)


def effort_words(lm: Any) -> tuple[str, ...]:
    """Return the effort words that a model takes, from the least to the most.

    `none` is among them where thinking can be switched off. A model whose reasoning control is a number, or that has
    none, takes no words.
    """
    control = family_of(lm)
    if control is None or control.kind != "word" or (engine_name(lm) == "lm15" and control.litellm):
        return ()
    return (*(() if control.off is None or "none" in control.words else ("none",)), *control.words)


@dataclass(frozen=True)
class DistinctSetting:
    """A budget, the request it makes, and the budgets that make the same."""

    value: BudgetValue
    """The first of those given."""
    request: BudgetRequest
    """What is sent for it."""
    same: tuple[BudgetValue, ...] = ()
    """The others, which need not be asked."""

    def __str__(self) -> str:
        others = ", ".join(map(str, self.same))
        return f"{self.value} (the same request as {others})" if others else str(self.value)


def distinct_settings(
    lm: Any,
    budgets: Iterable[BudgetLike],
    mode: Mode = "auto",
    config: Mapping[str, Any] | None = None,
    *,
    phrase: bool = True,
) -> list[DistinctSetting]:
    """Collapse budgets that would send equal requests, so that each is sent once.

    Args:
        lm: Any DSPy language model.
        budgets: Numbers, effort words or `BudgetValue`s.
        mode: How they are sent.
        config: Settings of the call beside the LM's own.
        phrase: Whether the prompt tells the number; False compares the reasoning controls alone.

    Returns:
        One for each different request, in the order given.
    """
    groups: dict[str, DistinctSetting] = {}
    for budget in budgets:
        value = BudgetValue.parse(budget)
        request = budget_request(lm, value, mode, config)
        number = value.tokens if phrase else None
        key = json.dumps([number, request.settings, request.thinks], sort_keys=True, default=repr)
        first = groups.get(key)
        if first is None:
            groups[key] = DistinctSetting(value, request)
        elif value not in (first.value, *first.same):
            groups[key] = replace(first, same=(*first.same, value))
    return list(groups.values())


def minimal_thinking(lm: Any, config: Mapping[str, Any] | None = None) -> BudgetRequest:
    """Return the least thinking a model allows.

    It is for a call that needs none, such as the estimate of a budget.

    Args:
        lm: Any DSPy language model.
        config: Settings of the call; a reasoning control among them is left as it is.
    """
    call_config = dict(config or {})
    if caller_reasoning_param(call_config) is not None or not is_reasoning_model(lm, call_config):
        return BudgetRequest()
    return BudgetPlanner(lm, call_config).minimal_thinking()
