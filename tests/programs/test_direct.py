"""DirectAnswer: no reasoning is asked for or kept."""

import dspy
from fake_lm import fake_lm

from tale_dspy import DirectAnswer


def test_it_asks_directly_and_keeps_no_reasoning() -> None:
    lm = fake_lm("Let me see: 3+4.\nAnswer: [[7]]")
    with dspy.context(lm=lm):
        pred = DirectAnswer("question -> answer")(question="3+4?")
    assert dict(pred) == {"answer": "7"}
    assert "without any reasoning process" in lm.prompts[0]
    assert (pred.token_budget, pred.estimate_tokens) == (None, None)
