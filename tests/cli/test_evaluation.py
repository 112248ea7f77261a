"""From a plan to answers: what a program is set up with before anything is asked."""

from pathlib import Path
from typing import Any

import dspy
import pytest

import tale_dspy
from tale_dspy.adapter import TaleAdapter
from tale_dspy.cli.evaluation import ask, make_adapter, set_mode, set_up
from tale_dspy.cli.plan import Plan
from tale_dspy.datasets import Dataset, load_dataset
from tale_dspy.errors import UsageError
from tale_dspy.testing import ScriptedServer


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    (tmp_path / "questions.jsonl").write_text('{"question": "2+2?", "answer": "4"}\n')
    return load_dataset(str(tmp_path / "questions.jsonl"))


def plan(program: str = "cot", **told: Any) -> Plan:
    return Plan(program, "questions.jsonl", "openai/scripted", api_base="http://127.0.0.1:1/v1", **told)


@pytest.mark.parametrize(
    ("told", "kind"),
    [
        ({}, TaleAdapter),
        ({"adapter": "xml"}, dspy.XMLAdapter),
        ({"program": "dspy-cot"}, dspy.ChatAdapter),
        ({"program": "dspy-cot", "adapter": "json"}, dspy.JSONAdapter),
    ],
)
def test_dspys_own_program_has_dspys_own_prompt(told: dict[str, Any], kind: type, data: Dataset) -> None:
    assert type(make_adapter(plan(**told), data)) is kind


def test_a_saved_program_forgets_its_model_and_another_keeps_it(data: Dataset) -> None:
    program = tale_dspy.TaleEP("question -> answer")
    for name, keeps_lm in (("mine:program", True), ("saved.json", False)):
        program.set_lm(tale_dspy.LM("openai/other", api_key="k"))
        assert set_up(plan(name), program, data)["name"] == name
        assert (program.predict.lm is not None) is keeps_lm


def test_the_policy_of_a_recovery_reaches_the_modules_inside(data: Dataset) -> None:
    inner = tale_dspy.VanillaCoT("question -> answer")
    program = dspy.Module()
    program.inner = inner
    set_up(plan(on_truncation="force_answer"), program, data)
    assert inner.on_truncation == "force_answer"
    with pytest.raises(UsageError, match="--on-truncation is for modules of tale_dspy, and cot has none"):
        set_up(plan(on_truncation="force_answer"), dspy.ChainOfThought("question -> answer"), data)


def test_data_that_is_given_is_not_loaded(data: Dataset, tmp_path: Path) -> None:
    with ScriptedServer() as server:
        plan = Plan(
            "direct", "nowhere.jsonl", "openai/scripted", api_base=server.url, engine="auto", out=tmp_path / "a"
        )
        run = ask(plan, data=data)
    dspy.enable_logging()
    assert (run.summary["n"], run.summary["data"]) == (1, "questions.jsonl")


def test_the_paper_preset_sends_budgets_as_the_paper_does() -> None:
    thinker = tale_dspy.LM("openai/o3-mini", api_key="k")
    program = tale_dspy.TaleEP("question -> answer")
    set_mode(Plan("tale-ep", "gsm8k", "openai/o3-mini", preset="paper"), program, thinker)
    assert program.mode == "prompt"
    set_mode(Plan("tale-ep", "gsm8k", "openai/o3-mini", preset="paper", mode="native"), program, thinker)
    assert program.mode == "native"
