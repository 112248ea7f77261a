"""What a notebook shows of results: tables of text, whatever a model or a user wrote."""

from typing import Any
from xml.etree import ElementTree

import pytest
from IPython.lib.pretty import pretty
from make_runs import make_record, make_run, random_run
from searched import search

from tale_dspy.accounting.calls import Call
from tale_dspy.accounting.ledger import Ledger
from tale_dspy.accounting.receipts import Receipt
from tale_dspy.comparison.compare import compare
from tale_dspy.optimizers.budget_sweep import BudgetSweep
from tale_dspy.reports.elasticity import elasticities
from tale_dspy.reports.search_run import SearchRun

HOSTILE = "<script>alert(1)</script>\u202e"
GIVEN: dict[str, Any] = {"budget_source": "given", "output_tokens": 50}


def receipt() -> Receipt:
    call = Call(role="reason", model=HOSTILE, prompt_tokens=50, output_tokens=7, cost_usd=0.25)
    return Receipt(program=HOSTILE, calls=[call, Call(role="estimate", model="m", cached=True)])


def ledger() -> Ledger:
    booked = Ledger()
    booked.book(receipt().calls[0])
    return booked


def results() -> list[Any]:
    runs = [make_run([make_record(i, token_budget=b, **GIVEN) for i in range(3)], HOSTILE) for b in (5, 10, 20)]
    return [
        make_run("cw", HOSTILE),
        compare(make_run("cw", HOSTILE), make_run("wc", HOSTILE)),
        ledger(),
        receipt(),
        BudgetSweep(make_run("c", HOSTILE), tuple(runs)),
        SearchRun({"provenance": HOSTILE}, search(["q"], lambda n: 30)),
        *elasticities(runs),
    ]


@pytest.mark.parametrize("result", results(), ids=lambda result: type(result).__name__)
def test_a_result_is_a_table_of_text(result: Any) -> None:
    document = ElementTree.fromstring(f"<div>{result._repr_html_()}</div>")
    assert [e.tag for e in document.iter("table")] == ["table"] and not list(document.iter("script"))
    assert len(list(document.iter("tr"))) >= 2 and "\u202e" not in "".join(document.itertext())


def test_a_comparison_shows_paired_figures_and_what_may_be_claimed() -> None:
    first, second = random_run(40), random_run(40, "tale-ep", tokens=90)
    html = compare(first, second)._repr_html_()
    for part in ("tale-ep against cot on gsm8k, 40 questions", "net tokens", "saves ", "exact McNemar p", "demos are"):
        assert part in html
    assert "Not a budget saving: other adapter" in compare(make_run("c"), make_run("c", adapter="b"))._repr_html_()


def test_a_ledger_shows_roles_and_a_receipt_its_calls() -> None:
    assert "Spent $0.250000, 7 output tokens" in ledger()._repr_html_() and ">reason</th>" in ledger()._repr_html_()
    assert "from the cache" in receipt()._repr_html_() and "0.250000" in receipt()._repr_html_()


def test_ipython_shows_what_print_shows() -> None:
    for result in (receipt(), compare(make_run("cw"), make_run("wc"))):
        assert pretty(result) == str(result)
