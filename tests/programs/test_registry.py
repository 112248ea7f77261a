"""Classes are registered by being defined, abstract ones aside; a description is built by its own class alone."""

from typing import Any

import pytest

from tale_dspy import BudgetEstimator, StateError, TaleEP, VanillaCoT
from tale_dspy.programs.base import TaleModule
from tale_dspy.programs.budgeted_module import BudgetedModule
from tale_dspy.programs.registry import BuildContext, build_module, registered_modules


def test_abstract_bases_are_no_programs() -> None:
    kinds = registered_modules().values()
    assert VanillaCoT in kinds and TaleModule not in kinds and BudgetedModule not in kinds


def test_a_subclass_has_no_word_of_its_parents_on_the_command_line() -> None:
    class Shouting(VanillaCoT):
        pass

    assert (VanillaCoT.cli_name, Shouting.cli_name) == ("cot", None)


def test_a_class_defined_again_in_one_place_replaces_itself() -> None:
    def define() -> Any:
        class Redefined(VanillaCoT):
            pass

        return Redefined

    define()
    second = define()
    assert registered_modules()["Redefined"] is second


def test_only_what_gives_budgets_is_an_estimator() -> None:
    assert BudgetEstimator.gives_budget and not TaleEP.gives_budget
    with pytest.raises(StateError, match="estimator 'TaleEP'"):
        build_module(TaleEP("question -> answer").describe(), BuildContext(), estimator=True)
