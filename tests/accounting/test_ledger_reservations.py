"""One ledger by itself: what is held, settled and given back, who waits for it, and what it says of itself."""

import json
import logging
import math
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tale_dspy import SpendCapReached, UsageError
from tale_dspy.accounting.calls import Call
from tale_dspy.accounting.ledger import Ledger
from tale_dspy.backends.prices import Price


def call(**kwargs: Any) -> Call:
    return Call(**{"role": "reason", "model": "m", "output_tokens": 5, "prompt_tokens": 7, "cost_usd": 0.5} | kwargs)


def held(ledger: Ledger, tokens: int, wait: bool = True, **kwargs: Any) -> int:
    return ledger.reserve(None, "q", {"max_tokens": tokens}, wait=wait, **kwargs)


@pytest.mark.parametrize("name", ["max_usd", "max_total_output_tokens"])
@pytest.mark.parametrize("bad", [0, -1, True, False, math.nan, "1", -0.5])
def test_a_cap_is_a_number_above_zero(name: str, bad: Any) -> None:
    with pytest.raises(UsageError, match=f"{name} must be a number above 0, got"):
        Ledger(**{name: bad})


def test_a_reservation_that_fits_exactly_is_granted() -> None:
    ledger = Ledger(max_total_output_tokens=100)
    held(ledger, 60)
    held(ledger, 40)
    with pytest.raises(SpendCapReached):
        held(ledger, 1)


def test_settling_frees_what_was_not_used() -> None:
    ledger = Ledger(max_total_output_tokens=100)
    ledger.settle(held(ledger, 100), call(output_tokens=30))
    held(ledger, 70)


@pytest.mark.parametrize(("possibly_billed", "choices", "spent"), [(False, 1, 0), (True, 1, 60), (False, 2, 120)])
def test_a_failed_call_frees_only_what_cannot_be_billed(possibly_billed: bool, choices: int, spent: int) -> None:
    ledger = Ledger(max_total_output_tokens=200)
    number = ledger.reserve(None, "q", {"max_tokens": 60, "n": choices})
    ledger.release(number, possibly_billed=possibly_billed)
    held(ledger, 200 - spent)
    with pytest.raises(SpendCapReached, match=f"{spent} of max_total_output_tokens=200 spent"):
        held(ledger, 1)


def test_possible_costs_are_distinguished_from_spent_ones() -> None:
    ledger = Ledger(max_usd=1000.0, price=Price(0.0, 1.0))
    ledger.release(held(ledger, 60), possibly_billed=True)
    assert (ledger.possibly_usd, ledger.spent_usd, ledger.to_json()["possibly_usd"]) == (60.0, 0.0, 60.0)


def test_a_call_settled_after_its_release_counts_once() -> None:
    ledger = Ledger(max_usd=1000.0, price=Price(0.0, 1.0))
    number = held(ledger, 60)
    ledger.release(number, possibly_billed=True)
    ledger.settle(number, call(cost_usd=5.0))
    assert (ledger.possibly_usd, ledger.spent_usd) == (0.0, 5.0)


def test_a_waiting_thread_goes_on_when_another_is_settled(in_time: Any) -> None:
    ledger = Ledger(max_total_output_tokens=100)
    first = held(ledger, 80)
    threading.Timer(0.05, ledger.settle, (first, call(output_tokens=10))).start()
    assert in_time(lambda: held(ledger, 90)) == first + 1


def test_a_waiting_thread_is_refused_when_the_cap_is_used_up(in_time: Any) -> None:
    ledger = Ledger(max_total_output_tokens=100)
    first = held(ledger, 80)
    threading.Timer(0.05, ledger.settle, (first, call(output_tokens=80))).start()
    with pytest.raises(SpendCapReached):
        in_time(lambda: held(ledger, 90))


def test_a_waiting_thread_is_refused_when_the_block_ends(in_time: Any) -> None:
    ledger = Ledger(max_total_output_tokens=100)
    held(ledger, 80)
    threading.Timer(0.05, ledger.close).start()
    with pytest.raises(SpendCapReached):
        in_time(lambda: held(ledger, 90))


def test_a_thread_does_not_wait_for_itself(in_time: Any) -> None:
    def nested() -> None:
        ledger = Ledger(max_total_output_tokens=100)
        held(ledger, 80)
        held(ledger, 90)

    with pytest.raises(SpendCapReached):
        in_time(nested)


def test_without_waiting_the_cap_is_reached_at_once() -> None:
    ledger = Ledger(max_total_output_tokens=100)
    threading.Thread(target=held, args=(ledger, 80)).run()
    with pytest.raises(SpendCapReached):
        held(ledger, 90, wait=False)


def test_a_call_in_the_cache_holds_nothing() -> None:
    ledger = Ledger(max_total_output_tokens=100)
    ledger.settle(held(ledger, 100), call(output_tokens=100))
    number = held(ledger, 90, cached=lambda: True)
    ledger.settle(number, call(cached=True, cost_usd=0.0, saved_cost_usd=0.5))
    assert (ledger.output_tokens, ledger.saved_usd) == (100, 0.5)


def test_the_cache_is_not_asked_while_there_is_room() -> None:
    lookups: list[bool] = []
    held(Ledger(max_total_output_tokens=100), 90, cached=lambda: bool(lookups.append(True)))
    held(Ledger(), 90, cached=lambda: bool(lookups.append(True)))
    assert lookups == []


def test_what_came_into_the_cache_while_a_thread_waited_is_found(in_time: Any) -> None:
    ledger, answers = Ledger(max_total_output_tokens=100), iter([False, True])
    first = held(ledger, 80)
    threading.Timer(0.05, ledger.settle, (first, call(output_tokens=80))).start()
    assert in_time(lambda: held(ledger, 90, cached=lambda: next(answers))) == first + 1


def test_a_replayed_call_is_counted_and_not_paid() -> None:
    ledger = Ledger(max_total_output_tokens=10)
    ledger.book(call(replayed=True))
    assert (ledger.calls, ledger.spent_usd, ledger.output_tokens) == (1, 0.0, 0)
    assert ledger.roles["reason"].paid_calls == 0


def test_unknown_figures_are_none_in_json_and_said_in_words() -> None:
    ledger = Ledger()
    ledger.book(call(cost_usd=None, output_tokens=None, prompt_tokens=None))
    ledger.book(call(role="metric", cached=True, cost_usd=0.0, saved_cost_usd=0.25))
    row = json.loads(json.dumps(ledger.to_json(), allow_nan=False))
    assert (row["spent_usd"], row["output_tokens"], row["saved_usd"]) == (None, None, 0.25)
    assert str(ledger).splitlines() == [
        "spent $0.000000 + 1 unpriced calls, 0 output tokens, saved by the cache $0.250000",
        "  metric: 1 calls (1 from the cache), 7 prompt + 5 output tokens",
        "  reason: 1 calls (0 from the cache), unknown prompt + unknown output tokens",
    ]


@pytest.mark.parametrize(
    ("uses", "thresholds"),
    [
        ([10] * 10, ["50 %", "80 %"]),
        ([49], []),
        ([50], ["50 %"]),
        ([95], ["50 %", "80 %"]),
        ([50, 30, 1, 1], ["50 %", "80 %"]),
    ],
)
@pytest.mark.parametrize("cap", ["max_usd", "max_total_output_tokens"])
def test_half_and_four_fifths_are_warned_of_once_each(
    cap: str, uses: list[int], thresholds: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    ledger = Ledger(**{cap: 100})
    with caplog.at_level(logging.WARNING, "tale_dspy.accounting.ledger"):
        for use in uses:
            ledger.book(call(output_tokens=use, cost_usd=float(use)))
    assert [record.getMessage()[:4] for record in caplog.records] == thresholds


def test_what_failed_and_may_be_billed_is_warned_of_too(caplog: pytest.LogCaptureFixture) -> None:
    ledger = Ledger(max_total_output_tokens=100)
    ledger.release(held(ledger, 60), possibly_billed=True)
    assert "50 % of the spend cap is used" in caplog.text


def test_many_threads_book_without_losing_one() -> None:
    ledger = Ledger(max_total_output_tokens=10**9)
    with ThreadPoolExecutor(16) as threads:
        for _ in threads.map(lambda _: ledger.settle(held(ledger, 10), call(output_tokens=3)), range(2000)):
            str(ledger)
    assert (ledger.calls, ledger.output_tokens) == (2000, 6000)


def test_a_thread_does_not_wait_for_a_call_in_an_event_loop() -> None:
    ledger = Ledger(max_total_output_tokens=100)
    with ThreadPoolExecutor(1) as pool:  # which may need this very thread to end
        pool.submit(held, ledger, 90, wait=False).result()
    with pytest.raises(SpendCapReached):
        held(ledger, 20)
    held(ledger, 10)
