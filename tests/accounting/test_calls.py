"""Calls hold what the server itself counted, whatever engine, cache or setting stands in between."""

import asyncio
import json
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dspy
import pytest
from dspy.clients.base_lm import GLOBAL_HISTORY

import tale_dspy
from tale_dspy.accounting.calls import Call, current_role, record_calls, role, total_or_none
from tale_dspy.accounting.receipts import Receipt, status_of
from tale_dspy.backends.prices import Price
from tale_dspy.testing import Faults, Reply, ScriptedServer

MakeLM = Callable[..., Any]

KINDS = ["tale litellm", "tale auto", "tale lm15", "dspy litellm", "dspy auto"]
KNOWN = "openai/gpt-4o-mini"  # a model with a price and a tokenizer


def lm_of(kind: str, server: ScriptedServer, model: str = "openai/scripted", **kwargs: Any) -> Any:
    owner, engine = kind.split()
    make = tale_dspy.LM if owner == "tale" else dspy.LM
    return make(model, engine=engine, api_base=server.url, api_key="sk-secret-1", **kwargs)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["tale litellm", "tale auto", "dspy auto"])
def keeping(request: pytest.FixtureRequest) -> str:
    """A kind of LM whose cache hits still say what they had used."""
    return str(request.param)


@pytest.fixture
def scripted() -> Iterator[Callable[..., ScriptedServer]]:
    servers: list[ScriptedServer] = []

    def start(reply: Any, **kwargs: Any) -> ScriptedServer:
        servers.append(ScriptedServer(reply, **kwargs).start())
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


def sums(calls: list[Call]) -> tuple[Any, Any]:
    return total_or_none([c.prompt_tokens for c in calls]), total_or_none([c.output_tokens for c in calls])


def counted(server: ScriptedServer) -> tuple[int, int]:
    return server.stats.prompt_tokens, server.stats.completion_tokens


def test_a_call_holds_the_servers_own_counts(kind: str, server: Any) -> None:
    lm = lm_of(kind, server)
    with record_calls() as calls:
        for question in list(server.bank)[:5]:
            lm(question)
    assert sums(calls) == counted(server)
    assert [c.usage_source for c in calls] == ["provider"] * 5


async def test_an_awaited_call_holds_the_servers_own_counts(kind: str, server: Any) -> None:
    lm = lm_of(kind, server)
    with record_calls() as calls:
        await asyncio.gather(*(lm.acall(question) for question in list(server.bank)[:10]))
    assert sums(calls) == counted(server)
    assert len(calls) == 10


def test_the_price_of_a_call_is_booked_alike_on_all_engines(kind: str, scripted: Any) -> None:
    server = scripted(Reply("one two three four", prompt_tokens=1000))
    with record_calls() as calls:
        lm_of(kind, server, KNOWN)("q")
    assert calls[0].cost_usd == pytest.approx(1000 * 0.15e-6 + 4 * 0.6e-6)


def test_a_memory_hit_costs_nothing_and_says_what_it_had_used(keeping: str, scripted: Any) -> None:
    server = scripted(Reply("so [[4]]", reasoning="let me think", cached_prompt_tokens=1))
    lm = lm_of(keeping, server, KNOWN)
    with record_calls() as calls:
        lm("what is 2 + 2")
        lm("what is 2 + 2")
    paid, hit = calls
    assert (paid.cached, hit.cached, hit.cost_usd, hit.saved_cost_usd) == (False, True, 0.0, paid.cost_usd)
    assert hit.output_tokens == paid.output_tokens == 5
    assert (hit.reasoning_tokens, hit.cached_prompt_tokens, hit.usage_source) == (3, 1, "provider")
    assert server.stats.requests == 1


@pytest.mark.parametrize("engine", ["litellm", "auto"])
@pytest.mark.parametrize("n", [1, 3])
async def test_an_awaited_hit_is_exact_too(engine: str, n: int, scripted: Any) -> None:
    server = scripted(lambda request: Reply(f"{'word ' * (request.n + request.choice)}"))
    lm = lm_of(f"tale {engine}", server, KNOWN, n=n)
    with record_calls() as calls:
        await lm.acall("q")
        await lm.acall("q")
    assert calls[0].output_tokens == calls[1].output_tokens == server.stats.completion_tokens
    assert calls[0].prompt_tokens == calls[1].prompt_tokens == server.stats.prompt_tokens
    assert [c.cached for c in calls] == [False, True]


@pytest.mark.parametrize("engine", ["litellm", "auto"])
async def test_a_call_does_not_hit_what_the_other_of_sync_and_async_wrote(engine: str, scripted: Any) -> None:
    server = scripted("so [[4]]")
    lm = lm_of(f"tale {engine}", server)
    with record_calls() as calls:
        lm("q")
        await lm.acall("q")
    assert sums(calls) == counted(server)
    assert [c.cached for c in calls] == [False, False]


@pytest.mark.parametrize("engine", ["litellm", "auto"])
def test_a_disk_hit_in_another_process_is_exact(engine: str, scripted: Any, tmp_path: Path) -> None:
    server = scripted(Reply("so [[4]]", reasoning="well then"))
    script = textwrap.dedent(f"""
        import asyncio, json, sys
        import dspy, tale_dspy
        from tale_dspy.accounting.calls import record_calls
        dspy.configure_cache(disk_cache_dir={str(tmp_path)!r}, enable_memory_cache=False)
        lm = tale_dspy.LM({KNOWN!r}, engine={engine!r}, api_base={server.url!r}, api_key="k")
        with record_calls() as calls:
            lm("q")
            asyncio.run(lm.acall("q"))
        sys.stdout.write(json.dumps([c.to_json() for c in calls]))
    """)
    ask = [sys.executable, "-c", script]
    first, second = (json.loads(subprocess.run(ask, check=True, capture_output=True).stdout) for _ in range(2))
    names = ("output_tokens", "prompt_tokens", "reasoning_tokens", "usage_source", "text")
    assert [[c[k] for k in names] for c in first] == [[c[k] for k in names] for c in second]
    assert [c["saved_cost_usd"] for c in second] == [c["cost_usd"] for c in first]
    assert [c["cached"] for c in first + second] == [False, False, True, True]
    assert server.stats.requests == 2


@pytest.mark.parametrize(("model", "source", "tokens"), [(KNOWN, "tokenizer", 5), ("openai/x", "unknown", None)])
def test_a_hit_whose_usage_dspy_has_erased_is_counted_with_the_tokenizer_and_marked(
    model: str, source: str, tokens: int | None, scripted: Any
) -> None:
    lm = lm_of("dspy litellm", scripted(Reply("The answer is four", completion_tokens=99)), model)
    with record_calls() as calls:
        lm("q")
        lm("q")
    assert (calls[1].cached, calls[1].usage_source, calls[1].output_tokens) == (True, source, tokens and 4)
    assert (calls[1].prompt_tokens, calls[1].cost_usd) == (None, 0.0)


@pytest.mark.parametrize(("model", "source", "tokens"), [(KNOWN, "tokenizer", 4), ("openai/x", "unknown", None)])
def test_without_usage_nothing_is_ever_zero(kind: str, model: str, source: str, tokens: Any, scripted: Any) -> None:
    with record_calls() as calls:
        lm_of(kind, scripted(Reply("The answer is four", usage=False)), model)("q")
    call = calls[0]
    assert (call.output_tokens, call.usage_source) == (tokens, source)
    assert (call.prompt_tokens, call.reasoning_tokens, call.cost_usd) == (None, None, None)


@pytest.mark.parametrize("engine", ["litellm", "auto"])
def test_without_usage_a_hit_is_still_known_as_one(engine: str, scripted: Any) -> None:
    lm = lm_of(f"tale {engine}", scripted(Reply("The answer is four", usage=False)), KNOWN)
    with record_calls() as calls:
        lm("q")
        lm("q")
    assert [(c.cached, c.output_tokens, c.cost_usd) for c in calls] == [(False, 4, None), (True, 4, 0.0)]


def test_an_empty_reply_without_usage_has_an_unknown_length(kind: str, scripted: Any) -> None:
    with record_calls() as calls:
        lm_of(kind, scripted(Reply(None, usage=False)), KNOWN)("q")
    assert (calls[0].text or None, calls[0].output_tokens, calls[0].usage_source) == (None, None, "unknown")


def test_an_empty_reply_keeps_the_tokens_the_provider_billed(kind: str, scripted: Any) -> None:
    server = scripted("what was thought", faults=Faults(null_content=1.0))
    with record_calls() as calls:
        lm_of(kind, server)("q")
    assert (calls[0].text or None, calls[0].output_tokens, calls[0].usage_source) == (None, 3, "provider")


def test_a_reply_of_no_tokens_that_the_provider_reports_is_zero(kind: str, scripted: Any) -> None:
    with record_calls() as calls:
        lm_of(kind, scripted(Reply("", completion_tokens=0)))("q")
    assert (calls[0].output_tokens, calls[0].usage_source) == (0, "provider")


def test_all_choices_are_counted_and_the_first_is_the_text(kind: str, scripted: Any) -> None:
    server = scripted(lambda request: f"choice {request.n} {request.choice}")
    with record_calls() as calls:
        lm_of(kind, server, n=3)("q")
    assert len(calls) == 1
    assert sums(calls) == counted(server)
    assert calls[0].text is not None
    assert calls[0].text.startswith("choice")


def test_choices_without_usage_are_counted_one_by_one(kind: str, scripted: Any) -> None:
    server = scripted(Reply("4", usage=False))  # joined, "444" would be one token
    with record_calls() as calls:
        lm_of(kind, server, KNOWN, n=3)("q")
    assert calls[0].output_tokens == 3


def test_attempts_that_dspy_repeats_are_not_counted_twice(kind: str, scripted: Any) -> None:
    server = scripted("four words of text", faults=Faults(rate_limited=1.0))
    with record_calls() as calls:
        lm_of(kind, server)("q")
    assert sums(calls) == counted(server)
    assert (len(calls), server.stats.requests) == (1, 2)


def test_a_refused_call_leaves_no_trace(kind: str, scripted: Any) -> None:
    server = scripted("x", faults=Faults(bad_request=True))
    with record_calls() as calls, pytest.raises(dspy.LMError):
        lm_of(kind, server)("q")
    assert calls == []


def test_thinking_is_distinguished_from_text(kind: str, scripted: Any) -> None:
    with record_calls() as calls:
        lm_of(kind, scripted(Reply("[[4]]", reasoning="two and two")))("q")
    assert (calls[0].text, calls[0].thought, calls[0].reasoning_tokens) == ("[[4]]", "two and two", 3)


def test_a_cut_reply_says_so(kind: str, scripted: Any) -> None:
    with record_calls() as calls:
        lm_of(kind, scripted(Reply("so far so", finish_reason="length")), max_tokens=3)("q")
    assert calls[0].finish_reason == "length"
    assert status_of(calls, answered=False) == "truncated"


def test_the_snapshot_that_answered_is_reported(kind: str, scripted: Any) -> None:
    with record_calls() as calls:
        lm_of(kind, scripted(Reply("x", model="scripted-2025-01-01")))("q")
    assert calls[0].response_model == "scripted-2025-01-01"


def test_a_receipt_of_a_module_equals_the_servers_counts(kind: str, server: Any) -> None:
    program = tale_dspy.TaleEP("question -> answer")
    with dspy.context(lm=lm_of(kind, server)):
        receipt = tale_dspy.receipt(program(question=next(iter(server.bank))))
    assert (receipt.estimate_tokens or 0) + (receipt.output_tokens or 0) == server.stats.completion_tokens
    assert receipt.prompt_tokens == server.stats.prompt_tokens
    assert [c.role for c in receipt.calls] == ["estimate", "reason"]


# History


OFF = [{"disable_history": True}, {"max_history_size": 0}, {"disable_history": True, "max_history_size": 0}]


@pytest.mark.parametrize("off", OFF)
def test_a_user_without_history_gets_exact_receipts_and_still_no_history(
    off: dict[str, Any], kind: str, server: Any
) -> None:
    lm, program = lm_of(kind, server), dspy.Predict("question -> answer")
    program.history.append("kept")
    everywhere = len(GLOBAL_HISTORY)
    with dspy.context(lm=lm, **off):
        with record_calls() as calls:
            program(question="q")
        settings_after = {name: dspy.settings[name] for name in off}
    assert sums(calls) == counted(server)
    assert (lm.history, program.history, settings_after) == ([], ["kept"], off)
    assert len(GLOBAL_HISTORY) - everywhere == (0 if "disable_history" in off else 1)


@pytest.mark.parametrize("off", OFF)
async def test_concurrent_calls_leave_no_history_either(off: dict[str, Any], server: Any) -> None:
    lm = lm_of("tale auto", server)
    with dspy.context(**off), record_calls() as calls:
        await asyncio.gather(*(lm.acall(question) for question in list(server.bank)[:20]))
        assert dspy.settings.disable_history is off.get("disable_history", False)
    assert sums(calls) == counted(server)
    assert lm.history == []


def test_a_failed_call_leaves_the_settings_as_they_were(scripted: Any) -> None:
    lm = lm_of("tale auto", scripted("x", faults=Faults(bad_request=True)))
    with dspy.context(disable_history=True), record_calls():
        with pytest.raises(dspy.LMError):
            lm("q")
        assert dspy.settings.disable_history is True


def test_the_users_history_is_filled_as_without_us(kind: str, server: Any) -> None:
    lm, program = lm_of(kind, server, temperature=0.7), dspy.Predict("question -> answer")
    with dspy.context(lm=lm), record_calls():
        program(question="q", config={"rollout_id": 7})
    assert lm.history == program.history == GLOBAL_HISTORY[-1:]
    assert lm.history[0]["kwargs"]["rollout_id"] == 7


def test_the_users_history_shows_no_namespace(server: Any) -> None:
    lm = lm_of("tale auto", server)
    lm("q")
    lm("q", cache=False)
    assert [entry["kwargs"] for entry in lm.history] == [{}, {"cache": False}]


# Sinks and roles


def test_nested_blocks_both_hear_of_a_call(server: Any) -> None:
    lm = lm_of("tale auto", server)
    with record_calls() as outer:
        lm("a")
        with record_calls() as inner:
            lm("b")
        lm("c")
    assert (len(outer), len(inner)) == (3, 1)


def test_a_role_is_kept_by_threads_of_dspy(server: Any) -> None:
    lm = lm_of("tale auto", server)

    class Two(dspy.Module):  # type: ignore[misc]
        def forward(self, question: str) -> Any:
            with role("estimate"):
                lm(question)
            return lm(f"then {question}")

    with record_calls() as calls:
        dspy.Parallel(num_threads=4, disable_progress_bar=True)([(Two(), {"question": str(i)}) for i in range(8)])
    assert sorted(c.role for c in calls) == ["estimate"] * 8 + ["reason"] * 8


def test_the_metric_wins_over_every_role_within() -> None:
    with role("metric"), role("estimate"):
        assert current_role() == "metric"
    assert current_role() == "reason"


def test_a_call_is_priced_anew(scripted: Any) -> None:
    with record_calls() as calls:
        lm_of("tale auto", scripted(Reply("a b", prompt_tokens=3)))("q")
    assert [c.priced(Price(1.0, 10.0)).cost_usd for c in calls] == [23.0]


def test_a_given_price_needs_known_counts(scripted: Any) -> None:
    with record_calls() as calls:
        lm_of("tale auto", scripted(Reply("a b", usage=False)))("q")
    assert calls[0].priced(Price(1.0, 10.0)).cost_usd is None


def test_no_receipt_holds_the_key(kind: str, server: Any) -> None:
    lm = lm_of(kind, server, extra_headers={"X-Auth": "sk-secret-1"}) if kind == "tale litellm" else lm_of(kind, server)
    with record_calls() as calls:
        lm("q")
    receipt = Receipt(program="P", calls=calls)
    assert "sk-secret-1" not in json.dumps(receipt.to_json()) + str(receipt) + repr(receipt)


# Weight


@pytest.mark.parametrize(
    "module", ["tale_dspy", "tale_dspy.accounting.receipts", "tale_dspy.errors", "tale_dspy.accounting.ledger"]
)
def test_importing_loads_neither_dspy_nor_litellm(module: str) -> None:
    script = f"import sys, {module}; sys.exit(bool({{'dspy', 'litellm', 'tiktoken'}} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
