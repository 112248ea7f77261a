import json
import math
from dataclasses import replace

import numpy as np
import pytest
from make_runs import PRICE_IN, PRICE_OUT, make_record, make_run, random_run
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar

from tale_dspy.errors import UsageError
from tale_dspy.runs.compare import compare, mcnemar_p, net_tokens, number, plain_json, price_usd
from tale_dspy.runs.records import Run

# A small program with an estimator: 20 tokens saved a question, the estimator asks for 60 and writes 10.
EP = {"output_tokens": 80, "estimate": (60, 10), "token_budget": 40}


def ep_run(n: int = 20, **fields: object) -> Run:
    return make_run([make_record(i, **(EP | fields)) for i in range(n)], "tale-ep")


def notes(baseline: Run, run: Run) -> str:
    return "\n".join(compare(baseline, run, resamples=10).notes)


# McNemar


@pytest.mark.parametrize(
    ("fell", "rose"), [(0, 0), (0, 1), (1, 1), (3, 12), (12, 3), (5, 6), (0, 40), (31, 72), (1000, 1100), (4000, 4003)]
)
def test_p_equals_statsmodels_and_scipy(fell: int, rose: int) -> None:
    expected = mcnemar([[7, fell], [rose, 9]], exact=True).pvalue
    assert mcnemar_p(fell, rose) == pytest.approx(expected, rel=1e-10)
    if fell + rose:
        assert mcnemar_p(fell, rose) == pytest.approx(stats.binomtest(fell, fell + rose).pvalue, rel=1e-10)


@pytest.mark.parametrize(("fell", "rose"), [(10**6, 10**6 + 3000), (0, 10**7), (5000, 7000)])
def test_p_of_huge_counts_is_finite_and_right(fell: int, rose: int) -> None:
    assert mcnemar_p(fell, rose) == pytest.approx(2 * stats.binom.cdf(fell, fell + rose, 0.5), rel=1e-9, abs=1e-300)


def test_counts_of_the_comparison_are_those_of_the_table() -> None:
    c = compare(make_run("ccccwwcc"), make_run("cwwtcwcc"))
    assert (c.right_to_wrong, c.wrong_to_right, c.n, c.draws) == (3, 1, 8, 8)
    assert c.mcnemar_p == mcnemar_p(3, 1)


# Differences and intervals


def test_identical_runs_differ_by_nothing() -> None:
    run = random_run(50)
    c = compare(run, run)
    for means in (c.accuracy, c.output_tokens, c.net_tokens, c.price_usd):
        assert (means.difference, means.interval) == (0.0, (0.0, 0.0))
    assert c.mcnemar_p == 1.0
    assert (c.changes, c.token_changes, c.notes, c.is_budget_saving) == ([], [], [], False)


def test_intervals_equal_the_percentile_bootstrap_of_scipy() -> None:
    baseline, run = random_run(300), random_run(300, "short", tokens=90, accuracy=0.7)
    c = compare(baseline, run, seed=5, resamples=3000)
    pairs = list(zip(baseline.records, run.records, strict=True))
    for means, differences in (
        (c.accuracy, [a.correct - b.correct for b, a in pairs]),
        (c.output_tokens, [a.output_tokens - b.output_tokens for b, a in pairs]),
        (c.price_usd, [a.price_usd - b.price_usd for b, a in pairs]),
    ):
        rng = np.random.default_rng(5)
        expected = stats.bootstrap(
            (np.array(differences, dtype=float),), np.mean, method="percentile", n_resamples=3000, rng=rng
        ).confidence_interval
        assert means.interval == pytest.approx((expected.low, expected.high), rel=1e-9)
        assert means.difference == pytest.approx(np.mean(differences))


def test_saving_interval_equals_the_paired_bootstrap_of_scipy() -> None:
    baseline, run = random_run(100), random_run(100, "short", tokens=90)
    samples = [np.array([r.output_tokens for r in side.records], dtype=float) for side in (baseline, run)]
    expected = stats.bootstrap(
        samples,
        lambda before, after, axis: 1 - after.mean(axis=axis) / before.mean(axis=axis),
        method="percentile",
        paired=True,
        n_resamples=2000,
        rng=np.random.default_rng(0),
    ).confidence_interval
    saving = compare(baseline, run, resamples=2000).output_tokens
    assert saving.saving_interval == pytest.approx((expected.low, expected.high), rel=1e-9)
    assert saving.saving == pytest.approx(1 - samples[1].mean() / samples[0].mean())


def test_intervals_do_not_depend_on_how_the_resamples_are_batched() -> None:
    # 4000 questions are drawn 500 resamples at a time: one number generator must run through all of them.
    baseline, run = random_run(4000), random_run(4000, "short", tokens=90)
    differences = [a.output_tokens - b.output_tokens for b, a in zip(baseline.records, run.records, strict=True)]
    at = np.random.default_rng(0).integers(0, 4000, (1200, 4000))
    expected = np.percentile(np.array(differences, dtype=float)[at].mean(axis=1), [2.5, 97.5])
    assert compare(baseline, run, resamples=1200).output_tokens.interval == pytest.approx(tuple(expected))


def test_repeats_are_clustered_by_question() -> None:
    once = compare(random_run(40), random_run(40, "short", tokens=90))
    doubled = [
        Run(info=run.info, records=[replace(r, repeat=k) for r in run.records for k in (0, 1)])
        for run in (random_run(40), random_run(40, "short", tokens=90))
    ]
    twice = compare(*doubled)
    assert (twice.n, twice.draws) == (40, 80)
    assert twice.output_tokens.interval == pytest.approx(once.output_tokens.interval)
    assert twice.mcnemar_p == once.mcnemar_p


def test_with_repeats_a_question_falls_when_its_share_of_right_draws_falls() -> None:
    def run(*draws: str) -> Run:
        outcome = {"c": "correct", "w": "wrong", "t": "truncated"}
        rows = [make_record(i, repeat=k, outcome=outcome[x]) for i, d in enumerate(draws) for k, x in enumerate(d)]
        return make_run(rows)

    c = compare(run("ccw", "wwc", "cww", "wwc", "ccc"), run("cww", "cwc", "wcw", "ttc", "ccc"))
    assert (c.right_to_wrong, c.wrong_to_right) == (1, 1)
    assert [(x.id[-1], x.kind) for x in c.changes] == [("0", "right->wrong"), ("1", "wrong->right"), ("3", "other")]
    assert [(x.baseline_outcome, x.run_outcome) for x in c.changes][2] == ("wrong", "truncated")
    assert "sign test" in str(c)


def test_draws_of_one_side_only_are_left_out_and_told() -> None:
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


# Unknown figures


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
    assert price_usd(make_record(0, **fields)) == expected


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
    assert net_tokens(make_record(0, **fields)) == expected


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_figure_that_is_no_number_is_unknown(value: float) -> None:
    c = compare(make_run("cc"), make_run([make_record(0, cost_usd=value), make_record(1)]))
    assert (c.price_usd.n, c.price_usd.unknown) == (1, 1)


def test_no_saving_is_computed_from_a_baseline_of_zero_tokens() -> None:
    c = compare(make_run([make_record(0, output_tokens=0)]), make_run([make_record(0)]))
    assert (c.output_tokens.saving, c.output_tokens.saving_interval, c.output_tokens.difference) == (None, None, 100.0)


# The claim


def test_a_saving_with_the_same_prompting_is_a_budget_saving() -> None:
    c = compare(make_run("c" * 20), ep_run())
    assert c.is_budget_saving
    assert c.why_not is None
    assert c.net_tokens.difference == -10.0


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"adapter": "ChatAdapter"}, "other adapter"),
        ({"adapter": None}, "adapter not recorded in the run"),
        ({"prompting": [["predict", "Be brief.", ""]]}, "other instructions or demos"),
        ({"prompting": [["predict", "", "abc"]]}, "other instructions or demos"),
        ({"prompting": [["a", "", ""], ["b", "", ""]]}, "other instructions or demos"),
        ({"prompting": []}, "instructions or demos not recorded in the run"),
        ({"prompting": "none"}, "instructions or demos not recorded in the run"),
        ({"model": "openai/gpt-4o"}, "other model"),
        ({"settings": {"temperature": 1.0, "max_tokens": 9}}, "other temperature and max_tokens"),
    ],
)
def test_a_saving_that_may_have_another_cause_is_not_claimed(config: dict, why: str) -> None:
    run = ep_run()
    run.info["config"] |= config
    c = compare(make_run("c" * 20), run)
    assert (c.is_budget_saving, c.why_not) == (False, why)
    assert f"not claimed: {why}" in str(c)


def test_names_of_predictors_do_not_matter_to_the_claim() -> None:
    run = ep_run()
    run.info["config"] |= {"prompting": [("reason.predict", "", "")]}
    assert compare(make_run("c" * 20), run).is_budget_saving


@pytest.mark.parametrize(
    ("tokens", "why"), [(100, "net tokens are not shown to be lower"), (None, "net tokens are unknown")]
)
def test_no_saving_is_claimed_where_none_is_shown(tokens: int | None, why: str) -> None:
    run = make_run([make_record(i, output_tokens=tokens) for i in range(4)])
    assert compare(make_run("cccc"), run).why_not == f"the {why}"


# Notes


@pytest.mark.parametrize(
    ("run", "note"),
    [
        (make_run("c" * 98 + "tt"), "2 of 100 replies of the run are truncated (2.0 %)"),
        (make_run("c" * 100, model="m2"), "different model: openai/gpt-4o-mini in the baseline, m2 in the run"),
        (make_run("c" * 100, temperature=1), "different temperature: None in the baseline, 1 in the run"),
        (make_run("c" * 100, settings={"max_tokens": 5}), "different max_tokens: None in the baseline, 5 in the run"),
        (make_run("c" * 100, data={"name": "x"}), "different data: gsm8k in the baseline, x in the run"),
        (make_run("c" * 100, info={"contaminated": True}), "the run is contaminated"),
        (make_run([make_record(i, cached_calls=1, saved_cost_usd=0) for i in range(100)]), "100 of 100 answers of the"),
        (make_run([make_record(i, usage_source="tokenizer") for i in range(100)]), "100 token counts of the run are"),
        (make_run([make_record(i, cost_usd=None) for i in range(100)]), "price unknown on 100 of 100 questions"),
        (
            make_run([make_record(i, response_model="b") for i in range(100)]),
            "snapshots: gpt-4o-mini-2024-07-18 in the",
        ),
        (make_run([make_record(i, response_model=f"m{i % 2}") for i in range(100)]), "snapshots in the run: m0, m1"),
        (replace(make_run("c" * 100), stopped="cap"), "the run is not finished: cap"),
    ],
)
def test_what_weakens_a_comparison_is_said(run: Run, note: str) -> None:
    assert note in notes(make_run("c" * 100), run)


@pytest.mark.parametrize(
    "run", [make_run("c" * 99 + "t"), make_run([make_record(i, response_model=None) for i in range(9)])]
)
def test_one_percent_truncation_and_unnamed_snapshots_are_not_noted(run: Run) -> None:
    assert notes(make_run("c" * len(run.records)), run) == ""


# The estimator's balance


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


def test_an_estimator_dearer_than_it_saves_is_told_with_loss_and_break_even() -> None:
    text = notes(make_run("c" * 20), ep_run(estimate=(400, 30)))
    assert "the estimator costs more than it saves: +10.0 net tokens and +0.0660 USD per 1000 questions" in text
    assert "it would pay from a baseline reply of 150 tokens on (650 in money), here 100" in text


def test_a_long_prompt_that_costs_more_than_tokens_save_is_told() -> None:
    text = notes(make_run("c" * 20), ep_run(estimate=(1000, 10)))
    assert "the estimator costs more money than it saves: -10.0 net tokens and +0.1440 USD" in text
    assert "with estimator prompts under 40 tokens, here 1000" in text


@pytest.mark.parametrize(
    ("fields", "text"),
    [({"output_tokens": 100}, "replies got no shorter"), ({}, "in money no estimator prompt is short enough")],
)
def test_an_estimator_that_can_never_pay_is_told(fields: dict, text: str) -> None:
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


def test_there_is_no_balance_when_both_sides_estimate_or_tokens_are_unknown() -> None:
    assert compare(ep_run(), ep_run()).estimator is None
    assert compare(make_run("cc"), make_run("cc")).estimator is None
    assert compare(make_run("cc"), ep_run(2, output_tokens=None)).estimator is None


# Changes and text


def test_regressions_come_first_and_hold_both_replies() -> None:
    c = compare(make_run("wcwcw"), make_run("cwecw"))
    assert [(x.kind, x.id[-1]) for x in c.changes] == [("right->wrong", "1"), ("wrong->right", "0"), ("other", "2")]
    first = c.changes[0]
    assert (first.question, first.gold, first.baseline_outcome, first.run_outcome) == (
        "What is 1 plus 0?",
        "1",
        "correct",
        "wrong",
    )
    assert (first.baseline_answer, first.run_reply, first.run_tokens) == ("1", "It is [[1]]", 100)


def test_token_changes_are_questions_of_the_same_outcome_the_largest_growth_first() -> None:
    tokens = [90, 300, None, 100, 120]
    run = make_run([make_record(i, output_tokens=t, token_budget=7 if i == 3 else None) for i, t in enumerate(tokens)])
    c = compare(make_run("ccccc"), run)
    assert c.changes == []
    assert [x.run_tokens for x in c.token_changes] == [300, 120, 100, 90, None]


def test_inputs_stand_in_for_a_question() -> None:
    rows = [[make_record(0, question=None, inputs={"a": 1, "b": [2]}, outcome=o)] for o in ("correct", "wrong")]
    assert compare(*map(make_run, rows)).changes[0].question == "a: 1\nb: [2]"


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


def test_a_loss_is_written_as_a_loss() -> None:
    longer = make_run([make_record(i, output_tokens=150) for i in range(4)])
    assert "costs 50.0 % more" in str(compare(make_run("cccc"), longer))


@pytest.mark.parametrize(
    ("value", "sign", "text"),
    [(None, True, "–"), (-0.01, True, "+0.0"), (1234.56, False, "1,234.6"), (-3, True, "-3.0")],
)
def test_numbers_are_written_without_minus_zero(value: float | None, sign: bool, text: str) -> None:
    assert number(value, sign=sign) == text


def test_plain_json_keeps_what_json_knows() -> None:
    value = {"a": [1, 2.5, None, True, "x"]}
    assert plain_json(value) == value


@pytest.mark.parametrize("config", [None, "x", {}, {"data": "named", "settings": "x"}])
def test_a_run_with_little_recorded_still_compares(config: object) -> None:
    runs = [Run(info={"config": config}, records=[make_record(0)]) for _ in range(2)]
    assert compare(*runs).why_not == "adapter not recorded in the baseline"
