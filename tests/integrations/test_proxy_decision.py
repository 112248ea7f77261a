"""What is kept of a request between the callbacks, and the headers that come of it."""

import json
from typing import Any

import pytest

from tale_dspy.budget import BudgetValue
from tale_dspy.integrations.proxy_decision import (
    DECISION_KEY,
    add_sent,
    response_headers,
    skip_reason,
    store_decision,
    stored_budget,
    stored_decision,
)
from tale_dspy.integrations.proxy_requests import SkippedRequest


def stored(decision: BudgetValue | SkippedRequest) -> dict[str, Any]:
    request: dict[str, Any] = {}
    store_decision(request, "chat", decision)
    decision_stored = stored_decision(request)
    assert decision_stored is not None
    return decision_stored


@pytest.mark.parametrize("budget", [BudgetValue(50), BudgetValue(effort="low"), BudgetValue(50, "low")], ids=str)
def test_a_budget_comes_back_from_the_metadata_which_is_json(budget: BudgetValue) -> None:
    document = json.loads(json.dumps(stored(budget)))
    assert stored_budget(document) == budget
    assert skip_reason(document) is None


def test_it_is_kept_where_the_provider_does_not_see_it() -> None:
    request: dict[str, Any] = {"metadata": {"user_id": "u"}, "litellm_metadata": {}}
    store_decision(request, "messages", SkippedRequest("tools"))
    assert request == {"metadata": {"user_id": "u"}, "litellm_metadata": {DECISION_KEY: {"skipped": "tools"}}}
    assert stored_decision({"metadata": {DECISION_KEY: {}}}) is stored_decision({"metadata": "text"}) is None


@pytest.mark.parametrize(
    ("decision", "changes", "effort", "expected"),
    [
        (SkippedRequest("off"), None, None, {"x-tale-skipped": "off"}),
        (BudgetValue(50), {}, None, {"x-tale-budget": "50"}),
        (BudgetValue(50), {"reasoning_effort": "low"}, "low", {"x-tale-budget": "50", "x-tale-effort": "low"}),
        (BudgetValue(effort="max"), {"reasoning_effort": "high"}, "high", {"x-tale-effort": "high"}),
        (BudgetValue(effort="low"), {"thinking": {"budget_tokens": 1024}}, None, {"x-tale-effort": "low"}),
        (BudgetValue(effort="low"), {}, None, {"x-tale-skipped": "no-control"}),
        (BudgetValue(50, "low"), {}, None, {"x-tale-budget": "50"}),
    ],
)
def test_the_headers_name_what_was_sent(
    decision: BudgetValue | SkippedRequest, changes: dict[str, Any] | None, effort: str | None, expected: dict[str, str]
) -> None:
    request = stored(decision)
    if changes is not None:
        add_sent(request, changes, effort)
    assert response_headers(request) == expected
