"""TaleEP(shadow_rate=...): some calls are asked without a budget, too, and the ledger tells what that says."""

import asyncio
import json
from pathlib import Path
from typing import Any

import dspy
import pytest

import tale_dspy
from tale_dspy import TaleEP
from tale_dspy.errors import UsageError
from tale_dspy.programs.shadow import ShadowCheck, answers_agree, check_shadow_rate
from tale_dspy.testing import Reply, Request, ScriptedServer, SolverReply, word_problems

BANK = {row["question"]: row["answer"] for row in word_problems(40)}
SOLVER = SolverReply(BANK, wrong=0.0)


def asking(server: ScriptedServer) -> Any:
    return dspy.context(lm=dspy.LM("openai/s", api_base=server.url, api_key="any", engine="auto", cache=False))


def test_agreement_and_saving_are_booked_and_the_answer_is_the_budgeted_one() -> None:
    with ScriptedServer(SOLVER) as server, asking(server), tale_dspy.track() as ledger:
        program = TaleEP("question -> answer", shadow_rate=1.0)
        preds = [program(question=q) for q in list(BANK)[:9]]
        preds.append(asyncio.run(program.acall(question=list(BANK)[9])))
    kinds = {kind: stats.completion_tokens for kind, stats in server.stats.by_kind.items()}
    assert server.stats.by_kind["cot"].requests == 10 and ledger.roles["shadow"].calls == 10
    assert ledger.shadow.calls == 10 and ledger.shadow.net_tokens == kinds["budget"] + kinds["estimate"]
    assert ledger.shadow.vanilla_tokens == kinds["cot"] == ledger.roles["shadow"].output_tokens
    assert ledger.shadow.agreed == sum(pred.answer == BANK[q] for pred, q in zip(preds, BANK, strict=False))
    assert [c.role for c in tale_dspy.receipt(preds[0]).calls] == ["estimate", "reason"]
    document = json.loads(json.dumps(ledger.to_json()))["shadow"]
    assert document["saving"] == pytest.approx(1 - ledger.shadow.net_tokens / kinds["cot"])
    assert f"shadow: {ledger.shadow.agreed} of 10 answers the same without a budget" in str(ledger)


def test_a_seeded_share_of_the_calls_is_picked() -> None:
    inputs = [{"question": f"q{i}"} for i in range(2000)]
    first, again, other = ([ShadowCheck(0.1, s).picks(i) for i in inputs] for s in (0, 0, 1))
    assert first == again != other
    assert 150 <= sum(first) <= 250
    with ScriptedServer(SOLVER) as server, asking(server), tale_dspy.track() as ledger:
        program = TaleEP("question -> answer", shadow_rate=ShadowCheck(0.2, seed=3))
        for question in BANK:
            program(question=question)
    assert ledger.shadow.calls == sum(program.shadow_rate.picks({"question": q}) for q in BANK) > 0


class Passage:
    """An input whose `str` holds its address."""


def test_inputs_of_any_kind_are_picked_always_or_never() -> None:
    assert len({ShadowCheck(0.5).picks({"passages": [Passage() for _ in range(n)]}) for n in (2, 2, 2, 2, 2, 2)}) == 1
    assert ShadowCheck(1.0).picks({"cells": {(0, 1): "a"}})


def test_without_a_shadow_check_nothing_is_asked_twice() -> None:
    with ScriptedServer(SOLVER) as server, asking(server), tale_dspy.track() as ledger:
        TaleEP("question -> answer")(question=next(iter(BANK)))
    assert server.stats.requests == 2 and ledger.to_json()["shadow"] is None


@pytest.mark.parametrize("failure", [Reply("no", status=400), Reply("I do not know.")])
def test_a_shadow_check_that_fails_costs_no_answer(failure: Reply) -> None:
    def reply(request: Request) -> Reply:
        return failure if request.kind == "cot" else SOLVER(request)

    question = next(iter(BANK))
    with ScriptedServer(reply) as server, asking(server), tale_dspy.track() as ledger:
        pred = TaleEP("question -> answer", shadow_rate=1)(question=question)
    assert pred.answer == BANK[question] and (ledger.shadow.calls, ledger.shadow.failed) == (1, 1)
    assert ledger.shadow.saving is None and "shadow: 0 of 0" in str(ledger)


def test_a_run_counts_a_shadow_check_apart_from_the_answer() -> None:
    question = next(iter(BANK))
    example = dspy.Example(question=question, answer=BANK[question]).with_inputs("question")
    with ScriptedServer(SOLVER) as server, asking(server), tale_dspy.track() as ledger:
        run = tale_dspy.evaluate(TaleEP("question -> answer", shadow_rate=1), [example])
    kinds = {kind: stats.completion_tokens for kind, stats in server.stats.by_kind.items()}
    (record,) = run.records
    assert (record.output_tokens, record.estimate_tokens) == (kinds["budget"], kinds["estimate"])
    assert (record.calls, record.metric_tokens) == (3, kinds["cot"]) and ledger.shadow.calls == 1


def test_answers_agree_whatever_their_form() -> None:
    assert answers_agree(
        {"answer": "0.5", "reasoning": "a"}, {"answer": "1/2", "reasoning": "b"}, ["reasoning", "answer"]
    )
    assert answers_agree({"n": 3}, {"n": 3}, ["n"]) and not answers_agree({"n": 3}, {"n": 4}, ["n"])
    assert not answers_agree({"answer": None}, {"answer": "7"}, ["answer"])


@pytest.mark.parametrize("share", [0, -0.1, 1.5, True, "2 %", float("nan")])
def test_what_is_no_share_is_refused(share: Any) -> None:
    with pytest.raises(UsageError, match="shadow_rate must be a share"):
        check_shadow_rate(share)


def test_a_shadow_check_is_saved_with_the_program_and_an_older_file_has_none(tmp_path: Path) -> None:
    program = TaleEP("question -> answer", shadow_rate=ShadowCheck(0.25, seed=3))
    program.save(tmp_path / "p.json")
    assert tale_dspy.load(tmp_path / "p.json").shadow_rate == ShadowCheck(0.25, seed=3)
    state = program.dump_state()
    del state["shadowed"]
    older = TaleEP("question -> answer", shadow_rate=0.5)
    older.load_state(state)
    assert older.shadow_rate == ShadowCheck(0.5)
    older.shadow_rate = None
    assert older.dump_state()["shadowed"] == {}
