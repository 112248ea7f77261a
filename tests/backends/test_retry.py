"""What is tried again, when, and what ends the whole run: over the errors that both engines really raise."""

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from dspy.utils.exceptions import ContextWindowExceededError, LMError, LMRateLimitError, LMUnsupportedFeatureError

import tale_dspy
from tale_dspy.backends.retry import MAX_DELAY_S, classify_error, retry_delay
from tale_dspy.testing import Faults, Reply, ScriptedServer

ENGINES = ["auto", "litellm"]

Failing = Callable[..., Exception]


@pytest.fixture(params=ENGINES)
def failing(request: pytest.FixtureRequest) -> Failing:
    """Ask a server once on an engine, and return the error."""

    def ask(reply: Reply | str = "x", model: str = "openai/x", **faults: Any) -> Exception:
        with ScriptedServer(reply, faults=Faults(**faults)) as server:
            settings: dict[str, Any] = {"cache": False, "num_retries": 0, "timeout": 0.3, "engine": request.param}
            lm = tale_dspy.LM(model, api_base=server.url, api_key="k", **settings)
            with pytest.raises(Exception) as raised:
                lm("hi")
            assert server.stats.requests == 1
        assert isinstance(raised.value, Exception)
        return raised.value

    return ask


@pytest.mark.parametrize("fault", ["rate_limited", "server_error", "dropped", "hung", "malformed"])
def test_what_passes_is_tried_again(fault: str, failing: Failing) -> None:
    assert classify_error(failing(**{fault: 1.0})) == "retry"


@pytest.mark.parametrize("fault", ["unauthorized", "not_found", "quota"])
def test_what_no_question_would_fare_better_with_ends_the_run(fault: str, failing: Failing) -> None:
    assert classify_error(failing(**{fault: True})) == "run"


@pytest.mark.parametrize(
    ("status", "judged"),
    [
        *((status, "question") for status in (400, 403, 404, 413, 422, 451)),
        *((status, "run") for status in (401, 402)),
        *((status, "retry") for status in (408, 409, 425, 429, 498, 499, 500, 502, 503, 504, 520, 524, 529)),
    ],
)
def test_a_status_is_judged_whatever_the_error_body_says(status: int, judged: str, failing: Failing) -> None:
    # The body calls each of them an "invalid_request_error"; LiteLLM believes it.
    assert classify_error(failing(Reply("no", status=status))) == judged


@pytest.mark.parametrize("model", ["openai/x", "hosted_vllm/x", "deepseek/x"])
def test_other_providers_are_judged_alike(model: str, failing: Failing) -> None:
    error = failing(Reply("slow down", status=429, headers={"Retry-After": "7"}), model)
    assert classify_error(error) == "retry" and retry_delay(1, error, random.Random(0)) == 7.0


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"<html>busy</html>", b'{"choices": [', b"\xff\xfe"])
def test_a_reply_that_is_none_is_tried_again(body: bytes, failing: Failing) -> None:
    assert classify_error(failing(Reply("", raw_body=body))) == "retry"


@pytest.mark.parametrize(
    ("error", "judged"),
    [
        (ContextWindowExceededError(model="m"), "question"),
        (LMUnsupportedFeatureError("no seed"), "run"),
        (LMError("odd"), "question"),
        (LMError("odd", status=599), "retry"),
        (KeyError("mine"), "question"),
        (ValueError("mine"), "question"),
    ],
)
def test_errors_without_a_request_are_judged_by_their_class(error: Exception, judged: str) -> None:
    assert classify_error(error) == judged


@pytest.mark.parametrize("model", ["openai/gpt-4o-mini", "azure/x", "gemini/gemini-2.0-flash", "anthropic/claude-x"])
def test_a_missing_key_ends_the_run_over_litellm(model: str) -> None:
    settings = {"api_base": "http://127.0.0.1:9", "api_version": "1"} if model.startswith("azure") else {}
    lm = tale_dspy.LM(model, cache=False, num_retries=0, **settings)
    with pytest.raises(LMError) as raised:
        lm("hi")
    assert classify_error(raised.value) == "run"


def test_a_provider_that_litellm_does_not_know_ends_the_run() -> None:
    with pytest.raises(LMError) as raised:
        tale_dspy.LM("nonsense/x", cache=False, num_retries=0)("hi")
    assert classify_error(raised.value) == "run"


@pytest.mark.parametrize(
    ("header", "least", "most"),
    [("7", 7, 7), ("0.5", 0.5, 1), ("3600", 60, 60), ("0", 0, 1), ("soon", 0, 1), ("-5", 0, 1), ("nan", 0, 1)],
)
def test_retry_after_is_heeded_up_to_a_minute(header: str, least: float, most: float, failing: Failing) -> None:
    error = failing(Reply("", status=429, headers={"Retry-After": header}))
    assert least <= retry_delay(1, error, random.Random(1)) <= most


def test_retry_after_may_be_a_date(failing: Failing) -> None:
    due = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    error = failing(Reply("", status=503, headers={"Retry-After": due}))
    assert 20 < retry_delay(1, error, random.Random(1)) <= 30


@pytest.mark.parametrize(("attempt", "most"), [(1, 1.0), (2, 2.0), (4, 8.0), (7, MAX_DELAY_S), (5000, MAX_DELAY_S)])
def test_waits_are_full_jitter_on_doubling_steps(attempt: int, most: float) -> None:
    rng = random.Random(0)
    waits = [retry_delay(attempt, LMRateLimitError("busy"), rng) for _ in range(200)]
    assert 0 <= min(waits) < 0.1 * most and 0.9 * most < max(waits) <= most
