"""What DSPy's history says about one call, read in one place.

It also records a history for users who have turned DSPy's off.

Everything that knows the shape of a history entry is here. Imported at first use, since it loads DSPy.
"""

import sys
import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from dspy import settings

from tale_dspy.backends.caching import KEPT_USAGE
from tale_dspy.backends.finish_reasons import normalize_finish_reason
from tale_dspy.backends.reply_bodies import MAX_TOKENS
from tale_dspy.dspy_bridge import GLOBAL_HISTORY, BaseCallback, Response, item_value, usage_dict
from tale_dspy.protocols import CallArguments, JsonObject


@dataclass(frozen=True)
class ReportedUsage:
    """What the provider reported about a call. A count it did not give is None."""

    prompt: int | None
    output: int | None
    """Completion tokens of all choices."""
    reasoning: int | None
    cached_prompt: int | None
    cached: bool
    """Whether DSPy's cache answered; the counts are then those of the call that was paid."""


def read_usage(entry: JsonObject) -> ReportedUsage:
    """Read the usage of a history entry, that of cache hits too.

    DSPy keeps the usage of a hit in the response of its own engine, and `tale_dspy.LM` keeps it under `tale_usage` in
    LiteLLM's. On DSPy's own engine a hit is seen by its missing usage; for a server that never sends any, only
    `tale_dspy.LM` knows which of the two it is, and says so in `cache_hit`.
    """
    response, usage = entry.get("response"), dict(entry.get("usage") or {})
    hit = entry.get("cache_hit")
    parts = response if isinstance(response, tuple) else (response,)
    native = [r for r in parts if isinstance(r, Response)]
    if native:
        usages = [usage_dict(r, entry["model"].partition("/")[0]) for r in native]
        cached = hit if hit is not None else not usage and any(usages)
        return _usage_sum([usage] if usage else usages, cached)
    cached = hit if hit is not None else item_value(response, "cache_hit") is True
    stored = (item_value(response, "_hidden_params") or {}).get(KEPT_USAGE) or item_value(response, "usage") or {}
    return _usage_sum([usage or dict(stored)], cached)


def _usage_sum(usages: Sequence[JsonObject], cached: bool) -> ReportedUsage:
    counts = [_token_counts(usage) for usage in usages]
    if len(counts) == 1:
        return ReportedUsage(*counts[0], cached)
    known = [[n for n in column if n is not None] for column in zip(*counts, strict=True)]
    prompt, output, reasoning, cached_prompt = (sum(column) if column else None for column in known)
    return ReportedUsage(prompt, output, reasoning, cached_prompt, cached)


def _token_counts(usage: JsonObject) -> tuple[int | None, int | None, int | None, int | None]:
    """Return prompt, output, reasoning and cached prompt tokens of a response."""
    # The Responses API says input and output where chat completions say prompt and completion.
    prompt = usage.get("prompt_tokens", usage.get("input_tokens"))
    output = usage.get("completion_tokens", usage.get("output_tokens"))
    output_details = usage.get("completion_tokens_details") or usage.get("output_tokens_details")
    prompt_details = usage.get("prompt_tokens_details") or usage.get("input_tokens_details")
    reasoning = item_value(output_details, "reasoning_tokens") if output_details else None
    cached = item_value(prompt_details, "cached_tokens") if prompt_details else None
    return _count_or_none(prompt), _count_or_none(output), _count_or_none(reasoning), _count_or_none(cached)


def _count_or_none(number: Any) -> int | None:
    return int(number) if number is not None and _is_count(number) else None


def _is_count(number: object) -> bool:
    return isinstance(number, int | float) and not isinstance(number, bool) and 0 <= number <= MAX_TOKENS


def finish_reason(response: object) -> str | None:
    """Return why the first choice of a response ended.

    It is a word of `tale_dspy.backends.finish_reasons`. LiteLLM keeps the provider's word beside its own where the two
    differ.
    """
    if isinstance(response, tuple):
        return finish_reason(response[0]) if response else None
    choices = item_value(response, "choices")
    choice = choices[0] if choices else response
    fields = item_value(choice, "provider_specific_fields")
    native = fields.get("native_finish_reason") if isinstance(fields, dict) else None
    return normalize_finish_reason(item_value(choice, "finish_reason"), native)


@dataclass(frozen=True)
class _HiddenCall:
    """A call in flight whose entry must not stay in any history."""

    lm: Any
    context: AbstractContextManager[None]
    entries: list[JsonObject]
    everywhere: bool
    """Whether DSPy's global history must not keep it either."""


class HistoryRecorder(BaseCallback):  # type: ignore[misc]  # dspy ships no types
    """Turn DSPy's history on for the length of each call.

    It does so only where the user has turned it off, and clears it after the call.

    DSPy says in its history alone what a call has used. With `disable_history=True` or `max_history_size=0` the
    listeners of `tale_dspy.accounting.calls` still hear of each call, while `lm.history` stays as empty as the user
    wants it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._calls: dict[str, _HiddenCall] = {}
        self._lock = threading.Lock()

    def on_lm_start(self, call_id: str, instance: object, inputs: CallArguments) -> None:
        off = settings.disable_history
        if not off and settings.max_history_size:
            return
        catcher = SimpleNamespace(history=[])
        listeners = [*(settings.caller_modules or []), catcher]
        context = settings.context(disable_history=False, max_history_size=sys.maxsize, caller_modules=listeners)
        context.__enter__()
        self._calls[call_id] = _HiddenCall(instance, context, catcher.history, everywhere=off)

    def on_lm_end(self, call_id: str, outputs: object, exception: BaseException | None = None) -> None:
        call = self._calls.pop(call_id, None)
        if call is None:
            return
        call.context.__exit__(None, None, None)
        owners = [call.lm, *(settings.caller_modules or [])]
        histories = [o.history for o in owners if isinstance(o.history, list)]
        with self._lock:
            for history in [*histories, GLOBAL_HISTORY] if call.everywhere else histories:
                for entry in call.entries:
                    _remove_entry(history, entry)


def _remove_entry(history: list[JsonObject], entry: JsonObject) -> None:
    """Remove this very entry, searched from the end."""
    for index in range(len(history) - 1, -1, -1):
        if history[index] is entry:
            del history[index]
            return
