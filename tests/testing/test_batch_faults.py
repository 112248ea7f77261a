"""Shares of requests are struck, the same ones in every run."""

import pytest

from tale_dspy.errors import UsageError
from tale_dspy.testing.batch_faults import BatchFaults, BatchStats


def test_shares_strike_the_same_requests_until_their_tries_are_over() -> None:
    faults = BatchFaults(expired=0.2, failed=0.1, refused=0.1, tries=2)
    first = [faults.strike(str(i), 0) for i in range(1000)]
    assert first == [faults.strike(str(i), 1) for i in range(1000)]
    assert {name: round(first.count(name), -2) for name in ("expired", "failed", "refused")} == {
        "expired": 200,
        "failed": 100,
        "refused": 100,
    }
    assert {faults.strike(str(i), 2) for i in range(1000)} == {None, "refused"}
    assert BatchStats().paid_calls == 0


def test_each_attempt_is_struck_on_its_own() -> None:
    faults = BatchFaults(expired=0.3, each_attempt=True)
    struck = [[faults.strike(str(i), seen) is not None for i in range(1000)] for seen in (0, 1, 2)]
    assert all(250 < sum(attempt) < 350 for attempt in struck)
    assert 60 < sum(map(all, zip(struck[0], struck[1], strict=True))) < 120, "0.3 * 0.3 of them twice"
    assert struck[0] == [faults.strike(str(i), 0) is not None for i in range(1000)]


def test_a_share_above_1_is_refused() -> None:
    with pytest.raises(UsageError, match="expired must be between 0 and 1"):
        BatchFaults(expired=1.5)
