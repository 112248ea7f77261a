"""Numbers in words, in English and Chinese."""

import pytest

from tale_dspy.answers.number_words import cardinal, fractions_to_digits, han_value, words_to_digits


@pytest.mark.parametrize(
    ("words", "value"),
    [
        ("zero", 0),
        ("twelve", 12),
        ("twenty-one", 21),
        ("one hundred and five", 105),
        ("a hundred", 100),
        ("three thousand two hundred", 3200),
        ("two million, five hundred thousand and one", 2_500_001),
        ("two three", None),
        ("hundred hundred", None),
        ("million million", None),
    ],
)
def test_a_cardinal_has_one_value(words: str, value: int | None) -> None:
    assert cardinal(words) == value


@pytest.mark.parametrize(
    ("text", "value"), [("十二", 12), ("一百二十", 120), ("两千", 2000), ("三万", 30000), ("一二", 12)]
)
def test_a_chinese_numeral_has_one_value(text: str, value: int) -> None:
    assert han_value(text) == value


@pytest.mark.parametrize(
    ("text", "digits"),
    [
        ("about fifty tokens", "about 50 tokens"),
        ("two and a half", "2 1/2"),
        ("two and three quarters", "2 3/4"),
        ("two thirds", "2/3"),
        ("half", "1/2"),
        ("2 million", "2 million"),
        ("someone, tone, often", "someone, tone, often"),
        ("预算为五十", "预算为50"),
        ("大约一百个", "大约100个"),
    ],
)
def test_number_words_of_a_text_become_digits(text: str, digits: str) -> None:
    assert words_to_digits(text) == digits


def test_a_fraction_behind_a_number_belongs_to_it() -> None:
    assert fractions_to_digits("2 and a half hours, 3 and 1/4") == "2 1/2 hours, 3 1/4"
