"""What a signature asks for: an estimate, an option, or instructions that somebody wrote."""

import json
from typing import Any

import dspy
import pytest

from tale_dspy.task_signature import is_choice, is_estimator, own_instructions


class Described(dspy.Signature):
    """Answer like a pirate."""

    question: str = dspy.InputField(desc="from a child")
    answer: str = dspy.OutputField(desc="in one word")


@pytest.mark.parametrize(
    ("signature", "instructions"),
    [
        (dspy.Signature("question -> answer"), ""),
        (dspy.ChainOfThought("question, a_b -> x, y: int").predict.signature, ""),
        (dspy.Signature("question -> answer").append("z", dspy.OutputField()), ""),
        (dspy.Signature("question -> answer").with_instructions("  "), ""),
        (dspy.Signature("question -> answer", "Be kind."), "Be kind."),
        (dspy.Signature("question -> answer").append_instructions("Be kind."), "fields `answer`.\n\nBe kind."),
        (Described, "Answer like a pirate."),
    ],
)
def test_only_instructions_that_somebody_wrote_are_rendered(signature: Any, instructions: str) -> None:
    assert own_instructions(signature).endswith(instructions) if instructions else own_instructions(signature) == ""


def test_instructions_are_known_as_generated_after_a_round_through_a_file() -> None:
    signature = dspy.Signature("question -> answer")
    state = json.loads(json.dumps(signature.dump_state()))
    assert own_instructions(dspy.Signature("question, more -> answer, why").load_state(state)) == ""


@pytest.mark.parametrize(
    ("signature", "choice"),
    [
        ("question -> choice", True),
        ("question -> reasoning, choice", True),
        ("question -> label: Literal['A', 'B', 'C']", True),
        ("question -> label: Literal['a', 'b']", True),
        ("question -> label: Literal['Y', 'N']", False),
        ("question -> choice: Literal['red', 'blue']", False),
        ("question -> choice: list[str]", False),
        ("question -> choice, why", False),
        ("question -> answer", False),
    ],
)
def test_a_choice_is_a_text_of_that_name_or_letters_from_a(signature: str, choice: bool) -> None:
    assert is_choice(dspy.Signature(signature)) is choice


def test_an_estimator_has_a_budget_for_its_only_output() -> None:
    assert is_estimator(dspy.Signature("question -> token_budget"))
    assert not is_estimator(dspy.Signature("question, token_budget -> answer"))
