"""What stands around an answer and is left out."""

import pytest

from tale_dspy.answers.asides import (
    is_unanswered,
    without_check,
    without_explanation_below,
    without_programs,
    without_step_numbers,
)


@pytest.mark.parametrize(
    ("reply", "rest"),
    [
        ("```python\nprint(17)\n```\nIt prints 18.", "It prints 18."),
        ("```py\nprint(17)", ""),
        ("```\n18\n```", "```\n18\n```"),
        ("```json\n18\n```", "```json\n18\n```"),
    ],
)
def test_programs_are_left_out_and_other_fences_stay(reply: str, rest: str) -> None:
    assert without_programs(reply).strip() == rest


@pytest.mark.parametrize(
    ("reply", "rest"),
    [
        ("So 18.\n\nVerification: 18 - 9 = 9.", "So 18."),
        ("So 18. To check, 9 + 9 = 18", "So 18."),
        ("Check: is it 17? 18", "Check: is it 17? 18"),
        ("I get 17.\nCheck: 9 * 2 = 18, so 18.", "I get 17.\nCheck: 9 * 2 = 18, so 18."),
        ("I get 17.\nCheck: wrong! 18", "I get 17.\nCheck: wrong! 18"),
    ],
)
def test_a_check_is_left_out_unless_it_changes_the_answer(reply: str, rest: str) -> None:
    assert without_check(reply).strip() == rest


@pytest.mark.parametrize(
    ("reply", "rest"),
    [
        ("18 dollars\n\nExplanation: 9 * 2", "18 dollars"),
        ("**$18**\nBecause 9 * 2 is that.", "$18"),
        ("18 hot dogs\nHere's why: 9 and 9", "18 hot dogs"),
        ("2 eggs are eaten\nReasoning: 16 - 2 = 14", "2 eggs are eaten\nReasoning: 16 - 2 = 14"),
        ("16 - 3 = 13\nExplanation: 13 * 2 = 26", "16 - 3 = 13\nExplanation: 13 * 2 = 26"),
        ("2\nExplanation: 2 come first. The total is 12.", "2\nExplanation: 2 come first. The total is 12."),
        ("17\nExplanation: 9 + 9. Wait, 18", "17\nExplanation: 9 + 9. Wait, 18"),
    ],
)
def test_an_explanation_below_an_answer_is_left_out_and_one_below_a_step_is_not(reply: str, rest: str) -> None:
    assert without_explanation_below(reply) == rest


@pytest.mark.parametrize(
    ("reply", "rest"),
    [
        ("1. Eggs: 10\n2. Hens: 12", "Eggs: 10 Hens: 12"),
        ("Step 3: finished", "finished"),
        ("18. That is the number.", "18. That is the number."),
        ("3) a\n7) b", "3) a 7) b"),
    ],
)
def test_numbers_that_count_lines_are_left_out(reply: str, rest: str) -> None:
    assert " ".join(without_step_numbers(reply).split()) == rest


@pytest.mark.parametrize(
    ("reply", "unanswered"),
    [
        ("That cannot be determined from 18 eggs.", True),
        ("There is not enough information; she has 18 eggs.", True),
        ("无法确定，只知道 18", True),
        ("I can't find a mistake, so 18", True),
        ("We cannot say more.\n" + "x " * 120 + "\nso 18", False),
        ("She sells 18.", False),
    ],
)
def test_a_reply_that_says_there_is_no_answer_is_unanswered(reply: str, unanswered: bool) -> None:
    assert is_unanswered(reply) is unanswered
