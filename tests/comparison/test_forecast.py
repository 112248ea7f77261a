"""What a few answers tell of a whole run."""

import json
import random
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from tale_dspy import Price, Record, Run
from tale_dspy.comparison.forecast import ExpectedFigure, expected, forecast, journal_costs
from tale_dspy.errors import RunFolderError, UsageError


def run_of(*rows: dict[str, Any]) -> Run:
    base: dict[str, Any] = {"outcome": "correct", "calls": 2, "prompt_tokens": 100, "output_tokens": 50}
    base["cost_usd"] = 0.1
    return Run(info={}, records=[Record(**{**base, "id": str(i), **row}) for i, row in enumerate(rows)])


def test_equal_answers_are_multiplied() -> None:
    estimate = forecast(run_of({}, {}, {}), 100)
    assert (estimate.answers, estimate.sample, estimate.accuracy) == (100, 3, 1.0)
    assert estimate.calls == ExpectedFigure(200, 200, 200) and estimate.prompt_tokens == ExpectedFigure(
        10_000, 10_000, 10_000
    )
    assert estimate.output_tokens == ExpectedFigure(5_000, 5_000, 5_000)
    assert estimate.cost_usd is not None and estimate.cost_usd.total == pytest.approx(10)


def test_estimates_count_and_a_cached_answer_at_what_it_had_cost() -> None:
    cached = {"cost_usd": 0.0, "saved_cost_usd": 0.3, "cached_calls": 2}
    estimate_counts = {"estimate_tokens": 10, "estimate_prompt_tokens": 50}
    estimate = forecast(run_of({**estimate_counts, **cached}, estimate_counts), 10)
    assert estimate.output_tokens is not None and estimate.output_tokens.total == 600
    assert estimate.cost_usd is not None and estimate.cost_usd.total == pytest.approx(2)


def test_a_price_given_holds() -> None:
    estimate = forecast(run_of({"cost_usd": None}), 10, Price(1e-3, 1e-2))
    assert estimate.cost_usd == ExpectedFigure(10 * (100 * 1e-3 + 50 * 1e-2)) and estimate.notes == ()


def test_what_is_unknown_stays_unknown() -> None:
    estimate = forecast(run_of({"output_tokens": None, "cost_usd": None}, {}), 10)
    assert estimate.output_tokens is estimate.cost_usd is None and estimate.calls.total == 20
    assert estimate.notes == ("the price is unknown: give --price-in and --price-out (price=)",)
    document = json.loads(json.dumps(estimate.to_json()))
    assert document["cost_usd"] is document["cost_usd_ci95"] is None and document["calls_ci95"] == [20, 20]


def test_errors_are_left_out_and_said() -> None:
    estimate = forecast(run_of({}, {"outcome": "error", "calls": 9}), 10)
    assert estimate.calls.total == 20 and estimate.notes == ("1 of 2 answers were errors and are left out",)
    with pytest.raises(UsageError, match="no answers"):
        forecast(run_of({"outcome": "error"}), 10)
    with pytest.raises(UsageError, match="at least 0"):
        forecast(run_of({}), -1)


def test_about_95_of_100_totals_lie_in_the_interval() -> None:
    chance = random.Random(3)
    inside = 0
    for _ in range(400):
        sample, rest = ([chance.gauss(100, 30) for _ in range(n)] for n in (10, 200))
        figure = expected(sample, 200)
        assert figure is not None and figure.low is not None and figure.high is not None
        assert figure.total == pytest.approx(fmean(sample) * 200)
        inside += figure.low <= sum(rest) <= figure.high
    assert 0.91 <= inside / 400 <= 0.985


def test_a_figure_is_reported_with_its_interval() -> None:
    assert str(ExpectedFigure(1234.4, 1000.2, 1500.0)) == "1,234 [1,000, 1,500]"
    assert ExpectedFigure(1.5).to_text(2) == "1.50"


def test_a_broken_journal_is_refused_with_its_line(tmp_path: Path) -> None:
    journal = tmp_path / "calls.jsonl"
    journal.write_text('{"id": "a", "error": "LMServerError"}\n{"id": "a", "error": null}\n')
    with pytest.raises(RunFolderError, match=r"calls\.jsonl, line 2: lacks 'usage'"):
        journal_costs([journal, tmp_path / "missing.jsonl"])
