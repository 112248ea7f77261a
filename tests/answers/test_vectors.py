"""Vectors by any of their spellings are one answer, and nothing else is made a vector."""

import pytest

from tale_dspy.answers import answers_equal
from tale_dspy.answers.vectors import as_tuple

COLUMN = r"\begin{pmatrix} 1 \\ 1/2 \end{pmatrix}"


@pytest.mark.parametrize(
    "same",
    [
        r"\begin{pmatrix}1\\1/2\end{pmatrix}",
        r"\begin{bmatrix} 1 \\[6pt] \frac{1}{2} \end{bmatrix}",
        r"\left(\begin{array}{c}1\\0.5\end{array}\right)",
        r"\left[ \begin{array}{c} 1 \\ 1/2 \\ \end{array} \right]",
        r"\langle 1, \tfrac12 \rangle",
        "(1, 1/2)",
        "(1,0.5)",
        "[1, 1/2]",
        r"$\left\langle 1, 1/2 \right\rangle$.",
    ],
)
def test_spellings_of_a_vector_are_one_answer_both_ways(same: str) -> None:
    assert answers_equal(same, COLUMN)
    assert answers_equal(COLUMN, same)


@pytest.mark.parametrize(
    "other",
    [
        r"\begin{pmatrix} 1/2 \\ 1 \end{pmatrix}",
        r"\begin{pmatrix} 1 & 1/2 \end{pmatrix}",
        r"\begin{pmatrix} 1 \\ 1/2 \\ 0 \end{pmatrix}",
        r"\begin{vmatrix} 1 \\ 1/2 \end{vmatrix}",
        "(1/2, 1)",
        r"\{1, 1/2\}",
        "1",
        "1, 1/2, 0",
        "(1, 1/2, 0)",
    ],
)
def test_another_answer_is_not_the_vector(other: str) -> None:
    assert not answers_equal(other, COLUMN)


@pytest.mark.parametrize(
    "text",
    [
        "[1, 2]",
        "(1, 2)",
        "",
        r"\begin{pmatrix} 1 \end{pmatrix}",
        r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}",
        "a < b",
    ],
)
def test_what_is_no_vector_stays(text: str) -> None:
    assert as_tuple(text, "(1, 2)") == text
