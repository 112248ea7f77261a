"""Searching effort words on a scripted reasoner whose thinking they set."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dspy
import pytest

import tale_dspy
from tale_dspy import BudgetedChainOfThought, BudgetSearch, EffortEstimator
from tale_dspy.errors import UsageError
from tale_dspy.optimizers.search.records import SearchRow
from tale_dspy.testing import EffortReply, ScriptedServer, word_problems

BANK = {row["question"]: row["answer"] for row in word_problems(60)}
TRAIN = [dspy.Example(question=q, answer=a).with_inputs("question") for q, a in BANK.items()]


@contextmanager
def thinking(**options: Any) -> Iterator[tuple[EffortReply, Any]]:
    """A model of four words that thinks hard unless told otherwise, and an LM that reaches it."""
    model = EffortReply(BANK, default="high", **options)
    with ScriptedServer(model) as server:
        yield model, tale_dspy.LM("openai/gpt-5", api_base=server.url, api_key="any", engine="auto", cache=False)


def least_found(rows: list[SearchRow], model: EffortReply) -> list[bool]:
    return [(row.best.budget if row.best else "high") == model.least_word(str(row.question)) for row in rows]


def test_a_reasoning_model_of_words_is_searched_over_its_words(tmp_path: Path) -> None:
    with thinking() as (model, lm):
        search = BudgetSearch(lm=lm, concurrency=8, out=tmp_path / "s")
        program = search.compile(BudgetedChainOfThought("question -> answer"), trainset=TRAIN)
    assert search.summary["sampler"] == "EffortSampler"
    words = ["minimal", "low", "medium", "high"]
    assert search.summary["efforts"] == [setting for word in words for setting in (f"{word}+50", word)]
    assert sum(least_found(search.rows, model)) >= 0.95 * len(TRAIN)
    assert search.summary["trials_mean"] < 2.3  # with a prior from 60 questions only
    assert isinstance(program.estimator, EffortEstimator)
    rows = tale_dspy.load_search(tmp_path / "s")
    phrases = [t.budget for row in rows for t in row.trials if "+" in str(t.budget)]
    assert len(phrases) == 8 and set(phrases) <= {f"{word}+50" for word in words}
    (notice,) = search.summary["notices"]
    assert notice.startswith("the phrase beside the effort words has no observable effect") and "8 questions" in notice


def test_a_phrase_that_saves_tokens_is_kept_beside_the_word() -> None:
    with thinking(phrase_factor=0.5) as (model, lm):
        search = BudgetSearch(lm=lm, concurrency=8)
        search.compile(BudgetedChainOfThought("question -> answer"), trainset=TRAIN[:40])
    best_and_least = [(str(row.best.budget), model.least_word(str(row.question))) for row in search.rows if row.best]
    assert search.summary["notices"] == []
    with_number = [budget for budget, word in best_and_least if budget == f"{word}+50"]
    assert len(with_number) >= 0.8 * len(best_and_least)


def test_words_alone_are_searched_without_the_phrase() -> None:
    with thinking() as (_, lm):
        search = BudgetSearch(lm=lm, concurrency=8, efforts=["low", "medium"])
        search.compile(BudgetedChainOfThought("question -> answer"), trainset=TRAIN[:6])
    assert {t.budget for row in search.rows for t in row.trials} <= {"low", "medium"}


def test_a_control_without_effect_ends_the_search_and_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with thinking(deaf=True) as (_, lm):
        search = BudgetSearch(lm=lm, concurrency=4)
        search.compile(BudgetedChainOfThought("question -> answer"), trainset=TRAIN)
    assert len(search.rows) <= 40
    (notice,) = search.summary["notices"]
    assert notice.startswith("no observable effect: on ") and notice in caplog.text


def test_given_efforts_override_the_models_and_equal_requests_are_asked_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with thinking() as (_, lm):
        search = BudgetSearch(lm=lm, concurrency=8, efforts=["high", "low"], sampler="grid")
        search.compile(BudgetedChainOfThought("question -> answer"), trainset=TRAIN[:6])
    assert search.summary["efforts"] == ["low", "high"]
    assert all([t.budget for t in row.trials][:2] == ["high", "low"] for row in search.rows)


def test_none_searches_token_budgets() -> None:
    with thinking() as (_, lm):
        search = BudgetSearch(lm=lm, concurrency=8, efforts=None)
        search.compile(BudgetedChainOfThought("question -> answer"), trainset=TRAIN[:3])
    assert search.summary["sampler"] == "ElasticSampler" and "efforts" not in search.summary


def test_a_word_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError):
        BudgetSearch(efforts=["fast"])
