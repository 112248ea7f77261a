"""The sums of a role and of shadow checks: an unknown part makes a sum unknown, and never 0."""

from typing import Any

import pytest

from tale_dspy.accounting.calls import Call, ShadowResult
from tale_dspy.accounting.ledger import Ledger
from tale_dspy.accounting.ledger_sums import RoleSum, ShadowSummary


def call(**fields: Any) -> Call:
    return Call(**{"role": "reason", "model": "m", "usage_source": "provider", **fields})


def test_calls_are_counted_by_how_they_were_answered() -> None:
    total = RoleSum()
    total.add(call(prompt_tokens=10, output_tokens=2))
    total.add(call(prompt_tokens=10, output_tokens=2, cached=True))
    total.add(call(prompt_tokens=10, output_tokens=2, replayed=True, batch=True))
    total.add(call(prompt_tokens=10, output_tokens=2, batch=True))
    assert (total.calls, total.paid_calls, total.cached_calls, total.batch_calls) == (4, 2, 1, 1)
    assert (total.prompt_tokens, total.output_tokens) == (40, 8)


def test_a_sum_with_an_unknown_part_stays_unknown_when_merged() -> None:
    total, other = RoleSum(), RoleSum()
    total.add(call(prompt_tokens=10, output_tokens=2))
    other.add(call(prompt_tokens=None, output_tokens=3))
    total.merge(other)
    assert (total.calls, total.prompt_tokens, total.output_tokens) == (2, None, 5)


def test_a_shadow_check_without_an_answer_counts_no_tokens() -> None:
    checks = ShadowSummary()
    checks.add(ShadowResult(agrees=True, net_tokens=25, vanilla_tokens=100))
    checks.add(ShadowResult(agrees=None, net_tokens=25, vanilla_tokens=None))
    assert (checks.calls, checks.agreed, checks.failed, checks.saving) == (2, 1, 1, pytest.approx(0.75))
    assert str(checks).strip() == "shadow: 1 of 1 answers the same without a budget, 75.0 % fewer net tokens with it"


def test_a_budget_that_costs_tokens_says_more() -> None:
    checks = ShadowSummary()
    checks.add(ShadowResult(agrees=True, net_tokens=30, vanilla_tokens=20))
    assert str(checks).strip() == "shadow: 1 of 1 answers the same without a budget, 50.0 % more net tokens with it"


def test_checks_of_a_piece_of_work_are_added_up() -> None:
    whole, part = Ledger(), Ledger()
    for ledger, net in ((whole, 10), (part, 20)):
        ledger.add_shadow_result(ShadowResult(agrees=True, net_tokens=net, vanilla_tokens=40))
    whole.absorb(part)
    assert (whole.shadow.calls, whole.shadow.agreed, whole.shadow.net_tokens, whole.shadow.vanilla_tokens) == (
        *(2, 2, 30, 80),
    )
