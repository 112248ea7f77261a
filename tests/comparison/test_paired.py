import math
from dataclasses import replace

import numpy as np
import pytest
from make_runs import make_record, make_run, random_run
from scipy import stats

from tale_dspy.comparison.compare import compare
from tale_dspy.runs.records import Run


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


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_figure_that_is_no_number_is_unknown(value: float) -> None:
    c = compare(make_run("cc"), make_run([make_record(0, cost_usd=value), make_record(1)]))
    assert (c.price_usd.n, c.price_usd.unknown) == (1, 1)


def test_no_saving_is_computed_from_a_baseline_of_zero_tokens() -> None:
    c = compare(make_run([make_record(0, output_tokens=0)]), make_run([make_record(0)]))
    assert (c.output_tokens.saving, c.output_tokens.saving_interval, c.output_tokens.difference) == (None, None, 100.0)
