"""Which draw a call asks for is known in its own context alone, and what nobody takes is cancelled."""

import contextvars
from concurrent.futures import Future
from typing import Any

import pytest

from tale_dspy.backends.local.draws import Draw, current_draw, drawing


def test_without_a_call_it_is_one_draw_each_time_anew() -> None:
    assert current_draw() == Draw()
    assert current_draw() is not current_draw()


def test_calls_within_calls_have_their_own() -> None:
    with drawing(outer := Draw("1")):
        with drawing(inner := Draw("2")):
            assert current_draw() is inner
        assert current_draw() is outer
    assert current_draw() == Draw()


def test_a_thread_with_a_context_of_its_own_knows_nothing_of_it() -> None:
    fresh = contextvars.copy_context()
    with drawing(Draw("1")):
        assert fresh.run(current_draw) == Draw()
        assert contextvars.copy_context().run(current_draw) == Draw("1")


def test_what_is_pending_is_cancelled_at_the_end_and_after_an_error() -> None:
    taken: Future[Any]
    left: Future[Any]
    taken, left = Future(), Future()
    with pytest.raises(ZeroDivisionError), drawing(Draw(pending=[left])):
        raise ZeroDivisionError
    assert (taken.cancelled(), left.cancelled()) == (False, True)


def test_again_is_the_same_choice_and_starts_the_others_anew() -> None:
    draw = Draw(choices=3, pending=[(left := Future[Any]())], given=2)
    draw.again()
    assert (draw.given, draw.pending, left.cancelled()) == (1, [], True)
