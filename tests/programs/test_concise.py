"""Concise: the standard prompt with "Be concise." and nothing else."""

import dspy
from fake_lm import fake_lm

from tale_dspy import Concise


def test_it_is_vanilla_with_the_request_to_be_concise() -> None:
    lm = fake_lm("Answer: [[7]]")
    with dspy.context(lm=lm):
        Concise("question -> answer")(question="3+4?")
    assert lm.prompts[0].startswith("Be concise.\n\nQ: 3+4?\n")
    assert lm.prompts[0].endswith("Let's think step by step:\n")
