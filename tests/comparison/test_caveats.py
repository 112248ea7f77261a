import pytest
from make_runs import ep_run, make_record, make_run

from tale_dspy.comparison.compare import compare
from tale_dspy.runs.records import Run


def notes(baseline: Run, run: Run) -> str:
    return "\n".join(compare(baseline, run, resamples=10).notes)


def test_a_saving_with_the_same_prompting_is_a_budget_saving() -> None:
    c = compare(make_run("c" * 20), ep_run())
    assert c.is_budget_saving
    assert c.blocking_reason is None
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
        ({"dspy": "3.5"}, "other release of DSPy"),
        ({"settings": {"temperature": 1.0, "max_tokens": 9}}, "other temperature and max_tokens"),
    ],
)
def test_a_saving_that_may_have_another_cause_is_not_claimed(config: dict, why: str) -> None:
    run = ep_run()
    run.info["config"] |= config
    c = compare(make_run("c" * 20), run)
    assert (c.is_budget_saving, c.blocking_reason) == (False, why)
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
    assert compare(make_run("cccc"), run).blocking_reason == f"the {why}"


@pytest.mark.parametrize(
    ("run", "note"),
    [
        (make_run("c" * 98 + "tt"), "2 of 100 replies of the run are truncated (2.0 %)"),
        (make_run("c" * 100, model="m2"), "different model: openai/gpt-4o-mini in the baseline, m2 in the run"),
        (make_run("c" * 100, temperature=1), "different temperature: None in the baseline, 1 in the run"),
        (make_run("c" * 100, settings={"max_tokens": 5}), "different max_tokens: None in the baseline, 5 in the run"),
        (make_run("c" * 100, dspy="3.5"), "different DSPy: None in the baseline, 3.5 in the run"),
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
        (
            make_run([make_record(i, batch_calls=1, paid_calls=1) for i in range(100)]),
            "run: 100 of 100 paid calls went through a batch API, at half the price, so the dollars differ by that",
        ),
        (make_run("c" * 100, stopped="cap"), "the run is not finished: cap"),
    ],
)
def test_what_weakens_a_comparison_is_said(run: Run, note: str) -> None:
    assert note in notes(make_run("c" * 100), run)


@pytest.mark.parametrize(
    "run", [make_run("c" * 99 + "t"), make_run([make_record(i, response_model=None) for i in range(9)])]
)
def test_one_percent_truncation_and_unnamed_snapshots_are_not_noted(run: Run) -> None:
    assert notes(make_run("c" * len(run.records)), run) == ""


def test_two_runs_through_a_batch_are_compared_at_the_same_price() -> None:
    run = make_run([make_record(i, batch_calls=1, paid_calls=1) for i in range(9)])
    assert "batch" not in notes(run, run)
