import statistics
from collections.abc import Callable

import pytest
from serving import ask, outcome, request

from tale_dspy.errors import UsageError
from tale_dspy.testing import Faults, Reply, ScriptedServer
from tale_dspy.testing.faults import SHARES


@pytest.mark.parametrize("fault", SHARES)
def test_a_fault_strikes_the_first_attempts_of_a_prompt_only(fault: str) -> None:
    with ScriptedServer("a b c d", faults=Faults(**{fault: 1.0}, tries=2)) as server:
        outcomes = [outcome(server, "q", timeout=0.2 if fault == "hung" and n < 2 else 60) for n in range(3)]
    expected = {"rate_limited": "errors", "server_error": "errors", "null_content": "answered", "cut": "answered"}
    assert outcomes == [expected.get(fault, fault)] * 2 + ["answered"]
    assert server.stats.by_fault == {fault: 2}
    assert vars(server.stats)[outcomes[0]] == outcomes.count(outcomes[0])


@pytest.mark.parametrize(("fault", "lost"), [("dropped", 4), ("hung", 4), ("malformed", 4), ("server_error", 0)])
def test_lost_tokens_are_counted_apart(fault: str, lost: int) -> None:
    with ScriptedServer("a b c d", faults=Faults(**{fault: 1.0})) as server:
        outcome(server, "q", timeout=0.2 if fault == "hung" else 60)
    stats = server.stats
    assert (stats.lost_tokens, stats.lost_prompt_tokens) == (lost, lost // 4)
    assert (stats.completion_tokens, stats.prompt_tokens, stats.in_flight, stats.abandoned) == (0, 0, 0, 0)


def test_null_content_is_paid_for() -> None:
    with ScriptedServer("a b c d", faults=Faults(null_content=1.0)) as server:
        answer = ask(server)
    assert answer.text is None
    assert answer.json["usage"]["completion_tokens"] == server.stats.completion_tokens == 4


@pytest.mark.parametrize(("given", "tokens"), [(None, 2), (100, 50)])
def test_a_cut_reply_ends_half_way(given: int | None, tokens: int) -> None:
    with ScriptedServer(Reply("a b\nc d", completion_tokens=given), faults=Faults(cut=1.0)) as server:
        answer = ask(server)
    assert (answer.text, answer.json["choices"][0]["finish_reason"]) == ("a b", "length")
    assert server.stats.completion_tokens == tokens


@pytest.mark.parametrize(
    ("fault", "status", "kind", "code"),
    [
        ("unauthorized", 401, "invalid_request_error", "invalid_api_key"),
        ("bad_request", 400, "invalid_request_error", "invalid_value"),
        ("not_found", 404, "invalid_request_error", "model_not_found"),
        ("quota", 429, "insufficient_quota", "insufficient_quota"),
    ],
)
def test_a_switch_refuses_every_attempt(fault: str, status: int, kind: str, code: str) -> None:
    with ScriptedServer("x", faults=Faults(**{fault: True})) as server:
        answers = [ask(server) for _ in range(3)]
    assert {answer.status for answer in answers} == {status}
    error = answers[0].json["error"]
    assert (error["type"], error["code"]) == (kind, code)
    assert server.stats.errors == 3


@pytest.mark.parametrize(
    ("seconds", "header"), [(0, "0"), (2, "2"), (0.25, "0.25"), (86400, "86400"), (1e7, "10000000")]
)
def test_a_rate_limit_says_when_to_come_back(seconds: float, header: str) -> None:
    with ScriptedServer("x", faults=Faults(rate_limited=1.0, retry_after=seconds)) as server:
        answer = ask(server)
    assert (answer.status, answer.headers["retry-after"]) == (429, header)
    assert answer.json["error"]["code"] == "rate_limit_exceeded"


def test_shares_are_disjoint_and_of_about_the_asked_size() -> None:
    faults = Faults(dropped=0.3, hung=0.1, cut=0.2)
    struck = [faults.strike(request(f"q {n}"), f"q {n}") for n in range(2000)]
    assert statistics.fmean(fault == "dropped" for fault in struck) == pytest.approx(0.3, abs=0.04)
    assert statistics.fmean(fault is None for fault in struck) == pytest.approx(0.4, abs=0.04)
    assert struck == [faults.strike(request(f"q {n}"), f"q {n}") for n in range(2000)]
    assert struck != [Faults(dropped=0.3, hung=0.1, cut=0.2, seed=1).strike(request(""), f"q {n}") for n in range(2000)]


def test_faults_can_be_kept_to_some_prompts_and_to_all_attempts() -> None:
    with ScriptedServer("x", faults=Faults(server_error=1.0, tries=None, only="bad")) as server:
        assert [ask(server, prompt).status for prompt in ("good", "a bad one", "a bad one")] == [200, 500, 500]


@pytest.mark.parametrize(
    "build",
    [
        lambda: Faults(hung=1.5),
        lambda: Faults(hung=float("nan")),
        lambda: Faults(hung=0.6, cut=0.6),
        lambda: Faults(tries=0),
        lambda: Faults(retry_after=-1),
    ],
)
def test_impossible_faults_are_refused(build: Callable[[], object]) -> None:
    with pytest.raises(UsageError):
        build()
