"""Which of a mark, a statement and the last word is the answer, for each kind."""

from typing import Any

import pytest

from tale_dspy.answers import find_answer, judge


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("The answer is Paris. It has 2 million people", "Paris"),
        ("The answer is obtained by multiplying: 9*2=18", "18"),
        ("Answer: yes", "yes"),
        ("Answer: B", "B"),
        ("(B)", "B"),
        ("I do not know", None),
        (None, None),
    ],
)
def test_auto_finds_numbers_options_and_named_texts(reply: str | None, answer: str | None) -> None:
    assert find_answer(reply) == answer


@pytest.mark.parametrize(
    ("reply", "letter"),
    [
        ("[[A. Paris]]", "A"),
        ("[[c]]", "C"),
        (r"\boxed{\textbf{(B) } 12}", "B"),
        ("#### B", "B"),
        ("[[A, B]]", "A, B"),
        ("[[A]] or [[B]]", "A or B"),
    ],
)
def test_a_marked_option_is_its_letter_and_two_are_returned_whole(reply: str, letter: str) -> None:
    assert find_answer(reply, "choice") == letter


def test_the_end_of_a_very_long_reply_is_read() -> None:
    assert find_answer("[[18]]" + "x" * 200_000 + "[[26]]") == "26"


def test_bytes_are_read_as_utf8() -> None:
    reply: Any = "[[１８]]".encode()
    assert judge(reply, "18")
