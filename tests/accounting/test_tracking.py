"""The meter reserves before each call, and what it holds ends as the call did: settled, given back or kept."""

import asyncio
import contextvars
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import dspy
import pytest
from dspy.clients.base_lm import record_history
from dspy.dsp.utils.settings import settings
from dspy.lm15 import Config, Message, Request, Response, TextPart, Usage
from dspy.utils.callback import BaseCallback, with_callbacks
from dspy.utils.exceptions import (
    LMConfigurationError,
    LMNotConfiguredError,
    LMTimeoutError,
    LMTransportError,
    LMUnsupportedFeatureError,
)

import tale_dspy
from tale_dspy import SpendCapReached, track
from tale_dspy.accounting.calls import Call, CallListener
from tale_dspy.accounting.tracking import possibly_billed, under_cap
from tale_dspy.testing import Faults, Reply, ScriptedServer

KINDS = ["tale litellm", "tale auto", "dspy litellm", "dspy auto"]
LIMIT_S = 30.0


def lm_of(kind: str, url: str, model: str = "openai/scripted", **kwargs: Any) -> Any:
    owner, engine = kind.split()
    make = tale_dspy.LM if owner == "tale" else dspy.LM
    return make(model, engine=engine, api_base=url, api_key="k", **{"num_retries": 0} | kwargs)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def scripted() -> Iterator[Callable[..., ScriptedServer]]:
    servers: list[ScriptedServer] = []

    def start(reply: Any = "four words of text", **kwargs: Any) -> ScriptedServer:
        servers.append(ScriptedServer(reply, **kwargs).start())
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


def ask(lm: Any, asynchronous: bool, **kwargs: Any) -> Any:
    """Call an LM by either door, in a thread of its own."""
    job = (lambda: asyncio.run(lm.acall("q", **kwargs))) if asynchronous else (lambda: lm("q", **kwargs))
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(contextvars.copy_context().run, job).result(LIMIT_S)


def left(ledger: Any) -> int:
    """Output tokens that a call may still ask for."""
    room = 0
    for step in (1000, 100, 10, 1):
        try:
            while True:
                number = ledger.reserve(None, "q", {"max_tokens": room + step}, wait=False)
                ledger.release(number, possibly_billed=False)
                room += step
        except SpendCapReached:
            pass
    return room


# What a failed call leaves behind


@pytest.mark.parametrize(
    ("fault", "billed"),
    [
        ("bad_request", False),
        ("unauthorized", False),
        ("not_found", False),
        ("quota", False),
        ("rate_limited", False),
        ("server_error", True),
        ("dropped", True),
        ("malformed", True),
        ("hung", True),
    ],
)
@pytest.mark.parametrize("engine", ["litellm", "auto"])
@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_failed_call_stays_reserved_unless_it_was_refused(
    fault: str, billed: bool, engine: str, asynchronous: bool, scripted: Any
) -> None:
    seconds = 0.5 if fault == "hung" else 60
    lm = lm_of(f"tale {engine}", scripted(faults=Faults(**{fault: True})).url, max_tokens=60, timeout=seconds)
    with track(max_total_output_tokens=100) as ledger:
        with pytest.raises(dspy.LMError):
            ask(lm, asynchronous)
        assert left(ledger) == (40 if billed else 100)
    assert ledger.calls == 0


@pytest.mark.parametrize("engine", ["litellm", "auto"])
@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("host", ["127.0.0.1:9", "nowhere.invalid"])
def test_a_call_that_never_connected_holds_nothing(engine: str, asynchronous: bool, host: str) -> None:
    lm = lm_of(f"tale {engine}", f"http://{host}/v1", max_tokens=60)
    with track(max_total_output_tokens=100) as ledger:
        with pytest.raises(dspy.LMError):
            ask(lm, asynchronous)
        assert left(ledger) == 100


@pytest.mark.parametrize("bad", [{"n": "x"}, {"messages": [{"role": "user", "content": "\ud800"}]}])
def test_arguments_that_dspy_refuses_hold_nothing(bad: dict[str, Any], kind: str, scripted: Any) -> None:
    lm = lm_of(kind, scripted().url, max_tokens=60)
    with track(max_total_output_tokens=100) as ledger:
        with pytest.raises(ValueError, match=r"must be a positive integer|not valid Unicode"):
            lm(**bad)
        assert left(ledger) == 100


def caused(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "billed"),
    [
        (LMTimeoutError("late", status=408), True),
        (LMTransportError("reset"), True),
        (caused(LMTransportError("refused"), ConnectionRefusedError()), False),
        (caused(LMTransportError("no such host"), socket.gaierror()), False),
        (caused(LMTransportError("reset"), caused(LMTransportError("of before"), ConnectionRefusedError())), True),
        (dspy.LMProviderError("broken", status=200), True),
        (dspy.LMServerError("down", status=503), True),
        (dspy.LMRateLimitError("slow", status=429), False),
        (LMNotConfiguredError("no key"), False),
        (LMConfigurationError("odd"), False),
        (LMUnsupportedFeatureError("no tools"), False),
        (TypeError("no such argument"), False),
        (UnicodeDecodeError("utf-8", b"", 0, 1, "a reply that cannot be read"), True),
        (KeyboardInterrupt(), True),
        (asyncio.CancelledError(), True),
    ],
    ids=repr,
)
def test_what_may_be_billed(error: BaseException, billed: bool) -> None:
    assert possibly_billed(error) is billed


async def test_a_cancelled_call_stays_reserved(scripted: Any) -> None:
    lm = lm_of("tale auto", scripted(faults=Faults(hung=1.0)).url, max_tokens=60)
    with track(max_total_output_tokens=100) as ledger:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(lm.acall("q"), 0.2)
        assert left(ledger) == 40


def test_choices_answered_before_one_is_refused_stay_reserved(scripted: Any) -> None:
    # DSPy's own engine asks for three choices in three requests.
    server = scripted(lambda request: Reply("text") if request.n < 3 else Reply("no", status=400))
    with track(max_total_output_tokens=100) as ledger:
        with pytest.raises(dspy.LMError):
            lm_of("tale auto", server.url, max_tokens=20, n=3)("q")
        assert left(ledger) == 40


# What is reserved


def request_of(lm: Any, **config: Any) -> Request:
    return Request(model=lm.model, messages=(Message.user("q"),), config=Config(**config))


@pytest.mark.parametrize("engine", ["litellm", "auto", "lm15"])
@pytest.mark.parametrize("by_keyword", [False, True])
def test_an_explicit_request_reserves_its_own_allowance(engine: str, by_keyword: bool, scripted: Any) -> None:
    lm = lm_of(f"tale {engine}", scripted().url, max_tokens=9999)  # which DSPy ignores for a Request
    request = request_of(lm, max_tokens=60)
    with track(max_total_output_tokens=60) as ledger:
        lm(request=request) if by_keyword else lm(request)
        with pytest.raises(SpendCapReached, match="4 of max_total_output_tokens=60 spent"):
            lm(request_of(lm, max_tokens=57))
    assert (ledger.calls, ledger.output_tokens) == (1, 4)


def test_a_call_reserves_for_all_its_choices(kind: str, scripted: Any) -> None:
    lm = lm_of(kind, (server := scripted()).url, max_tokens=40)
    with pytest.raises(SpendCapReached, match="may need 120 output tokens"), track(max_total_output_tokens=100):
        lm("q", n=3)
    assert server.stats.requests == 0


def test_a_call_without_a_limit_reserves_4096(scripted: Any) -> None:
    with pytest.raises(SpendCapReached, match="may need 4096 output tokens"), track(max_total_output_tokens=4095):
        lm_of("tale auto", scripted().url)("q")


# The cache


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_cached_answer_is_served_although_the_cap_is_spent(kind: str, asynchronous: bool, scripted: Any) -> None:
    lm = lm_of(kind, (server := scripted()).url, max_tokens=60)
    ask(lm, asynchronous)
    with track(max_total_output_tokens=10) as ledger:
        assert ask(lm, asynchronous) == ["four words of text"]
        with pytest.raises(SpendCapReached):
            ask(lm, asynchronous, rollout_id=1, temperature=1.0)
    assert (ledger.cached_calls, server.stats.requests) == (1, 1)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_what_the_other_of_sync_and_async_wrote_is_no_hit(kind: str, asynchronous: bool, scripted: Any) -> None:
    lm = lm_of(kind, scripted().url, max_tokens=60)
    ask(lm, not asynchronous)
    with pytest.raises(SpendCapReached), track(max_total_output_tokens=10):
        ask(lm, asynchronous)


@pytest.mark.parametrize("cached", [{"cache": False}, {"api_base": "http://127.0.0.1:9/v1"}])
def test_a_call_that_may_not_use_the_cached_answer_is_refused(cached: dict[str, Any], scripted: Any) -> None:
    lm = lm_of("tale auto", scripted().url, max_tokens=60)
    lm("q")
    with pytest.raises(SpendCapReached), track(max_total_output_tokens=10):
        lm("q", **cached)


def test_a_cached_explicit_request_is_served_too(scripted: Any) -> None:
    lm = lm_of("tale auto", (server := scripted()).url)
    lm(request_of(lm, max_tokens=60))
    with track(max_total_output_tokens=10):
        assert lm(request_of(lm, max_tokens=60)).message.text == "four words of text"
    assert server.stats.requests == 1


# LMs of other makes


class Silent(dspy.LM):  # type: ignore[misc]
    """An LM that keeps no history, as one of a run does."""

    def update_history(self, entry: dict[str, Any]) -> None:
        pass


def test_a_call_that_is_never_recorded_counts_as_its_worst_case(scripted: Any) -> None:
    lm = Silent("openai/scripted", api_base=scripted().url, api_key="k", max_tokens=60)
    with track(max_total_output_tokens=100) as ledger:
        lm("q")
        assert left(ledger) == 40
    assert ledger.calls == 0


@pytest.mark.parametrize("replayed", [False, True])
def test_a_call_booked_a_moment_later_takes_the_place_of_its_worst_case(replayed: bool, scripted: Any) -> None:
    lm = Silent("openai/scripted", api_base=scripted().url, api_key="k", max_tokens=60)
    with track(max_total_output_tokens=100) as outer, track(max_total_output_tokens=100) as inner:
        lm("q")
        for sink in settings.caller_modules:
            assert isinstance(sink, CallListener)
            sink.add(Call(role="reason", model="m", output_tokens=4, cost_usd=0.0, replayed=replayed))
        assert left(outer) == left(inner) == (40 if replayed else 96)


class Inner:
    """An engine that asks another LM."""

    def __init__(self, lm: Any) -> None:
        self.lm = lm

    def complete(self, request: Request) -> Response:
        message = Message.assistant([TextPart(self.lm("inner")[0])])
        return Response(id=None, model=request.model, message=message, finish_reason="stop", usage=Usage())


def test_a_call_inside_a_call_does_not_wait_for_it(scripted: Any) -> None:
    inner = lm_of("tale auto", scripted().url, max_tokens=60)
    lm = tale_dspy.LM("fallback/x", engine=Inner(inner), max_tokens=60)
    with pytest.raises(SpendCapReached), track(max_total_output_tokens=100):
        ask(lm, asynchronous=False)


class Decider:
    """A client of another interface, as dspy.experimental.TypeSafe is."""

    supports_decision_requests = True
    model = "jev"
    callbacks: list[Any] = []  # noqa: RUF012

    def __init__(self) -> None:
        self.history: list[Any] = []

    @with_callbacks
    def __call__(self, state: str, questions: list[str]) -> list[str]:
        usage = {"prompt_tokens": 3, "completion_tokens": 2}
        if not settings.disable_history:
            record_history(self, {"response": {"usage": usage}, "usage": usage, "cache_hit": False, "outputs": ["yes"]})
        return ["yes"]


def test_a_decision_model_is_metered_too() -> None:
    with pytest.raises(SpendCapReached), track(max_total_output_tokens=4097) as ledger:
        Decider()("state", questions=["?"])
        Decider()("state", questions=["?"])
    assert (ledger.calls, ledger.output_tokens) == (1, 2)


# Blocks inside blocks


@pytest.mark.parametrize("refuses", [0, 1, 2])
def test_what_one_block_refuses_is_held_by_none_of_the_others(refuses: int, scripted: Any) -> None:
    lm = lm_of("tale auto", scripted().url, max_tokens=60)
    caps = [track(max_total_output_tokens=10 if i == refuses else 100) for i in range(3)]
    with caps[0] as outer, caps[1] as middle, caps[2] as inner:
        with pytest.raises(SpendCapReached) as stop:
            lm("q")
        ledgers = [outer, middle, inner]
        assert stop.value.ledger is ledgers[refuses]
        assert [left(ledger) for ledger in ledgers] == [10 if i == refuses else 100 for i in range(3)]


def test_choices_that_were_not_sent_are_held_by_no_block(scripted: Any) -> None:
    lm = lm_of("tale auto", scripted().url, max_tokens=40)
    with track(max_total_output_tokens=100) as outer, track(max_total_output_tokens=10):
        with pytest.raises(SpendCapReached):
            lm("q", n=2)
        assert left(outer) == 100


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_failed_call_stays_reserved_in_all_blocks(asynchronous: bool, scripted: Any) -> None:
    lm = lm_of("tale auto", scripted(faults=Faults(server_error=1.0)).url, max_tokens=60)
    with track(max_total_output_tokens=100) as outer, track(max_total_output_tokens=200) as inner:
        with pytest.raises(dspy.LMServerError):
            ask(lm, asynchronous)
        assert (left(outer), left(inner)) == (40, 140)


def test_a_cap_around_is_seen_from_within() -> None:
    assert not under_cap()
    with track():
        assert not under_cap()
        with track(max_usd=1.0), track():
            assert under_cap()
    assert not under_cap()


# The place among DSPy's callbacks


class Log(BaseCallback):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def on_lm_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        self.seen.append("start")

    def on_lm_end(self, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:
        self.seen.append("end")


def test_the_users_callbacks_are_kept(scripted: Any) -> None:
    log = Log()
    with dspy.context(callbacks=[log]), track(max_total_output_tokens=5000), track():
        lm_of("tale auto", scripted().url)("q")
        assert settings.callbacks[0] is log
    assert log.seen == ["start", "end"]


@pytest.mark.parametrize("off", [{"disable_history": True}, {"max_history_size": 0}])
def test_a_refused_call_leaves_the_settings_as_they_were(off: dict[str, Any], scripted: Any) -> None:
    lm = lm_of("tale auto", scripted().url, max_tokens=60)
    with dspy.context(**off), track(max_total_output_tokens=10), track():
        with pytest.raises(SpendCapReached):
            lm("q")
        assert {name: settings[name] for name in off} == off


def test_an_error_while_reserving_stops_the_call_and_is_raised_as_itself(scripted: Any) -> None:
    endless: list[Any] = []
    endless.append(endless)
    server = scripted()
    with pytest.raises(ValueError, match="Circular reference"), track(max_usd=1.0):
        lm_of("tale auto", server.url, "openai/gpt-4o-mini")(messages=[{"role": "user", "content": endless}])
    assert server.stats.requests == 0


def test_a_price_of_the_block_holds_for_the_calls_of_a_run_too(scripted: Any) -> None:
    # Once "$0.000000 + 3 unpriced calls": what a run hands on was priced nowhere.
    lm = tale_dspy.LM("openai/no-such-model", api_base=scripted(Reply("a b", prompt_tokens=3)).url, api_key="k")
    examples = [dspy.Example(question=f"{n}?", answer="a").with_inputs("question") for n in range(3)]
    with tale_dspy.track(price=tale_dspy.Price(1.0, 10.0)) as ledger:
        tale_dspy.evaluate(tale_dspy.VanillaCoT("question -> answer"), examples, lm=lm)
    assert (ledger.spent_usd, ledger.unpriced_calls, ledger.calls) == (3 * 23.0, 0, 3)
