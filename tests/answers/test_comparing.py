"""What equals a gold that is no single number: texts, lists and expressions."""

from fractions import Fraction

import pytest

from tale_dspy.answers import answers_equal

SAME = [
    (True, "true"),
    ("Paris", "paris."),
    ("Ｐａｒｉｓ", "Paris"),
    ("New  York", "newyork"),
    ("Route 66 West", "route 66west"),
    ('"Paris"', "Paris"),
    (r"\left(3,\quad 4\right)", "(3,4)"),
    (r"X \sim N(0, 1)", r"$X\sim N(0,1)$"),
    ("(3,4)", "(3, 4)"),
    ("(3, 4)", (3, 4)),
    ("3, 4", [3, 4]),
    ("{4, 3}", {3, 4}),
    (r"\{4, 3\}", "{3, 4}"),
    ("3 and 4", "4, 3"),
    ("3; 4", "3、4"),
    ("3和4", "4或3"),
    ("(1/2, 3)", "(0.5, 3)"),
    ("1,234 and 5", "5, 1234"),
    ("(1, (2, 3))", "(1, (2.0, 3))"),
    ("(1, 2), (3, 4)", "(3,4.0), (1,2)"),
    ("x=1 or x=2", "x = 2, x = 1"),
]


@pytest.mark.parametrize(("answer", "gold"), SAME)
def test_the_same_text_or_list_in_another_form_is_equal(answer: object, gold: object) -> None:
    assert answers_equal(answer, gold)


DIFFERENT = [
    ("3, 4", "4"),
    ("20 or 18", "18"),
    ("18 or 20", "18"),
    ("x+1 or x", "x"),
    ("x ≈ 3", "x"),
    ("x≈2, y = 3", "x"),
    ("cat", "act"),
    ("yes", "no"),
    ("no", True),
    ("(4, 3)", "(3, 4)"),
    ("[3, 4]", "(3, 4)"),
    ("(5, 3)", "(4, 3)"),
    ("(1, 2)", "(1, 2, 3)"),
    ("{1, 2}", "{1, Paris}"),
    ("3", "(3, 4)"),
    ([1, 2], [2, 1]),
    ("1, 2, " * 500, "1, 2"),
    ("((((((((1, 2), 3), 4), 5), 6), 7), 8), 9)", "1, 2"),
    (None, "18"),
    ("18", None),
    ("", ""),
    (".", "."),
    (float("inf"), "18"),
]


@pytest.mark.parametrize(("answer", "gold"), DIFFERENT)
def test_another_text_another_list_or_none_are_not_equal(answer: object, gold: object) -> None:
    assert not answers_equal(answer, gold)


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        ("1+x^2", "x^2 + 1"),
        ("x**2", "x^2"),
        ("2(x+1)", "2x+2"),
        (r"\sqrt{2}", "2^{1/2}"),
        ("sqrt(2)", r"$\sqrt{2}$"),
        ("√2", r"\sqrt{2}"),
        (r"\sqrt{324}", "18"),
        ("5!", "120"),
        ("9*2", "18"),
        ("18 = x", "x = 18"),
        (r"\frac{1}{2}\sqrt{3}", r"\frac{\sqrt{3}}{2}"),
        (r"\frac{1}{3}\pi r^2", r"\frac{\pi r^2}{3}"),
        (r"\frac{270}{7}", r"\frac{270}7\text{ degrees}"),
        (r"\{\frac{1}{2}x, 2\}", r"\{2, \frac{x}{2}\}"),
        (r"12\pi\text{ cm}^2", r"12\pi"),
        (r"\log_2 3", r"\log_2(3)"),
        (r"\begin{bmatrix}0.5\\3\end{bmatrix}", r"\begin{pmatrix} 1/2 \\ 3 \end{pmatrix}"),
        (r"\pm 3", "3, -3"),
        (r"\frac{1 \pm \sqrt{5}}{4}", r"\frac{1 + \sqrt{5}}{4},\frac{1 - \sqrt{5}}{4}"),
        (r"x = 1 \pm 2i", r"1 \pm 2i"),
        (r"\pm 1, \pm 2", "1, -1, 2, -2"),
        ("2 < x < 5", "(2, 5)"),
        (r"x \in [-2, 7]", "[-2, 7]"),
        (r"x \in \{1, 2\}", "1, 2"),
        ("π/2", r"\frac{\pi}{2}"),
        ("1.5707963", r"\frac{\pi}{2}"),
        ("log(100)", "2"),
        ("x^-2", "x^{-2}"),
        ("(-infty, 3)", r"(-\infty, 3)"),
        ("(x+1, 2)", "(1+x, 2.0)"),
        ("{x, x+1}", "{1+x, x}"),
    ],
)
def test_expressions_are_compared_as_mathematics(answer: str, gold: str) -> None:
    assert answers_equal(answer, gold)


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        ("x-1", "x+1"),
        ("2 < x < 5", "[2, 5]"),
        (r"5 \pm 0.1", "5"),
        ("3", r"\pm 3"),
        (r"\begin{pmatrix}1\\5\end{pmatrix}", r"\begin{pmatrix} 1 \\ 4 \end{pmatrix}"),
        (r"\pm 18", "18"),
        ("1.57", r"\frac{\pi}{2}"),
        (r"\sqrt{2}\cdot 10^{-8}", "0.0000001"),
        ("{x, x+1}", "{x, x+2}"),
        (r"\frac{", "x+1"),
        ("x+0", "0.0"),
    ],
)
def test_different_expressions_are_not_equal(answer: str, gold: str) -> None:
    assert not answers_equal(answer, gold)


def test_integers_too_long_for_decimal_are_compared() -> None:
    assert answers_equal(10**5000, 10**5000)
    assert not answers_equal(10**5000, 10**5000 + 1)
    assert not answers_equal(Fraction(1, 10**5000), 1)
