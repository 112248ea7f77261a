"""Sketch-of-Thought is a chain of thought with one more instruction."""

import dspy
from fake_lm import fake_lm

from tale_dspy import SketchOfThought
from tale_dspy.prompts import SKETCH_INSTRUCTIONS


def test_the_instruction_stands_before_the_question_and_the_answer_is_read() -> None:
    lm = fake_lm("a = 3\nb = 4\na + b = 7\nAnswer: [[7]]")
    with dspy.context(lm=lm):
        pred = SketchOfThought("question -> answer")(question="3+4?")
    prompt = lm.history[0]["messages"][1]["content"]
    assert prompt.startswith(SKETCH_INSTRUCTIONS)
    assert "step by step" in prompt.removeprefix(SKETCH_INSTRUCTIONS)
    assert (pred.answer, pred.reasoning) == ("7", "a = 3\nb = 4\na + b = 7")
