"""VanillaCoT: the paper's baseline, and the home of plain ChainOfThought states."""

from pathlib import Path

import dspy
from fake_lm import fake_lm

from tale_dspy import VanillaCoT


def test_it_thinks_step_by_step() -> None:
    lm = fake_lm("Three and four.\nAnswer: [[7]]")
    with dspy.context(lm=lm):
        pred = VanillaCoT("question -> answer")(question="3+4?")
    assert dict(pred) == {"reasoning": "Three and four.", "answer": "7"}
    assert lm.prompts[0].endswith("Let's think step by step:\n")
    assert pred.token_budget is None


def test_its_state_loads_into_a_plain_chain_of_thought(tmp_path: Path) -> None:
    module, plain = VanillaCoT("question -> answer"), dspy.ChainOfThought("question -> answer")
    module.predict.signature = module.predict.signature.with_instructions("Be kind.")
    module.save(tmp_path / "program.json")
    plain.load(tmp_path / "program.json")
    assert plain.predict.signature.instructions == "Be kind."
