"""A ladder of budgets: every rung asked once, the same questions on each, caps and resume as in any run."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import dspy
import pytest
from fake_lm import FakeLM, fake_lm

import tale_dspy
from tale_dspy.backends.prices import Price
from tale_dspy.errors import SpendCapReached, UsageError
from tale_dspy.optimizers.budget_sweep import SHARES, parse_point, sweep_budgets, with_given_budget
from tale_dspy.testing import EffortReply, Reply, Request, ScriptedServer
from tale_dspy.testing.problems import budget_of

ROWS = [dspy.Example(question=f"What is {n} and 0?", answer=str(n)).with_inputs("question") for n in range(5)]
DATA = tale_dspy.Dataset("stories", ROWS, "answer", "question -> answer", "answer", "number", "test", "x")


def solve(prompt: str) -> str:
    """As many words as the budget, or 40 and the number without one."""
    number = int(prompt.split(" and 0?")[0].rpartition(" ")[2])
    return "so " * ((budget_of(prompt) or 41 + number) - 1) + f"[[{number}]]"


@pytest.fixture
def lm() -> FakeLM:
    return fake_lm(solve)


def tokens(run: Any) -> list[int]:
    return [r.output_tokens for r in sorted(run.records, key=lambda r: int(r.gold))]


def test_each_budget_is_asked_from_the_largest_down_without_an_estimate(lm: FakeLM) -> None:
    sweep = sweep_budgets(tale_dspy.TaleEP("question -> answer"), DATA, [10, 30, 10], lm=lm)
    assert [r.name for r in sweep.runs] == ["cot", "budget:30", "budget:10"] and sweep.stopped is None
    assert tokens(sweep.vanilla) == [41, 42, 43, 44, 45] and tokens(sweep.points[1]) == [10] * 5
    assert len(lm.prompts) == 15


def test_shares_are_of_each_questions_own_tokens(lm: FakeLM) -> None:
    sweep = sweep_budgets(tale_dspy.BudgetedChainOfThought("question -> answer"), DATA, [0.5], lm=lm)
    assert tokens(sweep.points[0]) == [round(0.5 * t) for t in tokens(sweep.vanilla)]
    assert {r.budget_source for r in sweep.points[0].records} == {"given"}
    names = [f"budget:{s}" for s in SHARES]
    assert [r.name for r in sweep_budgets(tale_dspy.TaleEP("question -> answer"), DATA, lm=lm).points] == names


class Two(dspy.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.first = tale_dspy.TaleEP("question -> topic", temperature=0.3)
        self.steps = [tale_dspy.BudgetedChainOfThought("question, topic -> answer", 99)]

    def forward(self, question: str) -> Any:
        return self.steps[0](question=question, topic=self.first(question=question).topic)


def test_rows_that_stand_twice_and_failed_once_are_left_out_of_the_shares() -> None:
    asked = []

    def reply(request: Request) -> Reply:
        asked.append(request)
        return Reply("no", status=400) if len(asked) == 1 else Reply(solve(request.prompt))

    data = replace(DATA, examples=[ROWS[1], ROWS[1], ROWS[2]])
    with ScriptedServer(reply) as server:
        lm = tale_dspy.LM("openai/s", api_base=server.url, api_key="any", engine="auto", cache=False)
        program = tale_dspy.BudgetedChainOfThought("question -> answer")
        sweep = sweep_budgets(program, data, [0.5], lm=lm, concurrency=1)
    assert sweep.vanilla.summary["outcomes"]["error"] == 1
    assert [(r.gold, r.id) for r in sweep.points[0].records] == [("2", sweep.vanilla.records[-1].id)]


def test_every_budgeted_predictor_of_a_program_is_given_the_budget(lm: FakeLM) -> None:
    program = Two()
    program.first.on_skip = "unbudgeted"
    rung = with_given_budget(program, 7)
    assert (rung.first.on_skip, rung.steps[0].on_skip) == ("unbudgeted", None)
    assert rung.first.token_budget == rung.steps[0].token_budget == 7 and rung.first.predict.config == {
        "temperature": 0.3
    }
    assert isinstance(program.first, tale_dspy.TaleEP) and program.steps[0].token_budget == 99
    sweep = sweep_budgets(program, DATA, [12], lm=lm)
    assert tokens(sweep.points[0]) == [24] * 5
    with pytest.raises(UsageError, match=r"one budgeted predictor, this one has first, steps\[0\]"):
        sweep_budgets(program, DATA, [0.5], lm=lm)


def test_a_killed_ladder_goes_on_where_it_was(lm: FakeLM, tmp_path: Path) -> None:
    student = tale_dspy.TaleEP("question -> answer")
    sweep_budgets(student, DATA, [0.5, 0.2], lm=lm, out=tmp_path)
    count = len(lm.prompts)
    sweep = sweep_budgets(student, DATA, [0.5, 0.2, 0.1], lm=lm, out=tmp_path)
    assert len(lm.prompts) == count + 5 and len(sweep.points) == 3
    assert tale_dspy.load_run(tmp_path / "budget-0.1x").name == "budget:0.1x"


def test_a_cap_keeps_the_points_finished_until_then() -> None:
    lm = fake_lm(solve, max_tokens=60)
    options: dict[str, Any] = {"lm": lm, "price": Price(0, 1e-6), "concurrency": 1}
    sweep = sweep_budgets(tale_dspy.TaleEP("question -> answer"), DATA, [30, 20, 10], max_usd=0.000425, **options)
    assert [r.name for r in sweep.points] == ["budget:30"] and sweep.stopped and "spend cap reached" in sweep.stopped
    with pytest.raises(SpendCapReached):
        sweep_budgets(tale_dspy.TaleEP("question -> answer"), DATA, [30], max_usd=0.0001, **options)


@pytest.mark.parametrize(("text", "rung"), [("50", 50), (" 0.25x", 0.25), ("1x", 1.0)])
def test_a_budget_is_read(text: str, rung: float) -> None:
    assert parse_point(text) == rung and type(parse_point(text)) is type(rung)


@pytest.mark.parametrize("text", ["", "0", "0x", "-3", "half", "1e3", "9" * 30, "٣"])
def test_a_budget_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="a budget is a number of tokens such as 50, a share such as"):
        parse_point(text)


@pytest.mark.parametrize(
    ("budgets", "said"),
    [
        ([], "at least one budget"),
        ([10, 0.5], "tokens, shares or effort words, one kind"),
        ([0], "at least 1, got 0"),
        ([0.0], "a share must be a positive number"),
    ],
)
def test_a_ladder_that_cannot_be_climbed_is_refused(budgets: Any, said: str, lm: FakeLM) -> None:
    with pytest.raises(UsageError, match=said):
        sweep_budgets(tale_dspy.TaleEP("question -> answer"), DATA, budgets, lm=lm)
    with pytest.raises(UsageError, match="has no budgeted predictor"):
        sweep_budgets(tale_dspy.VanillaCoT("question -> answer"), DATA, [10], lm=lm)


def test_effort_words_are_asked_from_the_most_to_the_least_with_and_without_the_phrase() -> None:
    with ScriptedServer(EffortReply({e.question: e.answer for e in ROWS})) as server:
        gpt = tale_dspy.LM("openai/gpt-5", api_base=server.url, api_key="any", engine="auto", cache=False)
        program = tale_dspy.BudgetedChainOfThought("question -> answer")
        given_words = sweep_budgets(program, DATA, ["low", "high", "max"], lm=gpt)
        by_default = sweep_budgets(program, DATA, lm=gpt)
        bodies = [request.body for request in server.requests]
    assert [run.name for run in given_words.points] == ["effort:high", "effort:low"]  # max would be sent as high
    words = ["high", "medium", "low", "minimal"]
    assert [r.name for r in by_default.points] == [f"effort:{word}{n}" for word in words for n in ("", "+50")]
    assert len(bodies) == (1 + 2 + 1 + 8) * len(ROWS)
    assert {body.get("reasoning_effort") for body in bodies} == {None, *words}


def test_words_that_no_request_carries_are_asked_once(lm: FakeLM, caplog: pytest.LogCaptureFixture) -> None:
    sweep = sweep_budgets(tale_dspy.BudgetedChainOfThought("question -> answer"), DATA, ["low", "high"], lm=lm)
    assert [run.name for run in sweep.points] == ["effort:low"]
    assert "effort low (the same request as high): asked once" in caplog.text
    assert parse_point("low") == "low"
    with pytest.raises(UsageError, match="one kind"):
        sweep_budgets(tale_dspy.BudgetedChainOfThought("question -> answer"), DATA, ["low", 50], lm=lm)
