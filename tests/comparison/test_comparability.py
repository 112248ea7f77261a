"""Runs that differ in more than one thing are refused with the reason."""

from typing import Any

import pytest
from make_runs import make_record, make_run

from tale_dspy.comparison.comparability import differing_factor
from tale_dspy.errors import UsageError
from tale_dspy.runs.records import Run


@pytest.mark.parametrize(
    ("config", "changed"),
    [
        ({}, "nothing"),
        ({"model": "local:tuned"}, "model"),
        ({"weights": "other", "address": "loopback", "engine": "auto", "price": None}, "model"),
        ({"prompting": [["predict", "Be short.", ""]]}, "prompt"),
        ({"adapter": "ChatAdapter", "program": {"name": "dspy-cot", "state": "1"}}, "prompt"),
        ({"data": {"name": "the same in another file", "hash": "other"}}, "nothing"),
    ],
)
def test_one_thing_may_differ(config: dict[str, Any], changed: str) -> None:
    assert differing_factor(make_run("cc"), make_run("cc", **config)) == changed


@pytest.mark.parametrize(
    ("tuned", "said"),
    [
        (make_run("cc", settings={"temperature": 0.7}), r"differ in temperature: unset in the base run, 0.7 in the"),
        (make_run("cc", metric="mine:judge"), "differ in metric: unset in the base run, mine:judge in the tuned"),
        (make_run("cc", model="other", adapter="ChatAdapter"), r"both the model \(model\) and the prompt \(adapter\)"),
        (make_run("cc", info={"contaminated": True}), "the tuned run is contaminated"),
        (make_run("c"), r"not the same questions: 1 answers are only in the base run, 0 only in the tuned run, 1 in"),
        (make_run([make_record(i, repeat=1) for i in range(2)]), "share no question"),
    ],
)
def test_what_else_differs_is_refused(tuned: Run, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        differing_factor(make_run("cc"), tuned)


def test_a_run_that_was_stopped_is_refused() -> None:
    base = make_run("cc")
    base.stopped = "cap"
    with pytest.raises(UsageError, match=r"the base run is not finished \(cap\): run the same command again"):
        differing_factor(base, make_run("cc"))
