"""Copies of programs: everything is new but the language models, and the callbacks stay."""

import threading
from typing import Any

import dspy
import pytest
from dspy.utils.callback import BaseCallback
from fake_lm import fake_lm

from tale_dspy.programs.copying import copy_program, language_models, modules_of


class Program(dspy.Module):
    def __init__(self, **extra: Any) -> None:
        super().__init__(callbacks=[BaseCallback()])
        self.step = dspy.ChainOfThought("question -> answer")
        self.again = [self.step]
        self.lms = {"judge": fake_lm("")}
        self.step.predict.lm = fake_lm("")
        self.step.predict.demos = [{"question": "Q"}]
        vars(self).update(extra)


@pytest.mark.parametrize("extra", [{}, {"locks": [threading.Lock()]}], ids=["plain", "with a lock"])
def test_language_models_are_shared_and_all_else_is_new(extra: dict[str, Any]) -> None:
    program = Program(**extra)
    copied = copy_program(program)
    assert copied.step is not program.step
    assert copied.step.predict.demos is not program.step.predict.demos
    assert copied.step.predict.lm is program.step.predict.lm
    assert copied.step.predict.lm.engine is program.step.predict.lm.engine


@pytest.mark.parametrize("extra", [{}, {"lock": threading.Lock()}], ids=["plain", "with a lock"])
def test_one_object_stays_one_object(extra: dict[str, Any]) -> None:
    copied = copy_program(Program(**extra))
    assert copied.again[0] is copied.step


def test_what_cannot_be_copied_is_shared() -> None:
    program = Program(locks={"a": [threading.Lock()]}, loop=[])
    program.loop.append(program.loop)
    assert copy_program(program).locks["a"][0] is program.locks["a"][0]


def test_callbacks_stay_where_they_were() -> None:
    program = Program()
    program.step.predict.callbacks = [BaseCallback()]
    copied = copy_program(program)
    assert copied.callbacks == program.callbacks
    assert copied.step.predict.callbacks == program.step.predict.callbacks
    assert copied.callbacks is not program.callbacks


def test_each_language_model_can_be_replaced() -> None:
    program, lm = Program(), fake_lm("")
    copied = copy_program(program, lambda old: lm)
    assert copied.step.predict.lm is copied.lms["judge"] is lm
    assert program.step.predict.lm is not lm


def test_language_models_and_modules_are_found() -> None:
    program = Program()
    program.deep = [[fake_lm("")]]
    assert list(language_models(program)) == [program.lms["judge"], program.deep[0][0], program.step.predict.lm]
    assert [type(m).__name__ for m in modules_of(program)] == ["Program", "ChainOfThought", "Predict"]
