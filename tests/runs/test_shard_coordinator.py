"""What the shards of one command share, in one place."""

import socket

from tale_dspy.runs.options import Tally
from tale_dspy.runs.shard_coordinator import Coordinator, SharedLimits


def test_the_actor_knows_who_worked_on_a_shard_before() -> None:
    actor = Coordinator(SharedLimits())
    here = (socket.gethostname(), 1)
    assert actor.open(1, here) == (1, [])
    assert actor.open(1, ("other", 2)) == (2, [here])
    assert actor.reserve(5, 0) == actor.reserve(5, 0) == 0.0, "nothing is limited"
    actor.report(1, Tally(10, 5))
    actor.report(1, Tally(10, 6))
    assert actor.tallies() == {1: Tally(10, 6)}


def test_a_cap_that_is_reached_is_said_in_one_sentence() -> None:
    assert Coordinator(SharedLimits(max_usd=2.5)).reached() == "spend cap reached: $0.000000 of max_usd=2.5 spent"
