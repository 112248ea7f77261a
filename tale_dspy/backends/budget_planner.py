"""Plan one call: what a budget becomes under the model's control and limits."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tale_dspy.backends.model_control import engine_name, family_of, is_reasoning_model, lm_settings
from tale_dspy.backends.output_limit import OUTPUT_LIMITS, max_output_tokens
from tale_dspy.backends.prices import most_output
from tale_dspy.backends.reasoning_control import LEVELS, ReasoningControl
from tale_dspy.backends.reasoning_settings import (
    caller_effort,
    filled,
    limit_path,
    nested,
    with_reasoning_params,
)
from tale_dspy.budget import EFFORT_WORDS
from tale_dspy.errors import UsageError

Mode = Literal["auto", "prompt", "native", "cap"]

ANSWER_ROOM = 4096
"""Tokens for the answer beside the thinking, where max_tokens is ours to set."""

LEAST_ROOM = 1024
"""Tokens of the caller's max_tokens kept free for the answer, or a quarter of it if that is less."""

_LITELLMS = ("extra_headers", "headers", "allowed_openai_params", "drop_params", "chat_template_kwargs", "min_p")
"""Settings that only LiteLLM sends."""

LEAST_CAP = 16
"""Least max_output_tokens of OpenAI's Responses API."""


@dataclass(frozen=True)
class BudgetRequest:
    """What is sent for a budget in one call."""

    mode: Literal["prompt", "native", "cap"] = "prompt"
    """What was chosen: the phrase alone, the model's own reasoning control beside it, or a hard cap beside it."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the call, to be merged over those it has."""
    wire: Mapping[str, Any] = field(default_factory=dict)
    """The part of the request body that comes of them; empty where nothing but the prompt tells the budget."""
    notes: tuple[str, ...] = ()
    """What was raised, lowered, left out or could not be sent, in words."""
    thinks: bool = False
    """Whether the model thinks natively in this call, so that its visible reasoning would be paid twice."""


class BudgetPlanner:
    """One call: its family, engine and settings."""

    def __init__(self, lm: Any, config: dict[str, Any]) -> None:
        self.lm, self.config = lm, config
        self.merged: dict[str, Any] = {**lm_settings(lm), **config}
        self.engine = engine_name(lm)
        self.family = family_of(lm)
        self.thinks = is_reasoning_model(lm, config)
        self.notes: list[str] = []

    def cap(self, budget: int) -> BudgetRequest:
        """Return a hard cap.

        Thinking whose least allowance does not fit under the cap is switched off.
        """
        limit = budget
        if self._uses_responses and limit < LEAST_CAP:
            limit = LEAST_CAP
            self.notes.append(f"raised from {budget} to {LEAST_CAP}, the least the Responses API takes")
        most = self.family.output if self.family is not None else None
        if most is None and limit > ANSWER_ROOM:  # every model writes as many
            most = most_output(self.lm)
        if most is not None and limit > most:
            self.notes.append(f"lowered from {limit} to {most}, the most the model writes")
            limit = most
        callers_limit = max_output_tokens(self.merged)
        if callers_limit is not None and callers_limit < limit:
            self.notes.append(f"the caller's own max_tokens of {callers_limit} is less than {limit}")
            limit = callers_limit
        others = (name for name in OUTPUT_LIMITS if name != self._limit_name and self.merged.get(name) is not None)
        settings: dict[str, Any] = {self._limit_name: limit, **dict.fromkeys(others, None)}
        thinks, family = self.thinks, self.family
        thinking = self.merged.get("thinking")
        number = thinking.get("budget_tokens") if isinstance(thinking, Mapping) else None
        if thinks and family and family.rule == "below" and family.off and not (number and number < limit):
            settings |= with_reasoning_params(self.merged, family.off)
            self.notes.append(f"thinking was switched off: it does not fit under {limit} tokens")
            thinks = False
        wire = nested(self._wire_limit(litellm="thinking" in settings), limit)
        return BudgetRequest("cap", settings, wire, tuple(self.notes), thinks)

    def auto(self, budget: int) -> BudgetRequest:
        """Send the reasoning control only if the model thinks as it is set up.

        An effort word that the caller set is left as it is.
        """
        family = self.family
        if family is None or not self.thinks:
            return BudgetRequest()
        effort = caller_effort(self.merged)
        if effort is not None:
            note = f"the LM's own {effort} was kept, the budget is in the prompt; mode native replaces it"
            return BudgetRequest("native", notes=(note,), thinks=True)
        if family.kind == "none" or self._out_of_reach:
            if family.off is not None and not self._out_of_reach:
                return self._switched_off(family.off, self._why_unavailable)
            return BudgetRequest(notes=(f"{self._why_unavailable}: the budget is in the prompt alone",), thinks=True)
        if family.off is not None and budget < self._least_tokens(family):
            reason = f"{budget} tokens are less than the {self._least_tokens(family)} of the least thinking"
            return self._switched_off(family.off, reason)
        return self.native(budget)

    def native(self, budget: int) -> BudgetRequest:
        """Turn the reasoning control, raised or lowered to what the model takes."""
        family = self.family
        if family is None or family.kind == "none" or self._out_of_reach:
            raise UsageError(f"mode native: {self._why_unavailable}; use mode prompt or cap")
        return self._word_request(family, budget) if family.kind == "word" else self._tokens_request(family, budget)

    def effort(self, word: str, *, strict: bool) -> BudgetRequest:
        """Return the request for an effort word.

        Args:
            word: One of `EFFORT_WORDS`.
            strict: Whether a model that cannot take one is refused, and not only noted.
        """
        control = self.family
        switch = control is not None and control.off is not None and word == "none"
        if control is None or self._out_of_reach or (control.kind == "none" and not switch):
            if strict:
                raise UsageError(f"mode native: {self._why_unavailable}; use a number of tokens and mode prompt or cap")
            return BudgetRequest(notes=(f"{self._why_unavailable}: effort {word} was not sent",), thinks=self.thinks)
        self._note_replaced(word)
        if switch and control.off is not None:
            settings = with_reasoning_params(self.merged, control.off)
            return BudgetRequest("native", settings, self._wire_off(control), tuple(self.notes))
        if control.kind == "tokens":
            number = LEVELS["minimal" if word == "none" else word]
            self.notes.append(f"{control.name} takes a number: effort {word} stands for {number} tokens")
            return self._tokens_request(control, number)
        lower = [w for w in control.words if EFFORT_WORDS.index(w) <= EFFORT_WORDS.index(word)]
        nearest = lower[-1] if lower else control.words[0]
        if nearest != word:
            self.notes.append(f"{control.name} has no effort {word}: {nearest} was sent")
        return self._control_request(control, nearest, {})

    def _note_replaced(self, word: str) -> None:
        effort = caller_effort(self.merged)
        if effort is not None and effort.rpartition(" ")[2] != word:
            self.notes.append(f"the LM's own {effort} was replaced by {word}")

    def _wire_off(self, control: ReasoningControl) -> Mapping[str, Any]:
        """Return the part of the request body that switches thinking off."""
        if control.wire_off is not None:
            return control.wire_off
        off = dict(control.off or {})
        body = off.pop("extra_body", {})
        return {**off, **body}

    def minimal_thinking(self) -> BudgetRequest:
        """Return the least thinking there is."""
        family = self.family
        if family is None or self._out_of_reach:
            return BudgetRequest(thinks=True)
        if family.off is not None:
            return BudgetRequest("native", with_reasoning_params(self.merged, family.off))
        if family.kind == "none":
            return BudgetRequest(thinks=True)
        return self._word_request(family, 0) if family.kind == "word" else self._tokens_request(family, family.minimum)

    def _word_request(self, family: ReasoningControl, budget: int) -> BudgetRequest:
        fitting = [word for word in family.words if LEVELS[word] <= budget]
        word = fitting[-1] if fitting else family.words[0]
        if budget:
            self._note_replaced(word)
        if not fitting and budget:
            self.notes.append(
                f"{word} is the least effort {family.name} takes: some {LEVELS[word]} tokens, not {budget}"
            )
        return self._control_request(family, word, {})

    def _tokens_request(self, family: ReasoningControl, budget: int) -> BudgetRequest:
        number = self._within_limits(family, budget)
        max_tokens = max_output_tokens(self.merged)
        if max_tokens is None:
            room = min(number + ANSWER_ROOM, family.output or number + ANSWER_ROOM)
            return self._control_request(family, number, {self._limit_name: room} if family.rule == "below" else {})
        most = max_tokens - min(LEAST_ROOM, max(1, max_tokens // 4))
        if most >= number:
            return self._control_request(family, number, {})
        if most >= family.minimum:
            self.notes.append(f"lowered to {most}: max_tokens {max_tokens} must leave room for the answer")
            return self._control_request(family, most, {})
        reason = f"max_tokens {max_tokens} leaves no room for the {family.minimum} tokens {family.name} thinks at least"
        if family.off is not None:
            return self._switched_off(family.off, reason)
        self.notes.append(reason)
        return self._control_request(family, family.minimum, {})

    def _within_limits(self, family: ReasoningControl, budget: int) -> int:
        most = family.maximum
        if most is None and family.output is not None:
            most = family.output - ANSWER_ROOM
        if budget < family.minimum:
            self.notes.append(f"raised from {budget} to {family.minimum}, the least {family.name} takes")
            return family.minimum
        if most is not None and budget > most:
            self.notes.append(f"lowered from {budget} to {most}, the most {family.name} takes")
            return most
        return budget

    def _control_request(self, family: ReasoningControl, value: int | str, limits: dict[str, int]) -> BudgetRequest:
        auto = self.engine != "litellm" and not self._handed_on
        on = family.on_auto if auto and family.on_auto is not None else family.on
        wire = family.wire_auto if auto and family.wire_auto is not None else family.wire
        if self._uses_responses and family.wire_responses is not None:
            wire = family.wire_responses
        settings = with_reasoning_params(self.merged, filled(on, value)) | limits
        for name in family.drops:
            value_set = self.merged.get(name)
            if value_set is not None and not (name in ("temperature", "top_p") and value_set == 1):
                settings[name] = None
                self.notes.append(f"{name} {value_set!r} was left out: {family.name} refuses it while thinking")
        body = filled(wire, value)
        for limit in limits.values():
            body |= nested(self._wire_limit(litellm=family.litellm), limit)
        return BudgetRequest("native", settings, body, tuple(self.notes), thinks=True)

    def _switched_off(self, off: Mapping[str, Any], reason: str) -> BudgetRequest:
        self.notes.append(f"{reason}: thinking was switched off, the budget is in the prompt")
        # A model that does not think unless it is asked to needs no switch.
        return BudgetRequest(
            "prompt", with_reasoning_params(self.merged, off) if self.thinks else {}, notes=tuple(self.notes)
        )

    def _least_tokens(self, family: ReasoningControl) -> int:
        return LEVELS[family.words[0]] if family.kind == "word" else family.minimum

    @property
    def _out_of_reach(self) -> bool:
        return self.engine == "lm15" and self.family is not None and self.family.litellm

    @property
    def _handed_on(self) -> bool:
        """Return whether engine auto hands the call to LiteLLM.

        It does so for settings of the LM that stay beside the control.
        """
        stays = with_reasoning_params(self.merged, {}).get("extra_body", self.merged.get("extra_body"))
        return bool(stays) or any(self.merged.get(name) is not None for name in _LITELLMS)

    @property
    def _why_unavailable(self) -> str:
        if self.family is None:
            return f"no reasoning control of {getattr(self.lm, 'model', type(self.lm).__name__)} is known"
        if self._out_of_reach:
            return f"engine lm15 cannot send the reasoning control of {self.family.name}; litellm and auto can"
        return self.family.why

    @property
    def _uses_responses(self) -> bool:
        return self.engine is not None and self.lm.model_type == "responses"

    @property
    def _limit_name(self) -> str:
        """Return the name under which the LM stores its output limit.

        DSPy has another name for OpenAI's reasoning models, and sends both if both are set.
        """
        of_openai = self.family is not None and self.family.wire_responses is not None and not self._uses_responses
        return "max_completion_tokens" if of_openai or "max_completion_tokens" in self.merged else "max_tokens"

    def _wire_limit(self, *, litellm: bool) -> str:
        if self._uses_responses:
            return "max_output_tokens"
        return limit_path(self.lm, self._limit_name, litellm=litellm or self.engine == "litellm")
