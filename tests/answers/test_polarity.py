"""Yes, no, true and false at the head of a reply or at its end."""

import pytest

from tale_dspy.answers.polarity import is_polar, polar_answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Yes", "yes"),
        ("**No.**", "no"),
        ("No, it does not.", "no"),
        ("yes\n\nExplanation: no cat is a dog.", "yes"),
        ("The statement is true.", "true"),
        ("It rains.\nThe claim is **False**.", "false"),
        ("The answer to the question is no.", "no"),
        ("Yes and no", None),
        ("Yesterday it rained.", None),
        ("Nobody knows.", None),
        ("The statement is not true.", None),
        ("If it is true", None),
        ("Yes. Wait, no.", None),
        ("", None),
    ],
)
def test_a_leading_or_concluding_word_decides(text: str, answer: str | None) -> None:
    assert polar_answer(text) == answer


def test_polar_golds_are_four_words_in_any_case() -> None:
    assert [gold for gold in ("yes", " No ", "TRUE", "False", "maybe", "1", "") if is_polar(gold)] == [
        "yes",
        " No ",
        "TRUE",
        "False",
    ]
