"""What a calibration turns down, and in which order."""

import pytest

import tale_dspy
from tale_dspy.errors import UsageError
from tale_dspy.optimizers.calibration_settings import descending_settings, with_setting


def test_settings_are_tested_from_the_most_to_the_least() -> None:
    assert descending_settings((0.5, 2.0), None, None) == ("scale", [2.0, 0.5])
    assert descending_settings((1.0,), ["low", "none", "high"], None) == ("effort", ("high", "low", "none"))
    assert descending_settings((1.0,), None, [0.5, 0.9]) == ("confidence", [0.9, 0.5])


@pytest.mark.parametrize("settings", [((), None, None), ((1.0,), ["fast"], None), ((1.0,), ["low"], [0.5])])
def test_settings_that_cannot_be_tested_are_refused(settings: tuple[object, ...]) -> None:
    with pytest.raises(UsageError):
        descending_settings(*settings)  # type: ignore[arg-type]


def test_a_program_is_copied_and_turned() -> None:
    program = tale_dspy.BudgetedChainOfThought("question -> answer", 40)
    assert with_setting(program, "scale", 0.5).token_budget == 20
    assert with_setting(program, "effort", "low").effort == "low" and program.token_budget == 40
