"""The figures of parts are those of the whole, exactly and in any order."""

import random

import pytest
from make_runs import make_record, random_run

from tale_dspy.runs.summary import RunSummary

RECORDS = [
    *random_run(300, seed=1).records,
    *[make_record(400 + i, token_budget=30 + i, mode="prompt", group=f"g{i % 3}") for i in range(30)],
    *[make_record(500 + i, rescue_calls=1, recovery_tokens=7, reasoning_notes=["raised"]) for i in range(3)],
    *[make_record(600 + i, outcome="wrong", copied_example=True, metric_tokens=3) for i in range(3)],
]


@pytest.mark.parametrize("single", [True, False])
def test_merged_parts_have_the_figures_of_the_whole(single: bool) -> None:
    whole = RunSummary(single=single).add_all(RECORDS).figures()
    shuffled = random.Random(3).sample(RECORDS, len(RECORDS))
    parts = [RunSummary(single=single).add_all(shuffled[i::4]) for i in range(4)]
    merged = RunSummary(single=single)
    for part in parts:
        merged.merge(part)
    assert merged.figures() == whole and whole["copied_example"] == 3
    assert whole["n"] == len(RECORDS) and whole["recoveries"]["calls"] == 3


def test_a_summary_survives_as_json() -> None:
    total = RunSummary(single=True).add_all(RECORDS)
    state = total.to_state()
    assert state is not None
    assert RunSummary.from_state(state, total.latencies).figures() == total.figures()
    assert RunSummary(single=False).to_state() is None


def test_a_question_of_several_draws_counts_once_with_its_share() -> None:
    draws = [make_record(1), make_record(1, repeat=1, outcome="wrong"), make_record(2), make_record(2, repeat=1)]
    figures = RunSummary().add_all(draws).figures()
    assert (figures["n"], figures["repeats"], figures["accuracy"]) == (2, 2, 0.75)


def test_a_total_with_an_unknown_part_is_unknown() -> None:
    figures = RunSummary().add_all([make_record(1), make_record(2, cost_usd=None, output_tokens=None)]).figures()
    assert (figures["cost_usd"], figures["unknown_tokens"], figures["output_tokens_mean"]) == (None, 1, 100.0)
