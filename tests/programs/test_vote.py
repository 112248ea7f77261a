"""Adaptive self-consistency: who wins, when it stops, what is paid, and that it saves and loads."""

import asyncio
import itertools
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dspy
import pytest
from fake_lm import fake_lm

import tale_dspy
from tale_dspy import BudgetedChainOfThought, SpendCapReached, TaleEP, UsageError, VanillaCoT, Vote, receipt
from tale_dspy.programs.vote import VoteOptions, VoteTally, leader_probability
from tale_dspy.testing import Reply, Request, ScriptedServer

COT = "question -> answer"


def replies(*answers: str) -> Any:
    cycle: Iterator[str] = itertools.cycle(answers)
    return fake_lm(lambda prompt: f"So.\nAnswer: [[{next(cycle)}]]")


def ask(lm: Any, *, asynchronous: bool = False, program: Any = None, **options: Any) -> Any:
    module = Vote(program or VanillaCoT(COT), **options)
    with dspy.context(lm=lm):
        return asyncio.run(module.acall(question="3+4?")) if asynchronous else module(question="3+4?")


# ---- when it stops


def test_the_posterior_is_that_of_a_uniform_prior() -> None:
    chance = random.Random(0)
    for first, second in ((2, 1), (4, 0), (5, 3)):
        draws = [chance.betavariate(first + 1, second + 1) > 0.5 for _ in range(20_000)]
        assert leader_probability(first, second) == pytest.approx(sum(draws) / len(draws), abs=0.015)


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize(
    ("answers", "votes", "won"),
    [
        (["7"], 4, "7"),
        (["7", "8", *"777777"], 7, "7"),
        (["8", "7", *"777777"], 7, "7"),
        (["7.0", "7", "07", "$7"], 4, "7.0"),
    ],
)
def test_it_stops_when_the_leader_is_sure(answers: list[str], votes: int, won: str, *, asynchronous: bool) -> None:
    pred = ask(replies(*answers), asynchronous=asynchronous)
    assert (pred.answer, receipt(pred).votes, len(receipt(pred).calls)) == (won, votes, votes)


def test_no_more_is_asked_where_the_rest_cannot_change_it() -> None:
    pred = ask(replies("7", "7", "7", "8"), confidence=1, max_votes=5)
    assert (pred.answer, receipt(pred).votes) == ("7", 3)


def test_all_votes_are_cast_where_replies_differ() -> None:
    pred = ask(replies(*map(str, range(9))), max_votes=5)
    assert (pred.answer, receipt(pred).votes, receipt(pred).votes_for_answer) == ("0", 5, 1)


def test_a_round_never_asks_more_than_one_by_one_would() -> None:
    options = VoteOptions(max_votes=12, confidence=0.9)
    for seed in range(200):
        chance = random.Random(seed)
        script = [dspy.Prediction(answer=chance.choice("aab")) for _ in range(12)]
        by_round, one_by_one = VoteTally(), VoteTally()
        while (missing := by_round.needed(options)) > 0:
            for reply in script[by_round.replies : by_round.replies + missing]:
                by_round.add(reply)
        while one_by_one.needed(options) > 0:
            one_by_one.add(script[one_by_one.replies])
        assert (by_round.replies, by_round.winner) == (one_by_one.replies, one_by_one.winner)


# ---- what counts


def test_a_reply_without_an_answer_is_no_vote() -> None:
    turns = itertools.cycle(["Who knows.", "So.\nAnswer: [[7]]"])
    pred = ask(fake_lm(lambda prompt: next(turns)), max_votes=7)
    assert (pred.answer, receipt(pred).votes, receipt(pred).votes_for_answer) == ("7", 6, 3)


def test_without_any_answer_the_first_reply_is_given() -> None:
    pred = ask(fake_lm("Who knows."), max_votes=3)
    assert (pred.answer, receipt(pred).status, receipt(pred).votes, receipt(pred).votes_for_answer) == (
        None,
        "unreadable",
        3,
        0,
    )


@pytest.mark.parametrize("program", [VanillaCoT(COT), dspy.ChainOfThought(COT), TaleEP(COT)])
def test_a_reply_that_was_cut_is_no_vote(program: Any) -> None:
    """As in a run, where what looks like an answer in a cut reply does not count."""
    turns = itertools.cycle(["8", "8", "7"])

    def reply(request: Request) -> Reply:
        if "minimum number of tokens" in str(request.prompt):
            return Reply("Budget: [[40]]")
        answer = next(turns)
        cut = "length" if answer == "8" else "stop"
        form = "[[ ## reasoning ## ]]\nSo.\n\n[[ ## answer ## ]]\n{}" if "[[ ## " in request.prompt else "So.\n[[{}]]"
        return Reply(form.format(answer), finish_reason=cut)

    with ScriptedServer(reply) as server:
        lm = dspy.LM("openai/s", api_base=server.url, api_key="any", engine="auto", cache=False)
        pred = ask(lm, program=program, max_votes=6)
        cut_alone = ask(lm, program=program, max_votes=1)
        run = tale_dspy.evaluate(
            Vote(program, 1), [dspy.Example(question="3+5?", answer="8").with_inputs("question")] * 2, lm=lm
        )
    assert (pred.answer, receipt(pred).votes, receipt(pred).votes_for_answer) == ("7", 6, 2)
    assert (cut_alone.answer, receipt(cut_alone).status, receipt(cut_alone).votes_for_answer) == ("8", "truncated", 0)
    assert run.summary["outcomes"]["truncated"] == 1


@pytest.mark.parametrize("asynchronous", [False, True])
def test_only_the_winning_reply_is_in_the_trace(*, asynchronous: bool) -> None:
    with dspy.context(trace=[]):
        ask(replies("8", "7", "7"), asynchronous=asynchronous, max_votes=3)
        assert [step[2].answer for step in dspy.settings.trace] == ["7"]
    with dspy.context(trace=None):
        assert ask(replies("7")).answer == "7"


def test_of_equally_many_votes_the_answer_given_first_wins() -> None:
    assert ask(replies("7", "8", "8", "7"), max_votes=4).answer == "7"


def test_every_vote_is_a_draw_of_its_own() -> None:
    lm = replies("7")
    ask(lm)
    ids = [entry["kwargs"]["rollout_id"] for entry in lm.history]
    assert len(set(ids)) == 4
    assert {entry["kwargs"]["temperature"] for entry in lm.history} == {0.7}


class Inner(dspy.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.solve = VanillaCoT(COT)

    def forward(self, question: str) -> Any:
        return self.solve(question=question)


@pytest.mark.parametrize("program", [VanillaCoT(COT), Inner(), Vote(VanillaCoT(COT), 1)])
def test_another_rollout_of_the_model_is_another_draw(program: Any) -> None:
    """As `dspy.BestOfN` asks again, and as a vote of votes does."""
    numbers = itertools.count()
    lm = fake_lm(lambda prompt: f"So.\nAnswer: [[{next(numbers)}]]", cache=True)
    answers = []
    for rollout in (1, 2, 1):
        with dspy.context(lm=lm.copy(rollout_id=rollout, temperature=1.0)):
            answers.append(Vote(program, 1)(question=f"Which rollout, {type(program).__name__}?").answer)
    assert answers == ["0", "1", "0"]


def test_a_budget_is_estimated_once() -> None:
    lm = fake_lm(lambda p: "Budget: [[40]]" if "minimum number of tokens" in str(p) else "Seven.\nAnswer: [[7]]")
    pred = ask(lm, program=TaleEP(COT))
    call_receipt = receipt(pred)
    assert (len(call_receipt.of("estimate")), len(call_receipt.of("reason")), pred.token_budget) == (1, 4, 40)
    assert (call_receipt.budget_source, call_receipt.program) == ("estimate", "Vote")


def test_the_receipt_says_where_the_budget_is_from_whichever_reply_wins() -> None:
    answers = itertools.cycle("8777")
    lm = fake_lm(
        lambda p: "Budget: [[40]]" if "minimum number of tokens" in str(p) else f"So.\nAnswer: [[{next(answers)}]]"
    )
    call_receipt = receipt(ask(lm, program=TaleEP(COT), max_votes=4))
    assert (call_receipt.budget_source, call_receipt.estimate, call_receipt.estimate_text) == (
        "estimate",
        40,
        "Budget: [[40]]",
    )


def test_an_own_program_of_several_predictors_votes_too() -> None:
    class Two(dspy.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.draft, self.solve = VanillaCoT("question -> plan"), VanillaCoT("question, plan -> answer")

        def forward(self, question: str) -> Any:
            return self.solve(question=question, plan=self.draft(question=question).plan)

    lm = fake_lm("So.\n[[7]]")
    pred = ask(lm, program=Two())
    assert (pred.answer, receipt(pred).votes, len(receipt(pred).calls)) == ("7", 4, 8)


def test_a_spend_cap_ends_it_as_itself() -> None:
    with pytest.raises(SpendCapReached), tale_dspy.track(max_total_output_tokens=1):
        ask(fake_lm("So.\nAnswer: [[7]]"))


# ---- saved, refused


@pytest.mark.parametrize("program", [VanillaCoT(COT), BudgetedChainOfThought(COT, "low+50"), TaleEP(COT, floor=9)])
def test_it_loads_as_it_was(program: Any, tmp_path: Path) -> None:
    module = Vote(program, 5, 0.8, temperature=0.3)
    module.save(tmp_path / "p.json")
    loaded = tale_dspy.load(tmp_path / "p.json")
    assert loaded.dump_state() == module.dump_state()
    assert (repr(loaded), type(loaded.program)) == (repr(module), type(program))


@pytest.mark.parametrize(
    "options", [{"max_votes": 0}, {"max_votes": 2.5}, {"confidence": 0.5}, {"confidence": 2}, {"program": "cot"}]
)
def test_options_that_cannot_be_used_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Vote(**{"program": VanillaCoT(COT), **options})
