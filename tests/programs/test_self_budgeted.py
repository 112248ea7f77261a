"""SelfBudgeted: one call, whose reply begins with the budget it keeps to."""

import asyncio
from pathlib import Path
from typing import Any

import dspy
import pytest
from fake_lm import fake_lm, sections, text_of

import tale_dspy
from tale_dspy import Price, SelfBudgeted, TaleEP
from tale_dspy.adapter import TaleAdapter
from tale_dspy.errors import SignatureError
from tale_dspy.testing import ScriptedServer, SolverReply, word_problems

REPLY = "Budget: [[30]]\nThree and four.\nAnswer: [[7]]"
ADAPTERS = [None, dspy.ChatAdapter(), dspy.JSONAdapter(), dspy.XMLAdapter()]


def ask(reply: Any, signature: str = "question -> answer", **kwargs: Any) -> Any:
    with dspy.context(lm=fake_lm(reply)):
        return SelfBudgeted(signature, **kwargs)(question="3+4?")


def test_one_call_asks_for_the_budget_and_the_answer() -> None:
    lm = fake_lm(REPLY)
    with dspy.context(lm=lm):
        pred = SelfBudgeted("question -> answer", adapter=TaleAdapter("paper"))(question="3+4?")
    assert lm.prompts == [
        "Q: 3+4?\nPlease Give the response by strictly following this format: [[answer]], for example: Answer: [[50]]."
        "First state the minimum number of tokens that you need, for example: Budget: [[12]]. "
        "Then let's think step by step and use fewer tokens than that:\n"
    ]
    assert (pred.answer, pred.reasoning) == ("7", "Three and four.")
    assert (pred.token_budget, pred.receipt["budget_source"], pred.receipt["estimate"]) == (30, "stated", 30)
    assert (pred.output_tokens, pred.estimate_tokens) == (len(REPLY.split()), None)
    assert str(tale_dspy.receipt(pred)) == "SelfBudgeted: budget 30 (stated), 7 output tokens, cost unknown"


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_every_adapter_reads_budget_and_answer_in_a_call_and_in_acall(adapter: Any) -> None:
    def reply(prompt: str) -> str:
        if adapter is None:
            return REPLY
        wanted_sections = sections(prompt, "7") if not isinstance(adapter, dspy.XMLAdapter) else ""
        if wanted_sections:
            return wanted_sections.replace("7", "30", 1)
        return "<token_budget>30</token_budget><reasoning>r</reasoning><answer>7</answer>"

    with dspy.context(lm=fake_lm(reply), adapter=adapter):
        module = SelfBudgeted("question -> answer")
        for pred in (module(question="3+4?"), asyncio.run(module.acall(question="3+4?"))):
            assert (pred.keys(), pred.answer, pred.token_budget) == (["reasoning", "answer"], "7", 30)


@pytest.mark.parametrize(
    ("reply", "budget"),
    [
        ("So.\nAnswer: [[7]]", None),
        ("Budget: [[none]]\nSo.\nAnswer: [[7]]", None),
        ("Budget: [[0]]\nSo.\nAnswer: [[7]]", None),
        ("Budget: [[50-80]]\nSo.\nAnswer: [[7]]", 80),
        ("Budget: [[1e999]]\nSo.\nAnswer: [[7]]", None),
    ],
)
def test_a_budget_that_cannot_be_read_costs_no_answer(reply: str, budget: int | None) -> None:
    pred = ask(reply)
    assert (pred.answer, pred.reasoning, pred.token_budget) == ("7", "So.", budget)
    assert pred.receipt["status"] == "answered"
    assert pred.receipt["budget_source"] == (budget and "stated")


@pytest.mark.parametrize("reply", ["Budget: [[30]]", "Budget: [[30]]\nI do not know."])
def test_the_budget_is_never_taken_for_the_answer(reply: str) -> None:
    pred = ask(reply)
    assert (pred.answer, pred.token_budget, pred.receipt["status"]) == (None, 30, "unreadable")


def test_a_choice_and_several_outputs_are_asked_for_in_their_own_form() -> None:
    assert ask("Budget: [[9]]\nB fits.\nChoice: [[B]]", "question -> choice").choice == "B"
    pred = ask("Budget: [[9]]\nTotal: [[7]], Ok: [[true]]", "question -> total: int, ok: bool")
    assert (pred.total, pred.ok, pred.token_budget) == (7, True, 9)


def test_a_demo_shows_the_budget_first_and_one_without_is_left_out() -> None:
    lm = fake_lm(REPLY)
    module = SelfBudgeted("question -> answer")
    module.predict.demos = [
        dspy.Example(question="1+1?", token_budget="9", reasoning="Two.", answer="2"),
        dspy.Example(question="2+2?", answer="4"),
    ]
    with dspy.context(lm=lm):
        module(question="3+4?")
    texts = [text_of(m) for m in lm.fake.requests[0].messages]
    assert "Budget: [[9]]\nTwo.\nAnswer: [[2]]" in texts
    assert not any("2+2?" in text for text in texts)


def test_the_trace_keeps_the_stated_budget_for_optimizers() -> None:
    with dspy.context(lm=fake_lm(REPLY), trace=[]):
        pred = SelfBudgeted("question -> answer")(question="3+4?")
        (_, _, traced) = dspy.settings.trace[0]
    assert traced.token_budget == "30"
    assert "token_budget" not in pred and pred.completions.answer == ["7"]


def test_it_is_saved_and_loaded_whole(tmp_path: Path) -> None:
    module = SelfBudgeted("question -> answer", temperature=0.5)
    module.predict.signature = module.predict.signature.with_instructions("Be exact.")
    module.save(tmp_path / "p.json")
    loaded = tale_dspy.load(tmp_path / "p.json")
    assert isinstance(loaded, SelfBudgeted) and loaded.predict.config == {"temperature": 0.5}
    assert loaded.predict.signature.instructions == "Be exact."
    with dspy.context(lm=fake_lm(REPLY)):
        assert loaded(question="3+4?").token_budget == 30


def test_a_state_of_a_plain_chain_of_thought_loads_by_name(tmp_path: Path) -> None:
    plain = dspy.ChainOfThought("question -> answer")
    plain.predict.demos = [dspy.Example(question="1+1?", reasoning="Two.", answer="2")]
    plain.save(tmp_path / "p.json")
    module = SelfBudgeted("question -> answer")
    module.load(tmp_path / "p.json")
    assert len(module.predict.demos) == 1


def test_a_field_named_token_budget_is_refused() -> None:
    with pytest.raises(SignatureError, match="token_budget"):
        SelfBudgeted("question, token_budget -> answer")


def test_one_call_is_cheaper_than_two_where_the_model_keeps_to_what_it_states() -> None:
    bank = {row["question"]: row["answer"] for row in word_problems(40)}
    right, net, usd = {}, {}, {}
    with ScriptedServer(SolverReply(bank)) as server:
        lm = dspy.LM("openai/scripted", api_base=server.url, api_key="any", engine="auto", cache=False)
        for kind in (SelfBudgeted, TaleEP):
            program = kind("question -> answer", adapter=TaleAdapter("paper"))
            with dspy.context(lm=lm), tale_dspy.track(price=Price(1e-6, 4e-6)) as ledger:
                preds = [(program(question=q), a) for q, a in bank.items()]
            right[kind] = sum(pred.answer == a for pred, a in preds)
            net[kind], usd[kind] = ledger.output_tokens, ledger.spent_usd
    assert right[SelfBudgeted] == right[TaleEP]
    assert net[SelfBudgeted] <= net[TaleEP] and usd[SelfBudgeted] < 0.85 * usd[TaleEP]
