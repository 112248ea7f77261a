"""Records, the figures summed from them, and folders read back; read with checks."""

import json
from pathlib import Path
from typing import Any

import pytest

from tale_dspy.errors import RunFolderError
from tale_dspy.runs.records import (
    OUTCOMES,
    Record,
    Run,
    load_run,
    question_scores,
    read_jsonl,
)


def record(key: str = "a", outcome: Any = "correct", **fields: Any) -> Record:
    return Record(id=key, outcome=outcome, **fields)


def summary(*records: Record) -> dict[str, Any]:
    return Run({"program": {"name": "cot"}}, list(records)).summary


def test_draws_of_a_question_are_averaged_first() -> None:
    draws = [record("a"), record("a", "wrong", repeat=1), record("b", repeat=0), record("b", repeat=1)]
    assert question_scores(draws) == {"a": 0.5, "b": 1.0}
    figures = summary(*draws)
    assert (figures["n"], figures["repeats"], figures["accuracy"]) == (2, 2, 0.75)


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_only_correct_counts_as_right(outcome: Any) -> None:
    assert record("a", outcome).correct == (outcome == "correct")
    figures = summary(record("a", outcome))
    assert figures["accuracy"] == float(outcome == "correct")
    assert figures["outcomes"] == {name: int(name == outcome) for name in OUTCOMES}


def test_nothing_known_is_null_and_never_0() -> None:
    figures = summary(record(calls=1, paid_calls=1))
    names = "output_tokens_mean estimate_tokens_mean prompt_tokens_mean reasoning_tokens_mean cost_usd latency_p50"
    assert [figures[name] for name in names.split()] == [None] * 6
    assert (figures["metric_tokens"], figures["unknown_tokens"], figures["calls"]) == (None, 1, 1)


def test_a_run_without_records_has_no_figures() -> None:
    figures = summary()
    assert (figures["n"], figures["accuracy"], figures["accuracy_ci95"], figures["cost_usd"]) == (0, None, None, None)
    assert figures["program"] == "cot" and figures["run_dir"] is None


def test_means_are_over_what_is_known_and_a_sum_of_unknown_money_is_unknown() -> None:
    figures = summary(
        record("a", output_tokens=10, cost_usd=0.1, calls=1),
        record("b", output_tokens=None, cost_usd=None, calls=1),
        record("c", output_tokens=30, cost_usd=0.2, calls=1),
    )
    assert (figures["output_tokens_mean"], figures["unknown_tokens"], figures["cost_usd"]) == (20.0, 1, None)


def test_a_question_that_was_never_asked_costs_nothing() -> None:
    figures = summary(record("a", cost_usd=0.5, calls=1), record("b", "error", calls=0))
    assert figures["cost_usd"] == 0.5


def test_estimates_that_could_not_be_used_are_counted() -> None:
    sources = ["estimate", "clamped", "fallback", "given", None]
    figures = summary(*(record(str(i), budget_source=source) for i, source in enumerate(sources)))
    assert figures["estimate_fallbacks"] == 2


def test_the_reasons_of_fallbacks_are_counted_the_most_frequent_first() -> None:
    reasons = ["truncated", "no budget", "no budget", None]
    rows = [record(str(i), budget_source="fallback", fallback_reason=reason) for i, reason in enumerate(reasons)]
    figures = summary(*rows, record("x", budget_source="estimate"))
    assert list(figures["fallback_reasons"].items()) == [("no budget", 2), ("no estimate", 1), ("truncated", 1)]


def test_a_summary_is_strict_json() -> None:
    figures = summary(record("a", latency_s=0.5, output_tokens=3, cost_usd=0.0, calls=1), record("b", "wrong", calls=1))
    assert json.loads(json.dumps(figures, allow_nan=False)) == {
        **figures,
        "accuracy_ci95": list(figures["accuracy_ci95"]),
    }


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


def test_a_run_that_was_killed_before_its_end_says_so(folder: Path) -> None:
    (folder / "summary.json").unlink()
    lines = (folder / "records.jsonl").read_text().splitlines(keepends=True)
    (folder / "records.jsonl").write_text(lines[0])
    run = load_run(folder)
    assert (len(run.records), run.wall_s) == (1, None)
    assert run.stopped == "it was killed or is still going on, with 1 answers"
    (folder / "records.jsonl").unlink()
    assert load_run(folder).records == []


def test_a_folder_that_is_none_is_said(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="nowhere is not a run folder: it does not exist"):
        load_run(tmp_path / "nowhere")
    with pytest.raises(RunFolderError, match=r"is not a run folder: it has no run\.json"):
        load_run(tmp_path)
    (tmp_path / "training.json").write_text("{}")
    with pytest.raises(RunFolderError, match="a training that has not ended: the command that began it continues it"):
        load_run(tmp_path)
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(RunFolderError, match="a trained adapter, not a run: ask it by --model local:BASE"):
        load_run(tmp_path)
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
    figures = summary(*right, record("x", "wrong", group="hard", output_tokens=30), record("y", output_tokens=None))
    groups = figures["groups"]
    assert {name: (g["n"], g["accuracy"], g["output_tokens_mean"]) for name, g in groups.items()} == {
        "easy": (3, 1.0, 10.0),
        "hard": (1, 0.0, 30.0),
        "other": (1, 1.0, None),
    }


def test_without_groups_a_summary_has_none() -> None:
    assert "groups" not in summary(record("a"))
