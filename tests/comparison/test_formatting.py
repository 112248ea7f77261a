import pytest
from make_runs import make_record, make_run

from tale_dspy.comparison.compare import compare
from tale_dspy.comparison.formatting import number, plain_json


@pytest.mark.parametrize(
    ("value", "sign", "text"),
    [(None, True, "–"), (-0.01, True, "+0.0"), (1234.56, False, "1,234.6"), (-3, True, "-3.0")],
)
def test_numbers_are_written_without_minus_zero(value: float | None, sign: bool, text: str) -> None:
    assert number(value, sign=sign) == text


def test_plain_json_keeps_what_json_knows() -> None:
    value = {"a": [1, 2.5, None, True, "x"]}
    assert plain_json(value) == value


def test_a_loss_is_written_as_a_loss() -> None:
    longer = make_run([make_record(i, output_tokens=150) for i in range(4)])
    assert "costs 50.0 % more" in str(compare(make_run("cccc"), longer))
