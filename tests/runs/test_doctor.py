"""What an endpoint is found to do with a key, a budget and a reasoning control."""

import json
from typing import Any

import pytest

import tale_dspy
from tale_dspy import Price, SpendCapReached
from tale_dspy.runs.doctor import ANSWER, BUDGETS, BURST, QUESTION, Reading, examine, expected_price
from tale_dspy.testing import Faults, Reply, Request, ScriptedServer, SolverReply, ThinkingReply

SOLVER = SolverReply({QUESTION: ANSWER}, wrong=0.0)


def lm_of(server: ScriptedServer, model: str = "openai/s") -> Any:
    return tale_dspy.LM(model, api_base=server.url, api_key="sk-do-not-tell", engine="auto", num_retries=0)


def test_a_model_without_a_control_is_asked_in_the_prompt_and_with_a_cap() -> None:
    with ScriptedServer(SOLVER) as server:
        lm = lm_of(server)
        calls, usd = expected_price(lm, Price(1e-6, 1e-5))
        report = examine(lm, price=Price(1e-6, 1e-5))
        assert server.stats.requests == calls == report.calls == 1 + 8 + BURST
        cost = server.stats.prompt_tokens * 1e-6 + server.stats.completion_tokens * 1e-5
    assert report.works and report.cost_usd == pytest.approx(cost) and usd is not None and report.cost_usd < usd
    assert (report.family, report.auto, report.usage_source) == (None, "prompt", "provider")
    assert report.reports_reasoning is False
    assert [(r.mode, r.budget) for r in report.readings] == [(m, b) for m in ("prompt", "cap") for b in BUDGETS]
    assert all(r.right and r.within_budget for r in report.readings if r.budget >= 180)
    verdicts = report.verdicts()
    assert (
        verdicts["prompt"].startswith("obeyed: kept at")
        and "no reasoning control of openai/s is known" in verdicts["native"]
    )
    assert (report.burst, report.refused, report.limits) == (BURST, 0, None)
    assert "do-not-tell" not in json.dumps(report.to_json())


def test_a_control_is_sent_and_its_thinking_reported() -> None:
    def reply(request: Request) -> Reply:
        thought = request.body.get("thinking_token_budget")
        return ThinkingReply(SOLVER, thought=thought, room=2000)(request) if thought else SOLVER(request)

    with ScriptedServer(reply) as server:
        report = examine(lm_of(server, "hosted_vllm/qwen3-8b"))
    native = [r for r in report.readings if r.mode == "native"]
    assert (report.family, report.thinks, report.auto, report.reports_reasoning) == ("vLLM", True, "native", True)
    assert [(r.budget, r.reasoning_tokens) for r in native] == [(b, b) for b in (128, 256, 512, 1024)]
    assert native[0].reasoning_params == {"thinking_token_budget": 128} and report.verdicts()["native"].startswith(
        "obeyed"
    )


def test_a_model_that_does_not_heed_its_budget_is_found_out() -> None:
    with ScriptedServer(Reply("So.\nAnswer: [[366]]", completion_tokens=300)) as server:
        report = examine(lm_of(server))
    assert report.verdicts()["prompt"] == (
        "no effect seen: kept at 1 of 4 budgets, 300 tokens at 20, 300 at 540; 4 of 4 replies skip their reasoning"
    )


def test_a_model_that_drops_its_reasoning_under_small_budgets_is_found_out() -> None:
    def reply(request: Request) -> Reply:
        short = "under 20 tokens" in request.prompt or "under 60 tokens" in request.prompt
        return Reply("Answer: [[3]]", completion_tokens=5) if short else SOLVER(request)

    with ScriptedServer(reply) as server:
        report = examine(lm_of(server))
    assert [r.skipped for r in report.readings if r.mode == "prompt"] == [True, True, False, False]
    assert report.verdicts()["prompt"].endswith("; 2 of 4 replies skip their reasoning")


@pytest.mark.parametrize("fault", ["unauthorized", "not_found", "quota"])
def test_a_refused_key_or_model_is_told_after_one_call(fault: str) -> None:
    with ScriptedServer(SOLVER, faults=Faults(**{fault: True})) as server:
        report = examine(lm_of(server))
        assert server.stats.requests == 1
    assert (
        not report.works
        and report.error
        and report.readings == ()
        and report.to_json()["verdicts"].keys() == {"native"}
    )


def test_calls_that_are_refused_in_a_burst_are_counted() -> None:
    with ScriptedServer(SOLVER, faults=Faults(rate_limited=1.0, tries=None, only="What is 7")) as server:
        report = examine(lm_of(server))
    assert (report.works, report.burst, report.refused) == (True, BURST, 1)


def test_missing_usage_and_refused_budgets_are_no_numbers() -> None:
    def reply(request: Request) -> Reply:
        return Reply("no", status=400) if "must stay under" in request.prompt else Reply("Answer: [[5]]", usage=False)

    with ScriptedServer(reply) as server:
        report = examine(lm_of(server))
    assert report.works and report.usage_source != "provider"
    assert all(r.error and r.spent is None and not r.within_budget for r in report.readings)
    assert report.verdicts()["cap"].startswith("refused: ")


def test_a_cap_holds() -> None:
    with ScriptedServer(SOLVER) as server, pytest.raises(SpendCapReached):
        examine(lm_of(server), price=Price(1e-3, 1e-3), max_usd=0.01)


def test_a_budget_is_kept_within_a_tenth() -> None:
    verdicts = [Reading(mode="prompt", budget=10, adherence=a).within_budget for a in (0.5, 1.1, 1.2, None)]
    assert verdicts == [True, True, False, False]


def test_rate_limits_are_read_from_the_headers_where_litellm_hands_them_on() -> None:
    headers = {"x-ratelimit-limit-requests": "60", "x-ratelimit-remaining-tokens": "9000", "x-other": "1"}
    with ScriptedServer(Reply("Answer: [[366]]", headers=headers)) as server:
        report = examine(tale_dspy.LM("openai/s", api_base=server.url, api_key="any", num_retries=0))
    assert report.limits == {"x-ratelimit-limit-requests": "60", "x-ratelimit-remaining-tokens": "9000"}


def test_answers_that_were_all_cut_off_obey_nothing() -> None:
    with ScriptedServer(Reply("So then", completion_tokens=40, finish_reason="length")) as server:
        report = examine(lm_of(server))
    assert report.verdicts()["cap"].startswith(
        "unknown: all 4 answers were cut off, which keeps no budget and shows none"
    )
    assert not any(reading.within_budget for reading in report.readings)
