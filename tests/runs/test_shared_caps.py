"""Caps that several runs share: each gets what those before it have left, what may be billed included."""

from typing import Any

import dspy
import pytest

import tale_dspy
from tale_dspy.accounting.calls import Call
from tale_dspy.errors import BackendError, SpendCapReached, UsageError
from tale_dspy.runs.shared_caps import SharedCaps
from tale_dspy.testing import Faults, ScriptedServer

QUESTIONS = [dspy.Example(question=f"{n}?", answer=str(n)).with_inputs("question") for n in range(4)]
PRICE = tale_dspy.Price(input=0.0, output=0.001)


def call(**fields: Any) -> Call:
    return Call(**{"role": "reason", "model": "m", "text": "a", "usage_source": "provider", **fields})


def evaluate(caps: SharedCaps, server: ScriptedServer, **options: Any) -> Any:
    lm = tale_dspy.LM("openai/x", api_base=server.url, api_key="k", engine="auto", cache=False, max_tokens=10)
    program = tale_dspy.VanillaCoT("question -> answer")
    return caps.evaluate(program, QUESTIONS, **{"lm": lm, "price": PRICE, "retries": 0, **options})


def test_each_run_gets_what_those_before_have_left() -> None:
    caps = SharedCaps(max_usd=2.0, max_total_output_tokens=25)
    for left_usd, left_tokens in ((2.0, 25), (1.5, 15), (1.0, 5)):
        assert caps.left() == {"max_usd": left_usd, "max_total_output_tokens": left_tokens}
        with caps.next_ledger() as ledger:
            ledger.book(call(cost_usd=0.5, output_tokens=10))
    with pytest.raises(SpendCapReached, match="nothing is left of max_total_output_tokens") as reached:
        caps.left()
    assert reached.value.ledger.spent_usd == 1.5 and caps.ledger.roles["reason"].calls == 3


def test_no_cap_is_never_reached() -> None:
    caps = SharedCaps()
    with caps.next_ledger() as ledger:
        ledger.book(call(cost_usd=1e9, output_tokens=10**9))
    assert caps.left() == {"max_usd": None, "max_total_output_tokens": None}


@pytest.mark.parametrize("cap", [{"max_usd": 0}, {"max_total_output_tokens": -1}])
def test_a_cap_of_nothing_is_refused(cap: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"max_\w+ must be a number above 0"):
        SharedCaps(**cap)


def test_a_run_cannot_bring_caps_of_its_own() -> None:
    with pytest.raises(UsageError, match="are those of the SharedCaps"):
        SharedCaps().evaluate(None, [], max_usd=1)


def test_calls_that_were_dropped_and_may_be_billed_count_for_the_runs_after() -> None:
    caps = SharedCaps(max_usd=0.065)  # six worst cases of ten tokens
    with ScriptedServer("[[1]]", faults=Faults(dropped=1.0, tries=None)) as server:
        with pytest.raises(BackendError, match="no question could be answered"):
            evaluate(caps, server, concurrency=1)
        assert caps.ledger.possibly_usd == pytest.approx(0.04)
        assert caps.left()["max_usd"] == pytest.approx(0.025)  # what searches and blocks of `track` get
        with pytest.raises(SpendCapReached, match=r"of max_usd=0\.065 spent"):
            evaluate(caps, server, concurrency=1)
        assert server.stats.requests == 6


def test_a_run_that_a_cap_ended_raises_with_the_sum_of_all() -> None:
    caps = SharedCaps(max_total_output_tokens=30)
    with ScriptedServer("[[1]]") as server:
        assert evaluate(caps, server, concurrency=1).summary["n"] == 4
        spent = caps.ledger.output_tokens
        with pytest.raises(SpendCapReached, match="of max_total_output_tokens=30 spent"):
            for _ in range(9):
                evaluate(caps, server, concurrency=1)
    assert spent < caps.ledger.output_tokens == server.stats.completion_tokens <= 30


def test_a_partial_run_is_returned_where_that_is_allowed() -> None:
    with ScriptedServer("[[1]]") as server:
        run = evaluate(SharedCaps(max_total_output_tokens=11), server, concurrency=1, allow_partial=True)
    assert run.stopped == "cap" and 0 < len(run.records) < 4
