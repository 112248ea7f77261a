import pytest
from make_runs import UNKNOWN, make_record, make_run

from tale_dspy.reports.role_figure import role_spend, spend_by_role


def test_tokens_and_dollars_are_reported_by_role() -> None:
    records = [
        make_record(0, output_tokens=100, recovery_tokens=30, estimate=(60, 10), metric_tokens=4, metric_cost_usd=0.5),
        make_record(1, output_tokens=50, cost_usd=0.0, saved_cost_usd=0.25, cached_calls=1, paid_calls=0),
    ]
    spend = role_spend(make_run(records))
    assert (spend.answer_tokens, spend.estimate_tokens, spend.recovery_tokens, spend.metric_tokens) == (60, 5, 15, 2)
    assert (spend.usd_from_cache, spend.usd_metric, spend.paid_calls, spend.cached_calls) == (0.25, 0.5, 1, 1)
    assert spend.usd_paid == pytest.approx(records[0].cost_usd)


def test_unknown_tokens_are_unknown_and_not_zero() -> None:
    spend = role_spend(UNKNOWN)
    assert (spend.answer_tokens, spend.usd_paid, spend.thinking_tokens) == (None, None, None)
    assert spend_by_role([UNKNOWN]) is None


def test_roles_that_never_happened_are_not_in_the_legend() -> None:
    drawing = spend_by_role([make_run("cc"), make_run([make_record(0, estimate=(60, 10))], "tale-ep")])
    assert drawing is not None
    assert [t.get_text() for t in drawing.figure.axes[0].get_legend().get_texts()] == ["answer", "estimate"]


def test_answers_of_unknown_tokens_do_not_lower_the_means() -> None:
    records = [make_record(i, output_tokens=100 if i % 2 else None, estimate=(60, 10)) for i in range(10)]
    run = make_run(records, "half")
    assert role_spend(run).answer_tokens == run.summary["output_tokens_mean"] == 100
    assert role_spend(run).prompt_tokens == run.summary["prompt_tokens_mean"]
    drawing = spend_by_role([run, UNKNOWN])
    assert drawing is not None
    assert "Tokens unknown: unknown." in drawing.figure.axes[0].texts[0].get_text()
