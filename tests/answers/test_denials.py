"""What a reply denies is no answer, whatever stands around it."""

import pytest

from tale_dspy.answers import find_answer, judge
from tale_dspy.answers.denials import without_denials

EIGHTEEN = [
    "18, not 20", "18 not 20", "not 20 but 18", "Not 20, but 18.", "20 is wrong, 18", "20 is incorrect; 18",
    "18 is right, 20 is wrong", "18, since 20 is wrong", "it is 18 rather than 20", "18 instead of 20", "18 (not 20)",
    "18 eggs rather than the usual 20 eggs", "18 as opposed to 20", "He has 18 apples, not 20.", "**18**, not **20**",
    "$18$, not $20$", r"\(18\), not \(20\)", "18 and not 20 or 21", "18. It isn't 20.", "[[18, not 20]]",
    "[[not 20 but 18]]", "#### 18, not 20", "Answer: 18, not 20", "Answer: 20 is wrong, 18", "18，而不是20",
    "不是20，而是18", "Bob ate 3 instead of 5, so 18 remain",
]  # fmt: skip
OPTION_B = [
    "B, not C", "not C but B", "C is wrong, B", "It is B rather than C", "B (not C)", "Not C, B.", "B, not A or C.",
    "A and C are wrong. B.", "[[B, not C]]", "[[not C but B]]", "A is wrong, B is right",
]  # fmt: skip


@pytest.mark.parametrize("reply", EIGHTEEN)
def test_the_number_that_is_not_denied_is_the_answer(reply: str) -> None:
    assert judge(reply, "18") and not judge(reply, "20")


@pytest.mark.parametrize("reply", OPTION_B)
def test_the_option_that_is_not_denied_is_the_answer(reply: str) -> None:
    assert judge(reply, "B") and not judge(reply, "C")


@pytest.mark.parametrize(
    "reply",
    ["It is not 18", "18 is wrong", "not 18", "The answer cannot be 18", "20, not 18", "not 18 but 20", "18 or 20"],
)
def test_a_denied_number_alone_answers_nothing(reply: str) -> None:
    assert not judge(reply, "18")


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("18 dollars, not 20 dollars", "18 dollars"),
        ("3 is not 4*2", "3 is not 4*2"),
        ("x = 9*2 = 20 is wrong", "x = 9*2 = 20 is wrong"),
        ("1.5 rather than 2", "1.5"),
        ("3/4, not 2/3", "3/4"),
        ("it is another 20", "it is another 20"),
    ],
)
def test_only_the_denied_answer_is_left_out(text: str, rest: str) -> None:
    assert without_denials(text, "number") == rest


def test_a_long_line_costs_little_and_a_denied_text_stays() -> None:
    assert without_denials("not 1 " * 1_000, "number") == "not 1 " * 1_000
    assert find_answer("[[not 20 but 18]]", "text") == "not 20 but 18"
