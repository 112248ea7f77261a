"""ChainOfDraft: five words a step."""

import dspy
from fake_lm import fake_lm

from tale_dspy import ChainOfDraft


def test_it_asks_for_drafts() -> None:
    lm = fake_lm("3+4=7\nAnswer: [[7]]")
    with dspy.context(lm=lm):
        pred = ChainOfDraft("question -> answer")(question="3+4?")
    assert lm.prompts[0].startswith(
        "Think step by step, but only keep a minimum draft for each thinking step, with 5 words at most.\n\nQ: 3+4?\n"
    )
    assert pred.reasoning == "3+4=7"
