import math

import pytest
from make_runs import EP, PRICE_IN, PRICE_OUT, ep_run, make_record, make_run

from tale_dspy.comparison.compare import compare
from tale_dspy.runs.records import Run


def notes(baseline: Run, run: Run) -> str:
    return "\n".join(compare(baseline, run, resamples=10).notes)


def test_break_even_follows_from_what_the_estimator_costs() -> None:
    balance = compare(make_run("c" * 20), ep_run()).estimator
    assert balance is not None
    assert (balance.reply_tokens, balance.saved_tokens, balance.estimate_tokens, balance.loss_tokens) == (
        100,
        20,
        10,
        -10,
    )
    assert balance.break_even_tokens == pytest.approx(10 / 0.2)
    overhead = 10 + 60 * PRICE_IN / PRICE_OUT
    assert balance.break_even_tokens_usd == pytest.approx(overhead / 0.2)
    assert balance.break_even_prompt_tokens == pytest.approx((20 - 10) * PRICE_OUT / PRICE_IN)


@pytest.mark.parametrize(("length", "sign"), [(1, -1), (3, 1)])
def test_at_its_break_even_length_the_estimator_starts_to_pay(length: int, sign: int) -> None:
    # The same share saved of replies below and above the 250 tokens at which an estimator of 50 tokens pays.
    baseline = make_run([make_record(i, output_tokens=100 * length) for i in range(5)])
    balance = compare(baseline, ep_run(5, output_tokens=80 * length, estimate=(0, 50))).estimator
    assert balance is not None
    assert balance.break_even_tokens == pytest.approx(250)
    assert math.copysign(1, balance.loss_tokens) == -sign


def test_an_estimator_dearer_than_it_saves_is_reported_with_loss_and_break_even() -> None:
    text = notes(make_run("c" * 20), ep_run(estimate=(400, 30)))
    assert "the estimator costs more than it saves: +10.0 net tokens and +0.0660 USD per 1000 questions" in text
    assert "it would pay from a baseline reply of 150 tokens on (650 in money), here 100" in text


def test_a_long_prompt_that_costs_more_than_tokens_save_is_reported() -> None:
    text = notes(make_run("c" * 20), ep_run(estimate=(1000, 10)))
    assert "the estimator costs more money than it saves: -10.0 net tokens and +0.1440 USD" in text
    assert "with estimator prompts under 40 tokens, here 1000" in text


@pytest.mark.parametrize(
    ("fields", "text"),
    [({"output_tokens": 100}, "replies got no shorter"), ({}, "in money no estimator prompt is short enough")],
)
def test_an_estimator_that_can_never_pay_is_reported(fields: dict, text: str) -> None:
    assert text in notes(make_run("c" * 20), ep_run(**({"estimate": (400, 30)} | fields)))


@pytest.mark.parametrize("price", [None, {"input": None, "output": 1}, {"input": math.nan, "output": 1}, "cheap"])
def test_prices_not_recorded_are_fitted_to_the_records(price: object) -> None:
    records = [make_record(i, **(EP | {"output_tokens": 60 + i})) for i in range(20)]
    balance = compare(make_run("c" * 20), make_run(records, price=price)).estimator
    assert balance is not None
    assert balance.break_even_prompt_tokens == pytest.approx(60 - (balance.loss_usd or 0) / PRICE_IN, rel=1e-6)


@pytest.mark.parametrize(
    "costs",
    [[1e-5 * (1 + i % 7) for i in range(20)], [None] * 20, [0.0] * 20],
    ids=["no price fits", "unknown", "free"],
)
def test_without_prices_only_tokens_have_a_break_even(costs: list) -> None:
    records = [make_record(i, **EP, cost_usd=cost) for i, cost in enumerate(costs)]
    balance = compare(
        make_run([make_record(i, cost_usd=c) for i, c in enumerate(costs)]), make_run(records, price=None)
    )
    assert balance.estimator is not None
    assert balance.estimator.break_even_tokens == pytest.approx(50)
    assert balance.estimator.break_even_tokens_usd is None
    assert balance.estimator.break_even_prompt_tokens is None


@pytest.mark.parametrize("fields", [{"usage_source": "unknown"}, {"prompt_tokens": None, "cost_usd": 6e-5}])
def test_records_that_do_not_tell_all_their_tokens_leave_the_prices_to_the_others(fields: dict) -> None:
    baseline = make_run([make_record(i, **(fields if i == 3 else {})) for i in range(20)])
    records = [make_record(i, **(EP | {"output_tokens": 60 + i})) for i in range(20)]
    balance = compare(baseline, make_run(records, price=None), resamples=10).estimator
    assert balance is not None
    assert balance.break_even_prompt_tokens == pytest.approx(60 - (balance.loss_usd or 0) / PRICE_IN, rel=1e-6)


def test_there_is_no_balance_when_both_sides_estimate_or_tokens_are_unknown() -> None:
    assert compare(ep_run(), ep_run()).estimator is None
    assert compare(make_run("cc"), make_run("cc")).estimator is None
    assert compare(make_run("cc"), ep_run(2, output_tokens=None)).estimator is None
