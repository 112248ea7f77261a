"""Parameters of a module beside its predictors."""

import json
from pathlib import Path
from typing import Any

import dspy
import pytest
from fake_lm import fake_lm

import tale_dspy
from tale_dspy import BudgetEstimator, BudgetLimits, TaleEP, VanillaCoT
from tale_dspy.budget import BudgetValue
from tale_dspy.errors import UsageError
from tale_dspy.programs.state import FixedBudgetState, LimitsState, TrainingExamples, seen_by, tuned_with


@pytest.mark.parametrize(
    ("parameter", "changed"),
    [
        (LimitsState(BudgetLimits()), LimitsState(BudgetLimits(scale=2, floor=3))),
        (FixedBudgetState(None), FixedBudgetState(BudgetValue(50))),
    ],
)
def test_a_state_goes_through_json_and_back(parameter: Any, changed: Any) -> None:
    first = parameter.dump_state()
    parameter.load_state(json.loads(json.dumps(changed.dump_state())))
    assert parameter.dump_state() == changed.dump_state()
    parameter.reset()
    assert parameter.dump_state() == first


@pytest.mark.parametrize("state", [{"scale": 0}, {"floor": 5, "ceiling": 4}])
def test_limits_that_cannot_be_are_not_loaded(state: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        LimitsState(BudgetLimits()).load_state(state)


def test_what_was_seen_is_remembered_with_its_role() -> None:
    memory = TrainingExamples()
    memory.add(["a", "b"], "train")
    memory.add(["b"], "val")
    other = TrainingExamples()
    other.load_state(memory.dump_state())
    assert other.roles == {"a": "train", "b": "val"}
    other.reset()
    assert other.roles == {}


def test_what_any_module_of_a_program_has_seen_counts() -> None:
    program = TaleEP("question -> answer")
    program.seen.add(["a"], "train")
    program.estimator.seen.add(["b"], "search")
    assert seen_by(program) == {"a": "train", "b": "search"}


def test_parameters_are_no_predictors() -> None:
    program = TaleEP("question -> answer", BudgetEstimator("question -> answer"))
    assert [name for name, _ in program.named_predictors()] == ["predict", "estimator.predict"]
    assert len(program.named_parameters()) == 9


def tuned(model: str) -> VanillaCoT:
    program = VanillaCoT("question -> answer")
    program.seen.add(["a" * 16], "train", tale_dspy.LM(model))
    return program


def test_a_program_remembers_the_model_it_was_tuned_with(tmp_path: Path) -> None:
    tuned("openai/a").save(tmp_path / "p.json")
    loaded = tale_dspy.load(tmp_path / "p.json")
    assert tuned_with(loaded) == {"openai/a"} and loaded.seen.roles == {"a" * 16: "train"}
    assert tuned_with(VanillaCoT("question -> answer")) == set()
    loaded.seen.reset()
    assert tuned_with(loaded) == set()


def test_the_configured_model_is_the_one_unless_another_is_given() -> None:
    memory = TrainingExamples()
    with dspy.context(lm=fake_lm("x")):
        memory.add(["a" * 16], "train")
    assert memory.model == "fake/model"


def test_another_model_warns_once_and_the_same_never(caplog: pytest.LogCaptureFixture) -> None:
    with dspy.context(lm=fake_lm("Answer: [[7]]")):
        for program in (tuned("openai/first"), tuned("openai/first"), tuned("fake/model")):
            program(question="3+4?")
    assert [r.message for r in caplog.records] == [
        "this program was tuned with openai/first, and fake/model answers: its budgets may not suit it"
    ]
