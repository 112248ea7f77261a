from concurrent.futures import ThreadPoolExecutor

import pytest
from serving import ask, outcome, send, until

from tale_dspy.testing import Faults, ScriptedServer, ServerStats

# ---- counts


def test_stats_count_every_answer_before_the_client_has_it(echo: ScriptedServer) -> None:
    for number in range(1, 6):
        ask(echo, f"question {number}")
        assert (echo.stats.answered, echo.stats.in_flight) == (number, 0)
    assert (echo.stats.prompt_tokens, echo.stats.completion_tokens) == (10, 20)


def test_stats_are_exact_under_concurrent_clients() -> None:
    faults = Faults(server_error=0.2, dropped=0.2, malformed=0.2)
    with ScriptedServer("one two three", faults=faults) as server, ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda number: outcome(server, f"q {number}"), range(400)))
    stats = server.stats
    assert stats.requests == 400 == stats.answered + stats.errors + stats.dropped + stats.malformed
    assert (stats.completion_tokens, stats.lost_tokens) == (3 * stats.answered, 3 * (stats.dropped + stats.malformed))
    assert sum(stats.by_fault.values()) == 400 - stats.answered
    assert all(50 < stats.by_fault[name] < 110 for name in ("server_error", "dropped", "malformed"))


def test_waiting_requests_are_in_flight_together() -> None:
    with ScriptedServer("x", latency=1.0) as server, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: ask(server, str(number)), range(8)))
    assert (server.stats.max_in_flight, server.stats.in_flight, server.stats.connections) == (8, 0, 8)


def test_kinds_are_counted_apart(echo: ScriptedServer) -> None:
    ask(echo, "estimate the minimum number of tokens")
    ask(echo, "use less than 50 tokens")
    ask(echo, "use less than 50 tokens")
    kinds = echo.stats.by_kind
    assert {name: kind.requests for name, kind in kinds.items()} == {"estimate": 1, "budget": 2}
    assert kinds["budget"].completion_tokens == 14


def test_a_retry_is_a_repeat_after_a_failed_attempt() -> None:
    with ScriptedServer("x", faults=Faults(server_error=1.0)) as server:
        statuses = [ask(server, "same").status for _ in range(3)]
    assert statuses == [500, 200, 200]
    assert (server.stats.retries, server.stats.repeats) == (1, 2)


def test_a_client_that_leaves_has_abandoned_its_request() -> None:
    with ScriptedServer("lost words", latency=60) as server:
        assert outcome(server, "q", timeout=0.1) == "hung"
        until(lambda: server.stats.abandoned == 1)
        assert (server.stats.in_flight, server.stats.lost_tokens, server.stats.lost_prompt_tokens) == (0, 2, 1)


def test_reset_zeroes_everything_but_leaves_old_requests_on_the_old_counts(echo: ScriptedServer) -> None:
    ask(echo, "same")
    old = echo.stats
    echo.reset()
    ask(echo, "same")
    assert (old.requests, echo.stats.requests, echo.stats.repeats) == (1, 1, 0)
    assert [(request.n, request.seen) for request in echo.requests] == [(1, 0)]


def test_a_request_in_flight_at_a_reset_does_not_show_up_in_the_new_counts() -> None:
    with ScriptedServer("x", latency=0.3) as server, ThreadPoolExecutor(1) as pool:
        pending = pool.submit(ask, server)
        until(lambda: server.stats.in_flight == 1)
        server.reset()
        assert pending.result().status == 200
        assert server.stats.to_json() == ServerStats().to_json()


# ---- records


def test_requests_keep_bodies_and_headers_but_no_credentials(echo: ScriptedServer) -> None:
    secrets = {"Authorization": "Bearer sk-secret", "api-key": "sk-secret", "Cookie": "sk-secret", "X-Trace": "7"}
    body = {"messages": [{"role": "user", "content": "hi"}], "seed": 3}
    send(echo, "POST", "/chat/completions", body, **secrets)
    (logged,) = echo.requests
    assert (logged.body, logged.headers["x-trace"], logged.authorized) == (body, "7", True)
    assert "sk-secret" not in repr(vars(echo)) + repr(logged)


def test_a_request_without_a_key_is_not_authorized(echo: ScriptedServer) -> None:
    ask(echo)
    assert not echo.requests[0].authorized


@pytest.mark.parametrize(("record", "kept"), [(0, []), (2, ["b", "c"]), (9, ["a", "b", "c"])])
def test_only_the_last_requests_are_kept(record: int, kept: list[str]) -> None:
    with ScriptedServer("x", record=record) as server:
        for prompt in "abc":
            ask(server, prompt)
        assert [request.prompt for request in server.requests] == kept
