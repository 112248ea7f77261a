"""What a reply thought and what it answered, however the thinking is written into the text."""

import pytest

from tale_dspy.answers.thought_tags import split_thought

COMPLETE = [
    ("18", "", "18"),
    ("<think>a 20</think>\n18", "a 20", "18"),
    ("a 20</think>\n\n18", "a 20", "18"),
    ("\n<think>\n\n</think>\n\n18", "", "18"),
    ("Sure.\n<think>x</think>\n18", "x", "Sure.\n\n18"),
    ("[THINK]a[/THINK]18", "a", "18"),
    ("◁think▷a◁/think▷18", "a", "18"),
    ("<THINKING>a</THINKING> 18", "a", "18"),
    ("<thought>a</thought>18", "a", "18"),
    ("<think class='x'>a</think >18", "a", "18"),
    ("<|START_THINKING|>a<|END_THINKING|><|START_RESPONSE|>18<|END_RESPONSE|>", "a", "18"),
    ("<|begin_of_thought|>a<|end_of_thought|>\n<|begin_of_solution|>18<|end_of_solution|>", "a", "18"),
    ("<unused94>thought\na<unused95>18", "a", "18"),
    ("<think>a<think>b</think>18", "a<think>b", "18"),
    ("<think>a</think>18</think>", "a", "18"),
    ("<think>a</think>2<think>c</think>18", "a\n\nc", "2\n18"),
    ("x</think>", "x", ""),
    ("<|channel|>analysis<|message|>20<|end|><|start|>assistant<|channel|>final<|message|>18<|return|>", "20", "18"),
    ("analysisWe need 20.assistantfinal18", "We need 20.", "18"),
    ("Analysis: we get 18", "", "Analysis: we get 18"),
    ("x" * 300 + " names the tag <think> and [THINK]", "", "x" * 300 + " names the tag <think> and [THINK]"),
    ("a < b and [1] ◁", "", "a < b and [1] ◁"),
]


@pytest.mark.parametrize(("reply", "thought", "visible"), COMPLETE)
def test_a_thought_is_kept_apart_from_what_is_answered(reply: str, thought: str, visible: str) -> None:
    assert split_thought(reply) == (thought, visible, True)


@pytest.mark.parametrize(
    ("reply", "thought", "visible"),
    [
        ("<think>the answer is [[18]]? Let me", "the answer is [[18]]? Let me", ""),
        ("Okay. <think>x", "x", "Okay."),
        ("<think>a</think>b\n<think>c", "a\n\nc", "b"),
        ("<|channel|>analysis<|message|>We need 20", "We need 20", ""),
        ("analysisWe need 20", "We need 20", ""),
        ("[THINK]a", "a", ""),
    ],
)
def test_a_thought_without_an_end_is_incomplete(reply: str, thought: str, visible: str) -> None:
    assert split_thought(reply) == (thought, visible, False)


@pytest.mark.parametrize(
    "tag", ["<think>", "</think>", "</think>x", "<think></think>", "<think ", "<|channel|>", "◁think▷"]
)
def test_a_text_of_nothing_but_tags_is_split(tag: str) -> None:
    assert len(split_thought(tag * 50_000).visible) <= len(tag * 50_000)
