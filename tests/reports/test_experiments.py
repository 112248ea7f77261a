"""Runs of one experiment, and which of them has no budget."""

from make_runs import make_record, make_run

from tale_dspy.reports.experiments import NOT_THE_EXPERIMENT, experiment, vanilla_run
from tale_dspy.runs.records import Run


def of_class(name: str, kind: str, **fields: int) -> Run:
    return make_run([make_record(0, **fields)], name, info={"program": {"name": name, "class": kind}})


def test_an_experiment_is_all_settings_but_those_left_apart() -> None:
    one, other = make_run("c", price=None), make_run("c", price={"input": 1})
    assert experiment(one, NOT_THE_EXPERIMENT) == experiment(other, NOT_THE_EXPERIMENT)
    assert experiment(one, set()) != experiment(other, set())
    assert experiment(make_run("c", data={"name": "x"}), {"data"}) != experiment(one, {"data"})


def test_the_vanilla_run_reasons_without_a_budget() -> None:
    direct, cot = of_class("direct", "DirectAnswer"), of_class("cot", "VanillaCoT")
    tight = of_class("budget:5", "BudgetedChainOfThought", token_budget=5)
    assert vanilla_run([tight, direct, cot], tight) is cot
    assert vanilla_run([tight, direct], direct) is direct
    assert vanilla_run([tight, direct], tight) is None
