"""Budgets as a share of what the vanilla run used."""

from pathlib import Path

import pytest

import tale_dspy
from tale_dspy.datasets import Dataset, example_ids, load_dataset
from tale_dspy.errors import DataError
from tale_dspy.runs.records import Record, Run
from tale_dspy.runs.scaled import with_scaled_budgets


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    rows = "".join(f'{{"question": "q{i}", "answer": "{i}"}}\n' for i in (0, 1, 2, 0))
    (tmp_path / "q.jsonl").write_text(rows)
    return load_dataset(tmp_path / "q.jsonl")


def vanilla(data: Dataset, *tokens: tuple[int | None, ...]) -> Run:
    """A run in which question i used tokens[i], one count a repeat."""
    ids = example_ids(data.examples, data.gold)
    records = [
        Record(id=key, repeat=n, outcome="correct", output_tokens=count)
        for key, counts in zip(ids, tokens, strict=True)
        for n, count in enumerate(counts)
    ]
    return Run({"program": {"name": "cot"}}, records)


@pytest.mark.parametrize(
    ("factor", "budgets"),
    [(0.25, [25, 12, 1, 50]), (1.0, [100, 50, 3, 200]), (0.001, [1, 1, 1, 1]), (2.5, [250, 125, 8, 500])],
)
def test_a_budget_is_the_factor_times_the_tokens_and_at_least_1(
    factor: float, budgets: list[int], data: Dataset
) -> None:
    run = vanilla(data, (100,), (50,), (3,), (200,))
    assert [e.token_budget for e in with_scaled_budgets(data, run, factor).examples] == budgets


def test_the_mean_over_known_repeats_counts(data: Dataset) -> None:
    run = vanilla(data, (100, 200), (None, 50), (3,), (1, 2, 3))
    assert [e.token_budget for e in with_scaled_budgets(data, run, 1.0).examples] == [150, 50, 3, 2]


def test_ids_stay_and_the_budget_is_an_input(data: Dataset) -> None:
    scaled = with_scaled_budgets(data, vanilla(data, (9,), (9,), (9,), (9,)), 1.0)
    assert example_ids(scaled.examples, scaled.gold) == example_ids(data.examples, data.gold)
    assert set(scaled.examples[0].inputs().keys()) == {"question", "token_budget"}
    assert "token_budget" not in data.examples[0]
    assert tale_dspy.Dataset is type(scaled) and scaled.name == data.name


def test_a_question_without_known_tokens_is_refused(data: Dataset) -> None:
    with pytest.raises(DataError, match=r"the vanilla run cot has no token count for 2 of 4 questions"):
        with_scaled_budgets(data, vanilla(data, (9,), (None,), (9,), ()), 1.0)
