"""Budgets of their own against one for all: a gain is shown on fresh draws, and none is said to be none."""

from pathlib import Path
from typing import Any

import dspy
import pytest
from elastic_replies import TRAIN, asking, elastic_server, need, number_in
from searched import row, search

import tale_dspy
from tale_dspy.errors import SpendCapReached, UsageError
from tale_dspy.optimizers.search import gain as gains
from tale_dspy.optimizers.search.gain import (
    agreement_metric,
    compare_with_fixed,
    likely_fixed_budget,
    likely_fixed_effort,
)
from tale_dspy.optimizers.search.records import BestBudget, ConfirmationDraws, SearchRow, VanillaAnswer
from tale_dspy.runs.questions import questions_of
from tale_dspy.runs.shared_caps import SharedCaps
from tale_dspy.testing import EffortReply, ScriptedServer, word_problems

SPREAD = [dspy.Example(question=f"What is {n} and 0?", answer=str(n)).with_inputs("question") for n in range(0, 46, 3)]


def rows_of(examples: list[Any], budget: Any) -> list[SearchRow]:
    """Rows as a search would have left them, with these best budgets by number."""
    rows = []
    for q in questions_of(examples):
        n = number_in(str(q.inputs["question"]))
        trials = [(round(s * need(n)), round(need(n)), s >= 0.7) for s in (0.4, 0.7, 1.0, 1.6)]
        best = budget(n) and BestBudget(budget(n), need(n), 1, None, ConfirmationDraws(1, 1))
        vanilla = VanillaAnswer(120, f"so. Answer: [[{n}]]", correct=True)
        rows.append(row(q.id, trials, longest=120, best=best, gold=str(n), vanilla=vanilla))
    return rows


def measure(server: Any, rows: list[SearchRow], examples: list[Any], **options: Any) -> gains.FixedBudgetComparison:
    return compare_with_fixed(tale_dspy.TaleEP("question -> answer"), rows, examples, lm=asking(server), **options)


def test_questions_of_different_needs_gain_by_budgets_of_their_own(tmp_path: Path) -> None:
    with elastic_server() as server:
        comparison = measure(server, rows_of(SPREAD, lambda n: round(need(n))), SPREAD, out=tmp_path)
    c = comparison.comparison
    assert comparison.is_gain and c.accuracy.run == 1.0 and c.n == len(SPREAD)
    assert str(comparison).startswith("per-question budgets against budget:best (")
    assert c.net_tokens.run == pytest.approx(sum(-(-9 * need(n) // 10) for n in range(0, 46, 3)) / 16, rel=0.02)
    bar = next(t for t in comparison.tried if t.budget == comparison.budget)
    rivals = [t.output_tokens or 0.0 for t in comparison.tried if t.accuracy >= 0.99]
    assert bar.accuracy >= 0.99 and bar.output_tokens == min(rivals)
    assert (tmp_path / "searched" / "records.jsonl").exists()
    assert comparison.to_json()["gain"] is True and comparison.to_json()["tokens"]["interval"][1] < 0


def test_where_one_budget_serves_all_there_is_no_gain() -> None:
    same = [dspy.Example(question=f"What is 7 and 0? ({k})", answer="7").with_inputs("question") for k in range(8)]
    with elastic_server() as server:
        comparison = measure(server, rows_of(same, lambda n: 40), same)
    assert not comparison.is_gain and len(comparison.tried) > 2 and str(comparison).startswith("no gain: ")


def test_fewer_tokens_at_lower_accuracy_are_no_gain() -> None:
    with elastic_server(lambda number, budget: budget != 9) as server:
        comparison = measure(server, rows_of(SPREAD, lambda n: 9 if n > 9 else 60), SPREAD)
    assert not comparison.is_gain


def test_draws_are_fresh_and_a_question_without_a_best_budget_is_asked_without() -> None:
    with elastic_server() as server:
        lm = asking(server, cache=True)
        rows = rows_of(TRAIN, lambda n: None if n == 3 else 60)
        for _ in range(2):
            before = server.stats.requests
            compare_with_fixed(tale_dspy.TaleEP("question -> answer"), rows, TRAIN, lm=lm)
            assert server.stats.requests >= before + 2 * len(TRAIN)
        assert sum("tokens" not in r.prompt for r in server.requests) == 2


def test_questions_that_were_not_searched_are_left_out() -> None:
    rows = rows_of(TRAIN, lambda n: 60)
    rows[0] = row(rows[0].id, [], best=None, reason="wrong without a budget")
    with elastic_server() as server:
        assert measure(server, rows, TRAIN).comparison.n == len(TRAIN) - 1


def test_of_many_questions_a_sample_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gains, "QUESTIONS", 5)
    with elastic_server() as server:
        assert measure(server, rows_of(TRAIN, lambda n: 60), TRAIN).comparison.n == 5


def test_a_cap_ends_the_comparison() -> None:
    with elastic_server() as server, pytest.raises(SpendCapReached, match="spend cap reached"):
        caps = SharedCaps(max_total_output_tokens=5000)
        measure(server, rows_of(TRAIN, lambda n: 60), TRAIN, caps=caps)


@pytest.mark.parametrize("cap", [{"max_total_output_tokens": 5000}, {"max_usd": 0.01}])
def test_a_cap_among_the_options_ends_the_comparison(cap: dict[str, Any]) -> None:
    price = tale_dspy.Price(input=0.0, output=0.01 / 5000)
    with elastic_server() as server, pytest.raises(SpendCapReached, match="spend cap reached"):
        measure(server, rows_of(TRAIN, lambda n: 60), TRAIN, price=price, **cap)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "got those of none"),
        ([row(1, []), SearchRow(**{**vars(row(2, [])), "predictor": "plan"})], "plan, self"),
        ([row(1, [], best=None, reason="wrong")], "none of 1 questions was searched"),
    ],
)
def test_rows_that_allow_no_comparison_are_refused(rows: list[SearchRow], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        compare_with_fixed(tale_dspy.TaleEP("question -> answer"), rows, TRAIN)


def test_the_trials_speak_for_a_budget_that_nearly_all_questions_can_live_with() -> None:
    rows = search([f"q{n}" for n in range(40)], lambda n: 30 + n % 10)
    budget = likely_fixed_budget(rows)
    assert budget is not None and 25 <= budget <= 60


def test_without_gold_the_answer_without_a_budget_is_the_measure() -> None:
    bare = [dspy.Example(question=e.question).with_inputs("question") for e in TRAIN]
    rows = rows_of(bare, lambda n: 60)
    with elastic_server() as server:
        comparison = measure(server, rows, bare, metric=agreement_metric(rows))
    assert comparison.comparison.accuracy.run == 1.0 and comparison.comparison.n == len(TRAIN)


def searched_words(**options: Any) -> tuple[list[SearchRow], EffortReply, list[Any]]:
    """What a search over words would have left of questions whose least words are known."""
    bank = {p["question"]: p["answer"] for p in word_problems(40)}
    model = EffortReply(bank, default="high", **options)
    examples = [dspy.Example(question=q, answer=a).with_inputs("question") for q, a in bank.items()]
    rows = []
    for q in questions_of(examples):
        least = str(model.least_word(str(q.inputs["question"])))
        trials = [("low", 80, least in ("minimal", "low")), ("medium", 200, least != "high"), ("high", 500, True)]
        best = (
            None
            if least == "high"
            else BestBudget("low" if least == "minimal" else least, 80, 80, None, ConfirmationDraws(1, 1))
        )
        vanilla = VanillaAnswer(500, f"Answer: [[{q.gold}]]", correct=True)
        rows.append(row(q.id, trials, longest=500, best=best, gold=str(q.gold), vanilla=vanilla))
    return rows, model, examples


def measure_words(rows: list[SearchRow], model: EffortReply, examples: list[Any]) -> gains.FixedBudgetComparison:
    with ScriptedServer(model) as server:
        lm = tale_dspy.LM("openai/gpt-5", api_base=server.url, api_key="any", engine="auto", cache=False)
        return compare_with_fixed(tale_dspy.BudgetedChainOfThought("question -> answer"), rows, examples, lm=lm)


def test_words_of_their_own_are_compared_with_one_word_for_all() -> None:
    rows, model, examples = searched_words()
    figures = measure_words(rows, model, examples)
    assert figures.is_gain and figures.comparison.accuracy.run == 1.0
    assert str(figures).startswith("per-question budgets against effort:best (high), ")
    assert figures.to_json()["budget"] == "high" and {t.budget for t in figures.tried} == {"medium", "high"}


def test_where_one_word_serves_all_it_is_no_gain() -> None:
    rows, model, examples = searched_words(difficulty=lambda question: 0.3)
    figures = measure_words(rows, model, examples)
    assert not figures.is_gain and str(figures).startswith("no gain: per-question budgets against effort:best (low)")


def test_the_likely_word_is_the_least_that_serves_as_many_as_the_highest() -> None:
    rows, _, _ = searched_words()
    words = ("low", "medium", "high")
    assert likely_fixed_effort(rows, words) == "medium"
    assert likely_fixed_effort([r for r in rows if r.best is None or r.best.budget == "low"], words) == "low"
    assert likely_fixed_effort([], words) is None
