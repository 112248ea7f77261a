from typing import Any

import pytest
from make_runs import make_record, make_run

from tale_dspy.comparison.compare import compare
from tale_dspy.comparison.run_stats import config_of, data_name, prompting, run_stats, setting
from tale_dspy.runs.columns import columns_of
from tale_dspy.runs.records import Run


@pytest.mark.parametrize("config", [None, "x", {}, {"data": "named", "settings": "x"}])
def test_a_run_with_little_recorded_still_compares(config: object) -> None:
    runs = [Run(info={"config": config}, records=[make_record(0)]) for _ in range(2)]
    assert compare(*runs).blocking_reason == "adapter not recorded in the baseline"


@pytest.mark.parametrize("info", [{}, {"config": None}, {"config": ["x"]}])
def test_a_configuration_that_is_none_is_empty(info: dict[str, Any]) -> None:
    run = Run(info=info, records=[])
    assert (config_of(run), setting(run, "model"), data_name(run), prompting(run)) == ({}, None, None, None)


def test_a_setting_of_the_run_wins_over_that_of_the_model() -> None:
    run = make_run("c", temperature=0.1, settings={"temperature": 1.0, "max_tokens": 9})
    assert (setting(run, "temperature"), setting(run, "max_tokens"), setting(run, "seed")) == (0.1, 9, None)


@pytest.mark.parametrize(
    ("recorded", "expected"),
    [
        ([["predict", "Be brief.", "abc"]], [["Be brief.", "abc"]]),
        ([("a", "", ""), ("b", "", "")], [["", ""], ["", ""]]),
        ([], None),
        ([["predict"]], None),
        (["predict"], None),
        ({"predict": ""}, None),
    ],
)
def test_prompting_is_reported_without_the_names_of_the_predictors(
    recorded: object, expected: list[Any] | None
) -> None:
    assert prompting(make_run("c", prompting=recorded)) == expected


def test_a_side_is_summed_up_over_the_shared_draws_only() -> None:
    records = [make_record(i, latency_s=float(i), cached_calls=i % 2, response_model=f"m{i % 2}") for i in range(5)]
    run = make_run([*records, make_record(9, latency_s=100.0, usage_source="tokenizer")])
    side = run_stats(run, columns_of(records), 5)
    assert (side.unshared, side.cached, side.recounted, side.outcomes) == (1, 2, 0, {"correct": 5})
    assert (side.latency_p50, side.estimate_tokens, side.snapshots) == (2.0, None, ("m0", "m1"))
