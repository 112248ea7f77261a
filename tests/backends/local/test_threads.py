"""The number of threads follows the time of the steps: all of them on an idle machine, one beside a busy process."""

import threading

import pytest
from tiny_models import config_of
from transformers import AutoModelForCausalLM

from tale_dspy.backends.local.threads import (
    FIRST_INTERVAL,
    ThreadLimit,
    ThreadTuner,
    in_thread_of_its_own,
    wants_one_thread,
)


@pytest.mark.parametrize(("size", "alone"), [(260, True), (200_000, False)])
def test_one_thread_writes_with_the_smallest_models(size: int, alone: bool) -> None:
    model = AutoModelForCausalLM.from_config(config_of("llama", vocab_size=size))
    assert wants_one_thread(model) is alone
    assert not wants_one_thread(model.to("meta"))


def test_what_a_model_is_loaded_in_ends_before_the_model_writes() -> None:
    thread = in_thread_of_its_own(threading.current_thread)
    assert thread is not threading.current_thread() and not thread.is_alive()


def test_an_error_of_loading_is_raised_where_it_was_asked_for() -> None:
    with pytest.raises(ZeroDivisionError):
        in_thread_of_its_own(lambda: 1 / 0)


def run(tuner: ThreadTuner, seconds: dict[int, float], steps: int, rows: int = 8) -> list[int]:
    """Take steps that last so long with each number of threads, and return the numbers."""
    counts = []
    for _ in range(steps):
        counts.append(tuner.threads)
        tuner.record(rows, seconds[tuner.threads])
    return counts


def test_all_threads_are_used_while_they_are_quicker_and_probes_become_rare() -> None:
    counts = run(ThreadTuner(4), {4: 1.0, 1: 3.0}, 1000)
    assert counts[: FIRST_INTERVAL + 4] == [4] * FIRST_INTERVAL + [1, 1, 4, 4]
    assert counts.count(1) <= 14
    assert counts[-300:].count(1) <= 2


def test_one_thread_is_used_where_others_wait() -> None:
    counts = run(ThreadTuner(2), {2: 20.0, 1: 1.0}, 100)
    assert counts[FIRST_INTERVAL:].count(2) < 10


def test_a_stall_is_noticed_at_once_and_its_end_later() -> None:
    tuner = ThreadTuner(2)
    run(tuner, {2: 1.0, 1: 1.8}, 2000)
    assert run(tuner, {2: 20.0, 1: 1.8}, 10) == [2, 1, 1, 2, *[1] * 6]
    assert run(tuner, {2: 1.0, 1: 1.8}, 600)[-1] == 2


def test_steps_of_other_numbers_of_rows_are_not_compared() -> None:
    tuner = ThreadTuner(2)
    counts = []
    for step in range(100):
        counts.append(tuner.threads)
        tuner.record(step, float(step))
        tuner.record(0, 1000.0)
    assert set(counts) == {2}


def test_the_limit_of_one_thread_leaves_all_others_as_they_are() -> None:
    import torch

    usual, inside = torch.get_num_threads(), []

    def work() -> None:
        limit = ThreadLimit()
        for count in (1, usual + 2, usual):
            limit.set(count)
            inside.append(torch.get_num_threads())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    other: list[int] = []
    fresh = threading.Thread(target=lambda: other.append(torch.get_num_threads()))
    fresh.start()
    fresh.join()
    assert (inside, torch.get_num_threads(), other) == ([1, usual + 2, usual], usual, [usual])
