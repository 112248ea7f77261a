"""How numbers are written, and that each form becomes a plain number."""

import pytest

from tale_dspy.answers.number_forms import as_european, normalize_numbers, numbers_in


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("$1.5M", "1.5 million"),
        ("600K", "600 thousand"),
        ("1 K tokens", "1 thousand tokens"),
        ("300 K", "300 K"),
        ("1.5m", "1.5m"),
        ("1.234,56", "1234.56"),
        ("1.234.567", "1234567"),
        ("1 234,56 €", "1234.56"),
        ("2,5", "2,5"),
        ("1.500", "1.500"),
        (r"0.1\overline{6}", "0.1(6)"),
        ("0.333...", "0.(3)"),
        ("3.14...", "3.14..."),
        ("It is minus 5", "It is -5"),
        ("10 minus 5", "10 minus 5"),
        ("2 and a half", "2 1/2"),
        ("5:00 p.m.", "5 pm"),
        ("١٬٢٣٤٫٥", "1,234.5"),
        ("उत्तर: १८", "उततर: 18"),
    ],
)
def test_a_number_is_written_plainly(text: str, plain: str) -> None:
    assert normalize_numbers(text) == plain


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("9 * 2 = 18 eggs", ["9", "2", "18"]),
        ("the ratio 3:2", ["3:2"]),
        ("at 10:30 am on 05/03/2024", ["10:30 am", "05/03/2024"]),
        ("2,5 and 1,234", ["2,5", "1,234"]),
        ("CO2, x^2, 3 million", ["3 million"]),
        ("16-3", ["16", "3"]),
    ],
)
def test_the_numbers_of_a_line_are_found_whole(text: str, numbers: list[str]) -> None:
    assert [match[0] for match in numbers_in(text)] == numbers


@pytest.mark.parametrize(
    ("text", "meant"), [("2,5", "2.5"), ("1.500", "1500"), ("1,500", None), ("18", None), ("3, 4", None)]
)
def test_decimal_commas_and_dot_groups_can_be_meant(text: str, meant: str | None) -> None:
    assert as_european(text) == meant
