"""Records, the figures summed from them, and folders read back; numpy and statsmodels have the last word."""

import json
import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

from tale_dspy.errors import RunFolderError
from tale_dspy.runs.records import (
    OUTCOMES,
    Record,
    Run,
    accuracy_interval,
    load_run,
    quantile,
    question_scores,
    read_jsonl,
)


def record(key: str = "a", outcome: Any = "correct", **fields: Any) -> Record:
    return Record(id=key, outcome=outcome, **fields)


def summary(*records: Record) -> dict[str, Any]:
    return Run({"program": {"name": "cot"}}, list(records)).summary


@pytest.mark.parametrize("n", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("q", [0.0, 0.05, 0.5, 0.95, 1.0])
def test_quantiles_equal_numpys(n: int, q: float) -> None:
    values = sorted(random.Random(n).lognormvariate(0, 1) for _ in range(n))
    assert quantile(values, q) == pytest.approx(np.quantile(values, q), rel=1e-12)


def test_no_values_have_no_quantile() -> None:
    assert quantile([], 0.5) is None


@pytest.mark.parametrize(("right", "n"), [(0, 1), (1, 1), (0, 30), (30, 30), (1, 7), (13, 40), (1100, 1319)])
def test_the_interval_of_single_draws_is_wilsons(right: int, n: int) -> None:
    found = accuracy_interval([1.0] * right + [0.0] * (n - right))
    assert found == pytest.approx(proportion_confint(right, n, method="wilson"), abs=1e-12)


def test_the_interval_of_repeats_is_clustered_by_question() -> None:
    rng = random.Random(0)
    scores = [rng.choice((0, 1 / 3, 2 / 3, 1)) for _ in range(200)]
    half = 1.959963984540054 * np.std(scores, ddof=1) / math.sqrt(len(scores))
    assert accuracy_interval(scores, repeats=3) == pytest.approx((np.mean(scores) - half, np.mean(scores) + half))
    # A question asked ten times is no ten questions: the same share of single draws has a narrower interval.
    low, high = accuracy_interval([1.0, 0.0] * 5, repeats=10) or (0, 0)
    narrow = accuracy_interval([1.0, 0.0] * 50) or (0, 0)
    assert high - low > narrow[1] - narrow[0]


@pytest.mark.parametrize(
    ("scores", "repeats", "interval"), [([], 1, None), ([], 3, None), ([0.5], 3, (0, 1)), ([1.0, 1.0], 3, (1, 1))]
)
def test_intervals_at_the_edges(scores: list[float], repeats: int, interval: Any) -> None:
    assert accuracy_interval(scores, repeats) == interval


def test_draws_of_a_question_are_averaged_first() -> None:
    draws = [record("a"), record("a", "wrong", repeat=1), record("b", repeat=0), record("b", repeat=1)]
    assert question_scores(draws) == {"a": 0.5, "b": 1.0}
    found = summary(*draws)
    assert (found["n"], found["repeats"], found["accuracy"]) == (2, 2, 0.75)


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_only_correct_counts_as_right(outcome: Any) -> None:
    assert record("a", outcome).correct == (outcome == "correct")
    found = summary(record("a", outcome))
    assert found["accuracy"] == float(outcome == "correct")
    assert found["outcomes"] == {name: int(name == outcome) for name in OUTCOMES}


def test_nothing_known_is_null_and_never_0() -> None:
    found = summary(record(calls=1, paid_calls=1))
    names = "output_tokens_mean estimate_tokens_mean prompt_tokens_mean reasoning_tokens_mean cost_usd latency_p50"
    assert [found[name] for name in names.split()] == [None] * 6
    assert (found["metric_tokens"], found["unknown_tokens"], found["calls"]) == (None, 1, 1)


def test_a_run_without_records_has_no_figures() -> None:
    found = summary()
    assert (found["n"], found["accuracy"], found["accuracy_ci95"], found["cost_usd"]) == (0, None, None, None)
    assert found["program"] == "cot" and found["run_dir"] is None


def test_means_are_over_what_is_known_and_a_sum_of_unknown_money_is_unknown() -> None:
    found = summary(
        record("a", output_tokens=10, cost_usd=0.1, calls=1),
        record("b", output_tokens=None, cost_usd=None, calls=1),
        record("c", output_tokens=30, cost_usd=0.2, calls=1),
    )
    assert (found["output_tokens_mean"], found["unknown_tokens"], found["cost_usd"]) == (20.0, 1, None)


def test_a_question_that_was_never_asked_costs_nothing() -> None:
    found = summary(record("a", cost_usd=0.5, calls=1), record("b", "error", calls=0))
    assert found["cost_usd"] == 0.5


def test_estimates_that_could_not_be_used_are_counted() -> None:
    sources = ["estimate", "clamped", "fallback", "given", None]
    found = summary(*(record(str(i), budget_source=source) for i, source in enumerate(sources)))
    assert found["estimate_fallbacks"] == 2


def test_a_summary_is_strict_json() -> None:
    found = summary(record("a", latency_s=0.5, output_tokens=3, cost_usd=0.0, calls=1), record("b", "wrong", calls=1))
    assert json.loads(json.dumps(found, allow_nan=False)) == {**found, "accuracy_ci95": list(found["accuracy_ci95"])}


def test_a_record_comes_back_from_json_whole_and_ignores_later_keys() -> None:
    whole = record("a", inputs={"x": [1]}, gold="4", token_budget=5, cost_usd=0.25, answer=["é"])
    assert Record.from_json({**json.loads(json.dumps(whole.to_json())), "of_a_later_version": 1}) == whole


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run folder of three questions."""
    (tmp_path / "run.json").write_text('{"program": {"name": "cot"}, "config": {"model": "m"}}')
    rows = [record(k).to_json() for k in "abc"]
    (tmp_path / "records.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "summary.json").write_text('{"wall_s": 2.5, "stopped": "cap"}')
    return tmp_path


def test_a_folder_is_read_back(folder: Path) -> None:
    run = load_run(str(folder))
    assert [r.id for r in run.records] == ["a", "b", "c"] and run.path == folder
    assert (run.name, run.wall_s, run.stopped, run.accuracy) == ("cot", 2.5, "cap", 1.0)
    assert run.summary["run_dir"] == str(folder)


@pytest.mark.parametrize("rest", ['{"id": "d", "outcome"', '{"id": "d", "outcome": "correct"}', "{", "\x00\x00"])
def test_a_last_line_that_was_cut_off_is_left_out(rest: str, folder: Path) -> None:
    with (folder / "records.jsonl").open("a") as file:
        file.write(rest)
    assert [r.id for r in load_run(folder).records] == ["a", "b", "c"]


@pytest.mark.parametrize("middle", ["{broken", '{"id": "b"', "\x00", "b: 1"])
def test_a_broken_line_in_the_middle_is_named(middle: str, folder: Path) -> None:
    first, _, last = (folder / "records.jsonl").read_text().splitlines()
    (folder / "records.jsonl").write_text(f"{first}\n{middle}\n{last}\n")
    with pytest.raises(RunFolderError, match=r"records\.jsonl, line 2 is not JSON"):
        load_run(folder)


def test_a_run_that_was_killed_before_its_end_has_no_summary_yet(folder: Path) -> None:
    (folder / "summary.json").unlink()
    (folder / "records.jsonl").unlink()
    run = load_run(folder)
    assert (run.records, run.wall_s, run.stopped) == ([], None, None)


def test_a_folder_that_is_none_is_said(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"is not a run folder: it has no run\.json"):
        load_run(tmp_path / "nowhere")
    (tmp_path / "file").write_text("x")
    with pytest.raises(RunFolderError, match=r"file"):
        load_run(tmp_path / "file")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"x"', "\x00"])
def test_a_run_json_that_is_none_is_said(text: str, folder: Path) -> None:
    (folder / "run.json").write_text(text)
    with pytest.raises(RunFolderError, match=r"run\.json (cannot be read|must hold one JSON object)"):
        load_run(folder)


def test_empty_lines_are_no_rows(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('\n{"a": 1}\n\n \n{"a": 2}\n')
    assert read_jsonl(tmp_path / "x.jsonl") == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize(
    ("fields", "price"),
    [
        ({"cost_usd": 0.5}, 0.5),
        ({"cost_usd": 0.0, "saved_cost_usd": 0.5, "cached_calls": 1}, 0.5),
        ({"cost_usd": None}, None),
        ({"cost_usd": 0.0, "saved_cost_usd": None, "cached_calls": 1}, None),
    ],
)
def test_the_full_price_counts_what_the_cache_saved(fields: dict[str, Any], price: float | None) -> None:
    assert record(**fields).price_usd == price


@pytest.mark.parametrize(
    ("fields", "net"),
    [
        ({"output_tokens": 10}, 10),
        ({"output_tokens": 10, "estimate_tokens": 3}, 13),
        ({"output_tokens": None, "estimate_tokens": 3}, None),
        ({"output_tokens": 10, "estimate_prompt_tokens": 20}, None),
    ],
)
def test_net_tokens_hold_the_estimators(fields: dict[str, Any], net: int | None) -> None:
    assert record(**fields).net_tokens == net


def test_groups_are_summed_up_apart() -> None:
    right = [record(str(n), group="easy", output_tokens=10) for n in range(3)]
    found = summary(*right, record("x", "wrong", group="hard", output_tokens=30), record("y", output_tokens=None))
    groups = found["groups"]
    assert {name: (g["n"], g["accuracy"], g["output_tokens_mean"]) for name, g in groups.items()} == {
        "easy": (3, 1.0, 10.0),
        "hard": (1, 0.0, 30.0),
        "other": (1, 1.0, None),
    }


def test_without_groups_a_summary_has_none() -> None:
    assert "groups" not in summary(record("a"))
