import json
import math
import random

import pytest
from make_runs import ep_run, make_record, make_run, random_run

from tale_dspy.comparison.compare import compare
from tale_dspy.errors import UsageError
from tale_dspy.statistics import mcnemar_p


def test_counts_of_the_comparison_are_those_of_the_table() -> None:
    c = compare(make_run("ccccwwcc"), make_run("cwwtcwcc"))
    assert (c.right_to_wrong, c.wrong_to_right, c.n, c.draws) == (3, 1, 8, 8)
    assert c.mcnemar_p == mcnemar_p(3, 1)


def test_identical_runs_differ_by_nothing() -> None:
    run = random_run(50)
    c = compare(run, run)
    for means in (c.accuracy, c.output_tokens, c.net_tokens, c.price_usd):
        assert (means.difference, means.interval) == (0.0, (0.0, 0.0))
    assert c.mcnemar_p == 1.0
    assert (c.changes, c.token_changes, c.notes, c.is_budget_saving) == ([], [], [], False)


def test_draws_of_one_side_only_are_left_out_and_reported() -> None:
    three = make_run([make_record(i, repeat=k, output_tokens=100 + 50 * k) for i in range(4) for k in range(3)])
    c = compare(make_run("cccc"), three)
    assert (c.draws, c.output_tokens.difference) == (4, 0.0)
    assert "different repeats: 1 in the baseline, 3 in the run" in c.notes[0]


def test_only_shared_questions_count() -> None:
    baseline = make_run([make_record(i, output_tokens=100 * (i + 1)) for i in range(6)])
    run = make_run([make_record(i, output_tokens=50) for i in range(4, 9)])
    c = compare(baseline, run)
    assert (c.n, c.baseline.unshared, c.run.unshared) == (2, 4, 3)
    assert c.output_tokens.baseline == 550
    assert c.notes == ["only 2 of 9 questions are shared: 4 are only in the baseline, 3 only in the run"]


def test_a_record_that_occurs_twice_counts_once() -> None:
    again = make_run([make_record(0), make_record(0, outcome="wrong"), make_record(1)])
    assert compare(make_run("cc"), again).right_to_wrong == 1


@pytest.mark.parametrize("records", [[], [make_record(99)]])
def test_runs_without_a_shared_question_are_refused(records: list) -> None:
    with pytest.raises(UsageError, match=r"share no question: cot on gsm8k \(2 questions\) and other on gsm8k"):
        compare(make_run("cc"), make_run(records, "other"))


def test_resamples_below_one_are_refused() -> None:
    with pytest.raises(UsageError, match="resamples must be at least 1 but is 0"):
        compare(make_run("c"), make_run("c"), resamples=0)


def test_run_compare_measures_itself_against_the_other() -> None:
    c = ep_run(3).compare(make_run("ccc"))
    assert (c.baseline.name, c.run.name, c.output_tokens.difference) == ("cot", "tale-ep", -20.0)


def test_unknown_tokens_leave_the_question_out_of_the_token_comparison_only() -> None:
    lost = make_run([make_record(i, output_tokens=None if i == 0 else 60) for i in range(5)])
    c = compare(make_run("ccccc"), lost)
    assert (c.output_tokens.n, c.output_tokens.unknown, c.output_tokens.difference) == (4, 1, -40.0)
    assert (c.accuracy.n, c.price_usd.unknown) == (5, 1)
    assert "tokens unknown on 1 of 5 questions, left out of the token comparison" in c.notes


def test_money_is_none_where_no_price_is_known() -> None:
    c = compare(make_run("cc"), make_run([make_record(i, cost_usd=None) for i in range(2)]))
    assert (c.price_usd.difference, c.price_usd.saving, c.price_usd.n, c.price_usd.unknown) == (None, None, 0, 2)
    assert "USD per 1000   – -> –   –" in str(c)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"cost_usd": 0.0, "saved_cost_usd": 2.0, "cached_calls": 1}, 2.0),
        ({"cost_usd": 1.0, "saved_cost_usd": 2.0, "cached_calls": 1}, 3.0),
        ({"cost_usd": 0.0, "saved_cost_usd": None, "cached_calls": 1}, None),
        ({"cost_usd": 1.0, "saved_cost_usd": None, "cached_calls": 1, "metric_tokens": 5}, 1.0),
        ({"cost_usd": 0.0, "saved_cost_usd": None, "cached_calls": 1, "metric_tokens": 5}, None),
        ({"cost_usd": 1.0}, 1.0),
        ({"cost_usd": None}, None),
    ],
)
def test_price_is_the_full_price_or_unknown(fields: dict, expected: float | None) -> None:
    assert make_record(0, **fields).price_usd == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, 100),
        ({"estimate": (60, 12)}, 112),
        ({"estimate_prompt_tokens": 60}, None),
        ({"usage_source": "unknown"}, None),
        ({"output_tokens": None, "estimate_tokens": 12}, None),
    ],
)
def test_net_tokens_are_unknown_if_a_part_is(fields: dict, expected: float | None) -> None:
    assert make_record(0, **fields).net_tokens == expected


def test_json_is_plain_whatever_the_answers_are() -> None:
    run = make_run([make_record(0, outcome="wrong", answer={1: (math.nan, 2j)}), make_record(1, output_tokens=9)])
    row = compare(make_run("cc"), run).to_json(token_changes=True)
    again = json.loads(json.dumps(row, allow_nan=False))
    assert again == row
    assert again["changes"][0]["run_answer"] == {"1": ["nan", "2j"]}
    assert (again["is_budget_saving"], len(again["token_changes"])) == (False, 1)
    assert "token_changes" not in compare(make_run("cc"), run).to_json()


def test_the_summary_is_short_and_holds_every_figure() -> None:
    text = str(compare(make_run("c" * 20), ep_run()))
    assert len(text.splitlines()) == 10  # one of them a note: the estimator costs more money than it saves
    assert "tale-ep against cot on gsm8k: 20 questions" in text
    assert "net tokens     100.0 -> 90.0   -10.0 [-10.0, -10.0]   saves 10.0 %" in text
    assert "accuracy       100.0 -> 100.0 %   +0.0 [+0.0, +0.0] points" in text


def test_figures_do_not_depend_on_the_order_in_which_answers_came() -> None:
    records = random_run(60, seed=1).records, random_run(60, seed=2).records
    shuffled = [random.Random(3).sample(side, len(side)) for side in records]
    one, other = (compare(*map(make_run, sides), resamples=50) for sides in (records, shuffled))
    figures = ("accuracy", "output_tokens", "net_tokens", "price_usd", "estimator")
    assert [getattr(one, name) for name in figures] == [getattr(other, name) for name in figures]
    assert {change.id for change in one.changes} == {change.id for change in other.changes}
