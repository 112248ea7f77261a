"""A guarantee about budgets holds where it was made, and says where it does not."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import dspy
import pytest
from fake_lm import fake_lm, sections

import tale_dspy
from tale_dspy.programs.guarantee import (
    CalibrationContext,
    CalibrationGuarantee,
    calibration_context,
    warn_if_invalid,
    warn_of_others,
)

GUARANTEE = CalibrationGuarantee(
    epsilon=0.01, delta=0.05, scale=0.5, n=400, lost=0, model="fake/model", adapter="TaleAdapter", temperature=None,
    mode="auto", data="stories", data_hash="ab", program="cd", budgets=(40,),
)  # fmt: skip


def guaranteed(**changed: Any) -> tale_dspy.BudgetedChainOfThought:
    program = tale_dspy.BudgetedChainOfThought("question -> answer", 40)
    program.fixed.guarantee = replace(GUARANTEE, **changed)
    return program


@pytest.fixture(autouse=True)
def untold() -> None:
    warn_if_invalid.cache_clear()


def test_it_survives_saving_and_loading(tmp_path: Path) -> None:
    guaranteed().save(tmp_path / "p.json")
    assert tale_dspy.load(tmp_path / "p.json").fixed.guarantee == GUARANTEE
    ep = tale_dspy.TaleEP("question -> answer", scale=0.5)
    ep.limits.guarantee = replace(GUARANTEE, budgets=ep.limits.budgets)
    ep.save(tmp_path / "e.json")
    assert tale_dspy.load(tmp_path / "e.json").limits.guarantee == ep.limits.guarantee


def test_a_program_without_one_saves_and_loads_without(tmp_path: Path) -> None:
    program = tale_dspy.BudgetedChainOfThought("question -> answer", 40)
    assert "guarantee" not in program.dump_state()["fixed"]
    program.save(tmp_path / "p.json")
    loaded = guaranteed()
    loaded.load(tmp_path / "p.json")
    assert loaded.fixed.guarantee is None


def test_where_it_was_made_nothing_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with dspy.context(lm=fake_lm(sections)):
        guaranteed()(question="1+1?")
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"model": "openai/other"}, "void here: model fake/model, calibrated with openai/other"),
        ({"adapter": "ChatAdapter"}, "adapter TaleAdapter, calibrated with ChatAdapter"),
        ({"temperature": 0.7}, "temperature unset, calibrated with 0.7"),
        ({"mode": "cap"}, "mode auto, calibrated with cap"),
        ({"budgets": (20,)}, "the limits of the budgets were changed afterwards"),
    ],
)
async def test_elsewhere_it_is_void_with_one_warning(
    changed: dict[str, Any], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    program = guaranteed(**changed)
    with dspy.context(lm=fake_lm(sections)), caplog.at_level(logging.WARNING):
        program(question="1+1?")
        await program.acall(question="2+2?")
    assert said in caplog.text and len(caplog.records) == 1


def test_a_budget_given_at_the_call_has_no_guarantee(caplog: pytest.LogCaptureFixture) -> None:
    with dspy.context(lm=fake_lm(sections)):
        guaranteed(model="openai/other")(question="1+1?", token_budget=9)
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("made", "met", "void"),
    [
        ("gsm8k-train", "gsm8k", False),
        ("embedded:dev", "embedded:test", False),
        ("gsm8k-train", "mathbench-middle", True),
        ("gsm8k-train", "mine.jsonl", False),
        ("examples", "gsm8k", False),
    ],
)
def test_other_data_makes_it_void(made: str, met: str, void: bool, caplog: pytest.LogCaptureFixture) -> None:
    warn_of_others(replace(GUARANTEE, data=made), "cd", met)
    assert (f"void here: data {met}" in caplog.text) == void


def test_an_evaluation_on_other_data_says_so(caplog: pytest.LogCaptureFixture) -> None:
    rows = [dspy.Example(question="1+1?", answer="5").with_inputs("question")]
    data = tale_dspy.Dataset("gsm8k", rows, "answer", "question -> answer", "answer", "number", "test", "x")
    tale_dspy.evaluate(guaranteed(data="gpqa"), data, lm=fake_lm(sections))
    assert "void here: data gsm8k" in caplog.text


def test_what_a_call_is_asked_under_is_what_is_sent() -> None:
    program = tale_dspy.TaleEP("question -> answer", adapter=dspy.ChatAdapter(), temperature=0.3)
    with dspy.context(lm=fake_lm("x", temperature=0.1)), program.call_scope():
        assert calibration_context(program, {}, "cap") == CalibrationContext("fake/model", "ChatAdapter", 0.3, "cap")
        assert calibration_context(program, {"config": {"temperature": 0.9}}, None).temperature == 0.9
        assert calibration_context(program, {"lm": dspy.LM("openai/b")}, None).model == "openai/b"


def test_a_file_without_a_part_of_it_is_refused(tmp_path: Path) -> None:
    state = guaranteed().dump_state()
    del state["fixed"]["guarantee"]["delta"]
    with pytest.raises(tale_dspy.StateError, match="delta"):
        tale_dspy.BudgetedChainOfThought("question -> answer").load_state(state)
