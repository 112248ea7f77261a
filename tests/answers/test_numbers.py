"""Numbers in every form in which models and data sets write them."""

from decimal import Decimal
from fractions import Fraction

import pytest

from tale_dspy.answers import answers_equal
from tale_dspy.answers.numbers import read_quantity

SAME = [
    ("18", 18),
    ("18.00", 18.0),
    ("$18", "18"),
    (r"\$18", "18"),
    ("18", "US$18"),
    ("`18`", "18"),
    ("18~km", "18 km"),
    (r"1,\!234", "1234"),
    ("18 dollars", "18"),
    ("18元", "18"),
    ("18.", "18"),
    ("１８", "18"),
    ("−3", "-3"),
    ("negative 3", "-3"),
    ("-$3", "-3"),
    ("1,234", "1234"),
    ("1 234", "1,234"),
    ("1\u202f234", "1234"),
    ("12,34,567", "1234567"),
    (r"1{,}234", "1234"),
    (r"1\,234", "1234"),
    (".5", "0.5"),
    ("109.2 million", "109200000"),
    ("1.5k", "1500"),
    ("2 hundred", "200"),
    ("3 thousand", "3000"),
    ("1.2 billion", "1200000000"),
    ("2 trillion", "2000000000000"),
    ("3万", "30000"),
    ("2亿", "200000000"),
    ("50%", "50"),
    ("50%", 0.5),
    (r"50\%", "50%"),
    ("50 percent", "50%"),
    ("50 per cent", 0.5),
    ("50 pct", "0.5"),
    ("0.75", "3/4"),
    (r"\frac{3}{4}", "0.75"),
    (r"-\dfrac{28}{22}", "-14/11"),
    (r"\frac34", "3/4"),
    ("1 1/2", "1.5"),
    (r"1\frac{1}{2}", "3/2"),
    ("1½", "1.5"),
    ("⅝", "0.625"),
    ("1e3", "1000"),
    (r"1.5\times 10^{3}", "1500"),
    ("1.5 x 10^(+3)", "1500"),
    ("1.5×10⁻³", "0.0015"),
    ("10^3", "1000"),
    ("10^{-2}", "0.01"),
    ("0.333333", "1/3"),
    ("33.3333%", "1/3"),
    ("1/3", "0.3333333"),
    ("x = 18", "18"),
    ("9 * 2 = 18", "18"),
    ("$1,000 + $234 = $1,234", "1234"),
    ("10/3 ≈ 3.33", "3.33"),
    (r"10/3 \approx 3.33", "3.33"),
    ("Total: 18", "18"),
    ("She makes $18 every day.", "18"),
    ("18 (i.e. 9 x 2)", "18"),
    ("18 (= 9 x 2)", "18"),
    ("18 (two days)", "18"),
    ("18（共两天）", "18"),
    ("18 boys and girls", "18"),
    ("(18)", "18"),
    ("**18**", "18"),
    (r"\text{18}", "18"),
    (r"\(18\)", "18"),
    (r"18\text{ cm}^2", "18"),
    ("18 m²", "18 m"),
    ("18 m3", "18"),
    (r"18^\circ", "18°"),
    ("18", "18 km"),
    (Fraction(3, 4), 0.75),
    (Decimal("1.50"), 1.5),
    (b"18", "18"),
]


@pytest.mark.parametrize(("answer", "gold"), SAME)
def test_the_same_value_in_another_form_is_equal(answer: object, gold: object) -> None:
    assert answers_equal(answer, gold)


DIFFERENT = [
    ("18 out of 20", "18"),
    ("x > 18", "18"),
    (r"y \leq 3 = 18", "18"),
    ("x = 18, y = 3", "3"),
    ("x = 18; y = 3", "3"),
    ("x = 18 or y = 3", "3"),
    ("x = 18 and y = 3", "3"),
    ("x = 18 和 y = 3", "3"),
    ("2 < x = 3", "3"),
    (r"2 \neq x = 3", "3"),
    ("it is not x = 3", "3"),
    ("18 (20)", "18"),
    ("18 (or 20)", "18"),
    ("18 (or maybe 20)", "18"),
    ("18（或者更多）", "18"),
    ("2x", "2"),
    ("2π", "2"),
    ("2 (x+1)", "2"),
    ("x-18", "-18"),
    ("profit - 18", "-18"),
    ("CO2", "2"),
    ("5!", "5"),
    ("3 4", "34"),
    ("2 9", "18"),
    ("1,23", "123"),
    ("0.333", "1/3"),
    ("0.6667", "2/3"),
    ("18.0000001", "18"),
    ("100%", "1%"),
    ("1/0", "1"),
    ("1e999999999", "1"),
    ("9" * 5000, "9"),
    ("18 m", "18 km"),
    ("18", "-18"),
    ("7", "7 Up"),
    ("1 5/3", "8/3"),
    ("1 5/3", "5"),
    ("18 2/0", "18"),
    ("20 = 18", "18"),
]


@pytest.mark.parametrize(("answer", "gold"), DIFFERENT)
def test_another_value_two_values_or_a_factor_are_not_equal(answer: str, gold: str) -> None:
    assert not answers_equal(answer, gold)


HEDGED = """not 18|isn't 18|no 18|it cannot be 18|unless 18|up to 18|more than 18|under 18|above 18|double 18|log 18
never 18|neither 18|at least 18|at most 18|less than 18|over 18|between 18|below 18|half of 18|twice 18
the root of 18|sin 18|if 18|without 18|wrong: 18|unknown 18|不是18|至少18|大于18|超过18|18 squared
18 times|18 pi
18 or more|18 factorial|18 to 20|18θ|18 不"""


@pytest.mark.parametrize("text", HEDGED.replace("\n", "|").split("|"))
def test_a_hedge_or_another_operation_is_no_number(text: str) -> None:
    assert read_quantity(text) is None
    assert not answers_equal(text, "18")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("minus 18", "-18"),
        ("18 and a half", "37/2"),
        ("18 and a third", "55/3"),
        ("18 and two thirds", "56/3"),
        ("18 and one third", "55/3"),
        ("18 and three quarters", "75/4"),
    ],
)
def test_a_sign_and_a_fraction_in_words_belong_to_the_number(text: str, value: str) -> None:
    quantity = read_quantity(text)
    assert quantity is not None
    assert quantity.value == Fraction(value)
    assert not answers_equal(text, "18")


@pytest.mark.parametrize(
    ("text", "unit"), [("18 km", "km"), ("18 mL", "mL"), ("9 am", "am"), ("18 hours", ""), ("18 of us", "")]
)
def test_a_known_symbol_is_the_unit(text: str, unit: str) -> None:
    quantity = read_quantity(text)
    assert quantity is not None
    assert quantity.unit == unit


@pytest.mark.parametrize(("text", "digits"), [("18", 0), ("3/4", 0), ("0.3330", 4), ("1.50e3", 3), ("10^3", 2)])
def test_significant_digits_of_a_decimal_are_counted(text: str, digits: int) -> None:
    quantity = read_quantity(text)
    assert quantity is not None
    assert quantity.digits == digits
