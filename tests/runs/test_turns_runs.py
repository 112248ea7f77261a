"""One thread has its turn at a time, leaves it to others while it waits, and nobody waits for ever."""

import threading
from collections.abc import Callable

import pytest

from tale_dspy.runs import turns as module
from tale_dspy.runs.turns import Turns

SOON = 10.0
"""Seconds within which whatever is to happen must have happened."""


def started(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def one_turn(turns: Turns, inside: threading.Event) -> threading.Thread:
    """Start a thread that takes one turn."""

    def work() -> None:
        with turns.taken():
            inside.set()

    return started(work)


def test_nobody_has_a_turn_before_the_other_one_ends() -> None:
    turns, inside = Turns(), threading.Event()
    with turns.taken():
        thread = one_turn(turns, inside)
        assert not inside.wait(0.05)
    assert inside.wait(SOON)
    thread.join(SOON)


def test_others_have_it_while_it_is_given_away_and_it_is_taken_up_again() -> None:
    turns, first, second = Turns(), threading.Event(), threading.Event()
    with turns.taken():
        with turns.given_away():
            one_turn(turns, first).join(SOON)
        assert first.is_set()
        one_turn(turns, second)
        assert not second.wait(0.05)
    assert second.wait(SOON)


def test_a_turn_ends_with_an_error_inside_it_and_inside_a_call() -> None:
    turns, inside = Turns(), threading.Event()
    with pytest.raises(KeyError), turns.taken(), turns.given_away():
        raise KeyError("a")
    one_turn(turns, inside).join(SOON)
    assert inside.is_set()


def test_who_has_none_gives_none_away() -> None:
    turns, given, inside = Turns(), threading.Event(), threading.Event()

    def work() -> None:
        with turns.given_away():
            given.set()

    with turns.taken():
        started(work).join(SOON)
        assert given.is_set()
        one_turn(turns, inside)
        assert not inside.wait(0.05), "another thread gave away a turn that was not its own"


def test_whoever_waits_too_long_ends_the_turns_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.01)
    turns, first, second = Turns(), threading.Event(), threading.Event()
    with turns.taken():
        one_turn(turns, first).join(SOON)
        assert first.is_set()
        monkeypatch.setattr(module, "PATIENCE", 2 * SOON)
        one_turn(turns, second).join(SOON)
        assert second.is_set()
        with turns.given_away():
            pass
