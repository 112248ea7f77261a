"""Recover an answer whose thinking was truncated.

The thought is closed and the answer asked for, or the question is asked again with more room.

A reply that ends at its allowance is paid for and holds no answer. What comes after it here is at most two further
calls, booked under the role `recovery`, and never a silent one: receipt, record and table count them.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import dspy
from dspy import AdapterParseError, ContextWindowExceededError, LMInvalidRequestError, settings

from tale_dspy.accounting.calls import Call
from tale_dspy.accounting.receipts import status_of
from tale_dspy.backends.budget_planner import BudgetRequest
from tale_dspy.backends.model_control import family_of
from tale_dspy.backends.output_limit import max_output_tokens
from tale_dspy.backends.reasoning_control import LEVELS
from tale_dspy.backends.reasoning_params import minimal_thinking
from tale_dspy.backends.reasoning_settings import doubled, with_reasoning_params
from tale_dspy.errors import UsageError
from tale_dspy.fields import thought
from tale_dspy.prompts import ANSWER_AT_ONCE, ANSWER_NOW
from tale_dspy.protocols import CallArguments, JsonObject, LanguageModel
from tale_dspy.task_signature import BUDGET, REASONING

logger = logging.getLogger(__name__)

Policy = Literal["force_answer", "retry_larger"]
POLICIES: tuple[Policy, ...] = ("force_answer", "retry_larger")
Attempt: TypeAlias = Any
"""What an attempt brings: a prediction, or what an adapter of DSPy raises where a reply has no marker."""

ANSWER_TOKENS = 512
"""Most tokens of the reply to a closed thought, beside the thinking of a model that cannot be kept from it; the
caller's own max_tokens, where that is less."""
ESCALATIONS = 2
"""How often an answer is asked for again with twice the room."""
QUOTED = 24_000
"""Characters of a cut thought that are sent back, from its end."""
REFUSED = (ContextWindowExceededError, LMInvalidRequestError)
"""What a provider says to a recovery that it does not take: the answer then stays what it was."""

_ROOM = ("max_tokens", "max_completion_tokens", "max_output_tokens")


def check_on_truncation(value: object) -> Policy | None:
    """Return a policy, or say which there are.

    Raises:
        UsageError: If it is none.
    """
    for policy in (*POLICIES, None):
        if value == policy:
            return policy
    raise UsageError(f"on_truncation must be {' or '.join(POLICIES)}, or None for none, got {value!r}")


@dataclass(frozen=True)
class ClosingRequest:
    """A request that closes a thought and asks for the answer."""

    lm: Any
    messages: list[JsonObject]
    config: JsonObject
    adapter: Any
    signature: Any
    """Without the reasoning: what is still wanted."""

    def read(self, outputs: list[object]) -> Attempt:
        """Read the replies as the adapter does."""
        try:
            rows = self.adapter._call_postprocess(self.signature, self.signature, outputs, self.lm, self.config)
        except AdapterParseError as e:
            return e
        return dspy.Prediction.from_completions(rows, signature=self.signature)


class AnswerRecovery:
    """What is known of one answer while it is recovered.

    Args:
        predict: The predictor that was asked.
        kwargs: What it was called with.
        calls: Its calls, a list that grows.
    """

    def __init__(self, predict: Any, kwargs: Mapping[str, object], calls: list[Call]) -> None:
        self.predict, self.calls = predict, calls
        self.kwargs: CallArguments = dict(kwargs)
        self.attempts = 0
        self._thought = ""
        self._first: Attempt = None
        self._best: Attempt = None

    def note_answer(self, answer: Attempt) -> None:
        """Note what the first attempt, or one with more room, has brought."""
        if self._first is None:
            self._first = answer
        self._best = answer

    def cut(self) -> bool:
        """Return whether the last reply is empty or truncated.

        A truncated reply ended at its token limit, without an answer.
        """
        names = [k for k in self.predict.signature.output_fields if k not in (REASONING, BUDGET)]
        best = self._best
        answered = isinstance(best, dspy.Prediction) and any(best.get(k) is not None for k in names)
        return status_of(self.calls, answered) in ("empty", "truncated")

    def result(self) -> dspy.Prediction:
        """Return the answer, or raise the adapter's error for an unreadable one."""
        if isinstance(self._best, AdapterParseError):
            raise self._best
        best: dspy.Prediction = self._best
        if best is not self._first:
            self._replace_in_trace(best)
        return best

    # ---- close the thought

    def closing_request(self) -> ClosingRequest:
        """Return the request that sends the thought back and asks for the answer."""
        self.attempts += 1
        lm, config, signature, demos, inputs = self.predict._forward_preprocess(**self.kwargs)
        adapter = settings.adapter or dspy.ChatAdapter()
        wanted = signature
        for name in (REASONING, BUDGET):
            wanted = wanted.delete(name) if name in wanted.output_fields else wanted
        messages = adapter.format(adapter._call_preprocess(lm, config, signature, inputs), demos, inputs)
        room = ANSWER_TOKENS + unavoidable_tokens(lm, config)
        limit = max_output_tokens({**lm.kwargs, **config}) or room
        config = {**minimal_thinking_settings(lm, config), **_output_limit(lm, config, min(limit, room))}
        if ({**lm.kwargs, **config}.get("n") or 1) > 1:
            config["n"] = 1
        self._thought = self._so_far()
        form = adapter.user_message_output_requirements(wanted) if isinstance(adapter, dspy.ChatAdapter) else ""
        return ClosingRequest(lm, with_closed_thought(messages, self._thought, form), config, adapter, wanted)

    def note_closed_answer(self, answer: Attempt) -> None:
        """Add the answer to a closed thought to the reasoning before it.

        Nothing else is taken from the truncated reply: what looks like an answer there may be a step.
        """
        if isinstance(answer, AdapterParseError):
            self._best = answer
            return
        first = dict(self._first.items()) if isinstance(self._first, dspy.Prediction) else {}
        signature = self.kwargs.get("signature", self.predict.signature)
        fields = signature.output_fields
        row = {k: first.get(k) if k in (REASONING, BUDGET) else answer.get(k) for k in fields}
        if REASONING in fields and row[REASONING] is None:
            row[REASONING] = thought(self._thought, fields[REASONING])
        self._best = dspy.Prediction.from_completions([row], signature=signature)

    def _so_far(self) -> str:
        """Return what was thought and written until the cut."""
        last = self.calls[-1]
        parts = [part.strip() for part in (last.thought, last.text) if part and part.strip()]
        return "\n".join(parts)[-QUOTED:].strip()

    # ---- more room

    def enlarged_call(self) -> JsonObject:
        """Return the arguments of a call with twice the budget and twice the room."""
        self.attempts += 1
        lm = self.kwargs.get("lm") or self.predict.lm or settings.lm
        config = {**self.predict.config, **self.kwargs.get("config", {})}
        room = max_output_tokens({**lm.kwargs, **config}) or self.calls[-1].output_tokens
        grown = {**doubled(lm.kwargs), **doubled(config), **(_output_limit(lm, config, 2 * room) if room else {})}
        self.kwargs["config"] = {**self.kwargs.get("config", {}), **grown}
        if self.kwargs.get(BUDGET) is not None:
            self.kwargs[BUDGET] = 2 * self.kwargs[BUDGET]
        return self.kwargs

    def _replace_in_trace(self, pred: dspy.Prediction) -> None:
        """Replace the truncated answer in DSPy's trace.

        An optimizer makes demos of the trace.
        """
        trace = settings.trace
        if trace is None or not settings.max_trace_size:
            return
        inputs = {k: v for k, v in self.kwargs.items() if k not in ("lm", "config", "demos", "signature")}
        for i in range(len(trace) - 1, -1, -1):
            if trace[i][2] is self._first:
                trace[i] = (*trace[i][:2], pred)
                return
        trace.append((self.predict, inputs, pred))


def with_closed_thought(messages: list[JsonObject], so_far: str, form: str) -> list[JsonObject]:
    """Return a request's messages with the truncated thought, closed.

    They ask for the answer. The thought is an assistant's turn followed by a user's, which every chat endpoint
    takes; some refuse a request that ends with the assistant, and an empty turn. Where nothing of it is known the last
    message asks at once.

    Args:
        messages: What was sent, ending with the user's turn.
        so_far: What is known of the thought.
        form: How the answer is to look.
    """
    if so_far:
        ask = f"{ANSWER_NOW}{form}"
        return [*messages, {"role": "assistant", "content": so_far}, {"role": "user", "content": ask}]
    *before, last = messages
    content, ask = last["content"], f"{ANSWER_AT_ONCE}{form}"
    whole = f"{content}\n\n{ask}" if isinstance(content, str) else [*content, {"type": "text", "text": ask}]
    return [*before, {**last, "content": whole}]


def minimal_thinking_settings(lm: LanguageModel, config: Mapping[str, object]) -> JsonObject:
    """Return the settings of a call with the least thinking allowed.

    They replace any other control.
    """
    return {**config, **with_reasoning_params({**lm.kwargs, **config}, {}), **_minimal_request(lm, config).settings}


def unavoidable_tokens(lm: LanguageModel, config: Mapping[str, object]) -> int:
    """Return the tokens a model may think even if asked for the least."""
    family = family_of(lm)
    if family is None or not _minimal_request(lm, config).thinks:
        return 0
    return family.minimum if family.kind == "tokens" else LEVELS[family.words[0] if family.words else "low"]


def _minimal_request(lm: LanguageModel, config: Mapping[str, object]) -> BudgetRequest:
    return minimal_thinking(
        lm, {k: v for k, v in {**config, **with_reasoning_params(config, {})}.items() if v is not None}
    )


def _output_limit(lm: Any, config: Mapping[str, object], tokens: int) -> dict[str, int]:
    """Return the setting that limits a reply, under the name it has in this call."""
    settings_ = {**lm.kwargs, **config}
    name = next((name for name in _ROOM if settings_.get(name) is not None), None)
    return {name or ("max_completion_tokens" if "max_completion_tokens" in lm.kwargs else "max_tokens"): tokens}
