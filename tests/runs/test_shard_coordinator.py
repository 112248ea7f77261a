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


def test_lessons_go_to_all_others_once_also_when_a_shard_begins_again() -> None:
    actor = Coordinator(SharedLimits())
    assert actor.share(1, [("a", 1), ("b", 1), ("a", 2)], 0) == ([], 3)
    assert actor.share(2, [("c", 1)], 0) == (["a", "b", "a"], 4)
    assert actor.share(1, [("a", 1), ("d", 1)], 0) == (["c"], 5), "a new attempt of shard 1 has learned `a` again"
    assert actor.share(2, [], 4) == (["d"], 5)
