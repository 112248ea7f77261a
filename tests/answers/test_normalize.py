"""What typography is taken off, and what only looks like it."""

import pytest

from tale_dspy.answers.normalize import ascii_twin, bracket_depths, normalize_latex


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("［１８］，是：Ａ", "[18],是:A"),
        ("1\u202f234\u00a0−3", "1 234 -3"),
        ("【【18】】", "[[18]]"),
    ],
)
def test_every_character_has_its_twin_in_the_same_place(text: str, plain: str) -> None:
    assert ascii_twin(text) == plain


@pytest.mark.parametrize("font", ["text", "textbf", "textit", "mathrm", "mathbf", "mathit", "mbox", "operatorname"])
def test_fonts_of_latex_are_taken_off(font: str) -> None:
    assert normalize_latex(rf"18\{font}{{ cm}}") == "18 cm"


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        (r"\displaystyle\left(3,\quad 4\right)", "(3, 4)"),
        (r"\leftarrow \quadratic", r"\leftarrow \quadratic"),
        (r"2\times3\cdot 4×5·6", "2*3* 4*5*6"),
        (r"10/3 \approx 3.33", "10/3 ≈ 3.33"),
        (r"90^{\circ} 90^\circ 90\degree", "90° 90°90°"),
        (r"-\tfrac12 + 3\frac{1}{2}", "-1/2 + 3 1/2"),
        (r"\frac{x}{2}", r"\frac{x}{2}"),
        ("x² 10⁻³ 1½ ⅝", "x^{2} 10^{-3} 1 1/2 5/8"),
        ("**18** x**2 x ** 2", "18 x**2 x ** 2"),
        ("-$3 €5 HK$7", "-3 5 7"),
        ("negative 3, Negative x", "-3, Negative x"),
    ],
)
def test_typography_is_taken_off(text: str, plain: str) -> None:
    assert normalize_latex(text) == plain


def test_brackets_are_counted_whatever_their_form() -> None:
    assert bracket_depths("([)}]") == [0, 1, 2, 1, 0, -1]
