"""What stands in DSPy's history is read whole; and a user who keeps none keeps none."""

import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import dspy
import pytest
from dspy.dsp.utils.settings import settings
from dspy.lm15 import Message, Response, TextPart, Usage

from tale_dspy.accounting.history import HistoryRecorder, finish_reason, read_usage


def native(output: int | None, reason: Any = "stop") -> Response:
    usage = Usage(input_tokens=3, output_tokens=output, cache_read_tokens=1, reasoning_tokens=2)
    return Response(id="1", model="m", message=Message.assistant([TextPart("x")]), finish_reason=reason, usage=usage)


def entry(response: Any, usage: Any = None, **more: Any) -> dict[str, Any]:
    return {"model": "openai/m", "response": response, "usage": usage or {}, **more}


def test_the_usage_of_a_hit_on_dspys_own_engine_is_in_its_response() -> None:
    usage = read_usage(entry(native(5)))
    assert (usage.prompt, usage.output, usage.reasoning, usage.cached_prompt, usage.cached) == (3, 5, 2, 1, True)


def test_the_usage_of_a_hit_with_several_choices_is_their_sum() -> None:
    usage = read_usage(entry((native(5), native(7))))
    assert (usage.prompt, usage.output, usage.reasoning, usage.cached) == (6, 12, 4, True)


def test_a_paid_call_is_read_from_its_usage() -> None:
    usage = read_usage(entry(native(5), {"prompt_tokens": 30, "completion_tokens": 50}))
    assert (usage.prompt, usage.output, usage.cached) == (30, 50, False)


@pytest.mark.parametrize("number", [-1, 10**10, 10**400, float("inf"), float("nan"), True, "50"])
def test_what_cannot_be_a_count_is_unknown(number: Any) -> None:
    assert read_usage(entry(native(5), {"prompt_tokens": 30, "completion_tokens": number})).output is None


@pytest.mark.parametrize("hit", [True, False])
def test_what_the_entry_says_of_the_cache_counts(hit: bool) -> None:
    assert read_usage(entry(native(5), cache_hit=hit)).cached is hit


def test_a_hit_over_litellm_is_read_from_where_we_kept_it() -> None:
    hidden = {"tale_usage": {"prompt_tokens": 3, "completion_tokens": 5}}
    response = SimpleNamespace(cache_hit=True, usage={}, _hidden_params=hidden)
    usage = read_usage(entry(response))
    assert (usage.prompt, usage.output, usage.cached) == (3, 5, True)


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (None, None),
        ((), None),
        (native(1, "length"), "length"),
        ((native(1, "length"), native(1)), "length"),
        ({"choices": [{"finish_reason": "length"}]}, "length"),
        ({"choices": []}, None),
        (SimpleNamespace(choices=[SimpleNamespace(finish_reason="stop")]), "stop"),
        ({"finish_reason": None}, None),
    ],
)
def test_why_a_reply_ended(response: Any, reason: str | None) -> None:
    assert finish_reason(response) == reason


def recorded(recorder: HistoryRecorder, number: int, lm: Any) -> None:
    recorder.on_lm_start(str(number), lm, {})
    lm.history.append(found := {"number": number})
    for listener in settings.caller_modules:
        listener.history.append(found)
    recorder.on_lm_end(str(number), None)


def test_only_the_calls_own_entry_is_taken_out_again() -> None:
    old = {"number": 1}
    lm, program = SimpleNamespace(history=[old]), SimpleNamespace(history=[old])
    with dspy.context(disable_history=True, caller_modules=[program]):
        recorded(HistoryRecorder(), 1, lm)  # equal to the old one
    assert lm.history == program.history == [old]
    assert lm.history[0] is program.history[0] is old


def test_concurrent_calls_take_out_each_their_own() -> None:
    recorder, lm = HistoryRecorder(), SimpleNamespace(history=["old"])
    start = threading.Barrier(8)

    def work(worker: int) -> None:
        start.wait()
        with dspy.context(disable_history=True, caller_modules=[]):
            for i in range(200):
                recorded(recorder, worker * 1000 + i, lm)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(8)))
    assert lm.history == ["old"]


def test_a_history_that_is_kept_is_left_alone() -> None:
    lm = SimpleNamespace(history=[])
    with dspy.context(caller_modules=[]):
        recorded(HistoryRecorder(), 1, lm)
    assert lm.history == [{"number": 1}]
