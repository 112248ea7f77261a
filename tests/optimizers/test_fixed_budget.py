"""The one budget for all questions: chosen by accuracy first, then by tokens, on training questions alone."""

from pathlib import Path
from typing import Any

import dspy
import pytest

import tale_dspy
from tale_dspy.backends.prices import Price
from tale_dspy.errors import SpendCapReached, UsageError
from tale_dspy.optimizers.fixed_budget import BestFixedBudget, FixedBudgetTrial
from tale_dspy.testing import Reply, Request, ScriptedServer
from tale_dspy.testing.problems import budget_of

CHEAP = Price(1e-6, 1e-6)
TRAIN = [dspy.Example(question=f"What is {n} and 0?", answer=str(n)).with_inputs("question") for n in range(10)]

Trials = list[tuple[int, float, float | None]]


@pytest.fixture
def student() -> tale_dspy.BudgetedChainOfThought:
    return tale_dspy.BudgetedChainOfThought("question -> answer")


def elastic(request: Request) -> str:
    """Answers right from a budget of 25 on; below it the reply grows again, above it fills the budget."""
    budget, number = budget_of(request.prompt) or 0, request.prompt.split(" and 0?")[0].rpartition(" ")[2]
    words = budget if budget >= 25 else 3 * budget + 40
    return "so " * (words - 2) + f"Answer: [[{number if budget >= 25 else 'x'}]]"


def asking(server: ScriptedServer, **settings: Any) -> tale_dspy.LM:
    return tale_dspy.LM("openai/x", api_base=server.url, api_key="k", engine="auto", cache=False, **settings)


@pytest.mark.parametrize(
    ("trials", "max_loss", "best"),
    [
        ([(10, 0.9, 50), (20, 0.9, 40), (30, 0.9, 60)], 0.0, 20),
        ([(10, 0.89, 10), (20, 0.90, 40)], 0.01, 10),
        ([(10, 0.88, 10), (20, 0.90, 40)], 0.01, 20),
        ([(10, 0.8, 10), (20, 0.9, 40)], 0.1, 10),
        ([(10, 0.0, 10), (20, 0.0, 5)], 0.01, 20),
        ([(40, 0.9, 20), (10, 0.9, 20)], 0.01, 10),
        ([(10, 0.9, None), (20, 0.9, 400)], 0.01, 20),
        ([(20, 0.9, None), (10, 0.9, None)], 0.01, 10),
        ([(10, 0.1, 1)], 0.0, 10),
    ],
)
def test_the_fewest_tokens_among_those_accurate_enough_win(trials: Trials, max_loss: float, best: int) -> None:
    tried = [FixedBudgetTrial(budget, accuracy, tokens, 100) for budget, accuracy, tokens in trials]
    assert BestFixedBudget(max_loss=max_loss).choose(tried).budget == best


def test_every_budget_is_tried_and_the_best_is_kept(student: Any, tmp_path: Path) -> None:
    with ScriptedServer(elastic) as server:
        search = BestFixedBudget(budgets=[10, 25, 50], lm=asking(server), out=tmp_path / "s")
        best = search.compile(student, trainset=TRAIN)
        assert server.stats.requests == 30
    assert best.token_budget == 25 and student.token_budget is None
    assert student.seen.roles == {} and len(best.seen.roles) == 10 and set(best.seen.roles.values()) == {"train"}
    assert [(t["budget"], t["accuracy"], t["output_tokens"]) for t in best.trial_logs] == [
        *[(10, 0.0, 70.0), (25, 1.0, 25.0), (50, 1.0, 50.0)]
    ]
    assert search.stopped is None
    assert tale_dspy.load_run(tmp_path / "s" / "budget-25").name == "budget:25"


def test_a_metric_of_ones_own_decides(student: Any) -> None:
    with ScriptedServer(elastic) as server:
        search = BestFixedBudget(lambda e, p, trace=None: p.answer == "x", budgets=[10, 50], lm=asking(server))
        assert search.compile(student, trainset=TRAIN).token_budget == 10


def test_a_killed_search_goes_on_where_it_was(student: Any, tmp_path: Path) -> None:
    with ScriptedServer(elastic) as server:
        options: dict[str, Any] = {"lm": asking(server), "out": tmp_path}
        BestFixedBudget(budgets=[10, 25], **options).compile(student, trainset=TRAIN)
        requests_before = server.stats.requests
        assert BestFixedBudget(budgets=[10, 25, 50], **options).compile(student, trainset=TRAIN).token_budget == 25
        assert server.stats.requests == requests_before + 10


def test_a_cap_ends_the_search_with_what_was_finished(student: Any, caplog: pytest.LogCaptureFixture) -> None:
    with ScriptedServer(elastic) as server:
        options: dict[str, Any] = {"lm": asking(server, max_tokens=120), "price": CHEAP, "concurrency": 1}
        search = BestFixedBudget(budgets=[25, 50, 100], max_usd=0.0025, **options)
        assert search.compile(student, trainset=TRAIN).token_budget == 25
        assert (server.stats.prompt_tokens + server.stats.completion_tokens) * 1e-6 <= 0.0025
    assert search.stopped and "spend cap reached" in search.stopped
    assert "ended at budget 100" in caplog.text


def test_a_cap_in_tokens_is_shared_by_all_budgets_and_reported_afterwards(student: Any) -> None:
    with ScriptedServer(elastic) as server:
        options: dict[str, Any] = {"lm": asking(server, max_tokens=120), "concurrency": 1}
        search = BestFixedBudget(budgets=[25, 50], max_total_output_tokens=1000, **options)
        search.compile(student, trainset=TRAIN)
        assert search.caps.left()["max_total_output_tokens"] == 1000 - server.stats.completion_tokens == 250
        assert search.compile(student, trainset=TRAIN).token_budget == 25  # another search has the whole cap again


def test_a_cap_before_the_first_budget_is_raised(student: Any) -> None:
    with ScriptedServer(elastic) as server, pytest.raises(SpendCapReached, match="spend cap reached"):
        lm = asking(server, max_tokens=120)
        BestFixedBudget(budgets=[25], max_usd=0.0005, price=CHEAP, lm=lm).compile(student, trainset=TRAIN)


def test_a_provider_that_tells_no_tokens_leaves_the_smallest_good_budget(student: Any) -> None:
    with ScriptedServer(lambda r: Reply(elastic(r), usage=False)) as server:
        best = BestFixedBudget(budgets=[50, 25], lm=asking(server)).compile(student, trainset=TRAIN)
    assert best.token_budget == 25 and {t["output_tokens"] for t in best.trial_logs} == {None}


def test_the_program_saves_and_loads_with_budget_and_memory(student: Any, tmp_path: Path) -> None:
    with ScriptedServer(elastic) as server:
        lm = asking(server)
        BestFixedBudget(budgets=[25], lm=lm).compile(student, trainset=TRAIN).save(tmp_path / "p.json")
        loaded = tale_dspy.load(tmp_path / "p.json")
        assert loaded.token_budget == 25
        with pytest.raises(UsageError, match=r"1 of 1 questions were used to make this program \(train\)"):
            tale_dspy.evaluate(loaded, TRAIN[:1], lm=lm)
        run = tale_dspy.evaluate(loaded, TRAIN[:1], lm=lm, allow_leak=True)
        assert run.info["contaminated"] is True and run.accuracy == 1.0


def test_a_program_may_be_tuned_again_on_the_same_questions(student: Any) -> None:
    with ScriptedServer(elastic) as server:
        search = BestFixedBudget(budgets=[25], lm=asking(server))
        once = search.compile(student, trainset=TRAIN)
        assert search.compile(once, trainset=TRAIN).token_budget == 25


def test_a_dataset_names_its_own_gold(student: Any, tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text('{"question": "What is 3 and 0?", "total": "3"}\n')
    train = tale_dspy.load_dataset(tmp_path / "t.jsonl", gold="total")
    with ScriptedServer(elastic) as server:
        program = tale_dspy.BudgetedChainOfThought(train.signature)
        search = BestFixedBudget(budgets=[25], lm=asking(server))
        assert search.compile(program, trainset=train).trial_logs[0]["accuracy"] == 1.0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"budgets": []}, "at least one budget"),
        ({"budgets": [0]}, "at least 1, got 0"),
        ({"budgets": [2.5]}, "whole number"),
        ({"max_loss": 2}, "max_loss must be a fraction"),
        ({"max_loss": float("nan")}, "max_loss must be a fraction"),
        ({"max_usd": 0}, "max_usd must be a number above 0"),
        ({"max_total_output_tokens": -1}, "max_total_output_tokens must be a number above 0"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        BestFixedBudget(**options)


def test_a_student_that_takes_no_budget_is_refused() -> None:
    with pytest.raises(UsageError, match="must be a BudgetedChainOfThought, got VanillaCoT"):
        BestFixedBudget().compile(tale_dspy.VanillaCoT("question -> answer"), trainset=TRAIN)


def test_effort_words_are_ranked_behind_numbers_in_their_order() -> None:
    search = BestFixedBudget(budgets=["high", "low", 50])
    trials = [FixedBudgetTrial(b.to_json(), 0.9, None, 10) for b in search.budgets]
    assert search.choose(trials).budget == 50
    assert search.choose(trials[:2]).budget == "low"
