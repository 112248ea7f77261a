"""Which sample a call stands for is known in its own context alone, and what nobody takes is cancelled."""

import contextvars
import random

import pytest

from tale_dspy.backends.local.prompt_tokenizer import GenerationJob
from tale_dspy.backends.local.sample_request import SampleRequest, current_sample_request, use_sample_request
from tale_dspy.backends.local.sampling import SamplingParams


def job() -> GenerationJob:
    return GenerationJob([1], 1, SamplingParams(), (), random.Random(0))


def test_without_a_call_it_is_one_sample_each_time_anew() -> None:
    assert current_sample_request() == SampleRequest()
    assert current_sample_request() is not current_sample_request()


def test_calls_within_calls_have_their_own() -> None:
    with use_sample_request(outer := SampleRequest("1")):
        with use_sample_request(inner := SampleRequest("2")):
            assert current_sample_request() is inner
        assert current_sample_request() is outer
    assert current_sample_request() == SampleRequest()


def test_a_thread_with_a_context_of_its_own_knows_nothing_of_it() -> None:
    fresh = contextvars.copy_context()
    with use_sample_request(SampleRequest("1")):
        assert fresh.run(current_sample_request) == SampleRequest()
        assert contextvars.copy_context().run(current_sample_request) == SampleRequest("1")


def test_what_is_pending_is_cancelled_at_the_end_and_after_an_error() -> None:
    taken, left = job(), job()
    with pytest.raises(ZeroDivisionError), use_sample_request(SampleRequest(pending=[left])):
        raise ZeroDivisionError
    assert (taken.future.cancelled(), left.future.cancelled()) == (False, True)


def test_a_retry_is_the_same_choice_and_starts_the_others_anew() -> None:
    request = SampleRequest(choices=3, pending=[(left := job())], requested=2)
    request.retry_last()
    assert (request.requested, request.pending, left.future.cancelled()) == (1, [], True)
