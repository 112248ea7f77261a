"""GSM8K's golds, whole."""

from decimal import Decimal

import pytest

from tale_dspy.answers import gold_from_gsm8k
from tale_dspy.errors import DataError


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        ("9 * 2 = 18\n#### 18", "18"),
        ("#### 2,125", "2125"),
        ("#### 1 #### -10", "-10"),
        ("109,200,000", "109200000"),
        (48.0, "48"),
        (1.5, "1.5"),
        (0.5, "0.5"),
        (-0.0, "0"),
        (100.0, "100"),
        (1e-7, "0.0000001"),
        (7, "7"),
        (10, "10"),
        (Decimal("2.50"), "2.5"),
    ],
)
def test_the_whole_value_is_kept(answer: object, gold: str) -> None:
    assert gold_from_gsm8k(answer) == gold


class NamedFloat(float):
    """A float whose repr is not a number, as NumPy's is not."""

    def __repr__(self) -> str:
        return f"NamedFloat({float(self)})"

    def __str__(self) -> str:
        return str(float(self))


def test_a_float_of_another_library_is_read() -> None:
    assert gold_from_gsm8k(NamedFloat(1.5)) == "1.5"


@pytest.mark.parametrize("answer", [None, "", "9 * 2 = 18\n####  ", True, float("nan"), float("inf"), ["18"]])
def test_a_row_without_gold_is_a_data_error(answer: object) -> None:
    with pytest.raises(DataError, match="GSM8K answer"):
        gold_from_gsm8k(answer)
