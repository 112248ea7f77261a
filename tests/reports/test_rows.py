from dataclasses import replace

import pytest
from make_runs import make_record, make_run, three_runs

from tale_dspy.comparison.compare import compare
from tale_dspy.errors import UsageError
from tale_dspy.reports.rows import distinct_names, report_rows
from tale_dspy.runs.records import Run


def test_differences_are_the_paired_ones_to_the_first_run() -> None:
    runs = three_runs()
    first, second, _ = report_rows(runs)
    c = compare(runs[0], runs[1])
    assert (first.versus, first.accuracy_points, first.mcnemar_p, first.is_budget_saving) == (None, None, None, None)
    assert second.versus == "cot"
    assert second.accuracy_points == pytest.approx(100 * (c.accuracy.difference or 0))
    assert (second.net_saving, second.net_saving_interval) == (c.net_tokens.saving, c.net_tokens.saving_interval)
    assert (second.money_saving, second.mcnemar_p) == (c.price_usd.saving, c.mcnemar_p)


def test_a_row_holds_the_figures_of_its_run() -> None:
    run = make_run([make_record(i, output_tokens=80, estimate=(60, 10), cost_usd=0.001) for i in range(4)])
    (row,) = report_rows([run])
    assert (row.program, row.model, row.data, row.n) == ("cot", "openai/gpt-4o-mini", "gsm8k", 4)
    assert (row.accuracy, row.output_tokens, row.estimate_tokens, row.net_tokens) == (1.0, 80, 10, 90)
    assert (row.usd_per_1000, row.latency_p50, row.outcomes) == (pytest.approx(1.0), 1.0, {})


def test_other_data_gets_a_note_and_no_difference() -> None:
    row = report_rows(three_runs())[2]
    assert (row.versus, row.net_saving, row.mcnemar_p) == (None, None, None)
    assert row.notes == ("on other data than the first row (gsm8k): no difference is given",)
    assert row.outcomes == {"empty": 1, "truncated": 1}


def test_runs_without_a_common_question_get_a_note_and_no_difference() -> None:
    row = report_rows([make_run("cc"), make_run([make_record(9)])])[1]
    assert row.versus is None
    assert row.notes == ("no question in common with the first row: no difference is given",)


def test_a_difference_that_is_no_budget_saving_says_why() -> None:
    row = report_rows([make_run("cc"), make_run("cc", adapter="ChatAdapter")])[1]
    assert row.is_budget_saving is False
    assert "the difference is not called a budget saving: other adapter" in row.notes


def test_partly_unknown_figures_and_early_stops_are_reported() -> None:
    run = make_run([make_record(0), make_record(1, output_tokens=None)], stopped="cap")
    (row,) = report_rows([run])
    assert row.notes[0] == "not finished: cap"
    assert row.notes[1] == "tokens unknown on 1 of 2 answers, left out of the mean"
    assert row.output_tokens == 100


def test_fallbacks_are_counted_by_their_reason() -> None:
    reasons = ["no budget", "truncated", "no budget"]
    rows = [
        replace(make_record(i), budget_source="fallback", fallback_reason=reason) for i, reason in enumerate(reasons)
    ]
    (row,) = report_rows([make_run([*rows, make_record(3)])])
    assert "no estimate could be used for 3 of 4 answers: no budget 2, truncated 1" in row.notes


def test_the_most_frequent_error_is_said() -> None:
    rows = [make_record(i, outcome="error", error=e) for i, e in enumerate(["metric: oh\nno", "metric: oh\nno", "408"])]
    (row,) = report_rows([make_run([make_record(9), *rows])])
    assert row.notes == ("3 of 4 answers ended in an error, most often: metric: oh no",)
    (row,) = report_rows([make_run(rows[:2])])
    assert row.notes == ("2 of 2 answers ended in an error, all with: metric: oh no",)


def test_copied_examples_are_counted_and_said() -> None:
    (row,) = report_rows([make_run([make_record(0), make_record(1, outcome="wrong", copied_example=True)])])
    assert row.notes == ("1 of 2 answers are a wrong 50: the example of the prompt",)


def test_half_the_price_through_a_batch_is_said() -> None:
    (row,) = report_rows([make_run([make_record(0, paid_calls=1), make_record(1, paid_calls=2, batch_calls=2)])])
    assert row.notes == ("2 of 3 paid calls went through a batch API, at half the price",)


@pytest.mark.parametrize(
    ("info", "snapshot", "provenance"),
    [
        ({"provenance": "simulated"}, "m", "simulated"),
        ({"provenance": "simulated", "contaminated": True}, "m", "simulated (contaminated)"),
        ({"provenance": None, "created": "2025-03-04T05:06:07+00:00"}, "m-1", "openai/gpt-4o-mini, m-1, 2025-03-04"),
        ({"provenance": " "}, None, "openai/gpt-4o-mini, snapshot unknown, date unknown"),
    ],
)
def test_every_row_carries_a_provenance(info: dict, snapshot: str | None, provenance: str) -> None:
    (row,) = report_rows([make_run([make_record(0, response_model=snapshot)], info=info)])
    assert row.provenance == provenance


def test_a_run_without_records_or_model_is_a_row_of_unknowns() -> None:
    (row,) = report_rows([Run(info={}, records=[])])
    assert (row.n, row.accuracy, row.net_tokens, row.usd_per_1000) == (0, None, None, None)
    assert row.provenance == "model unknown, snapshot unknown, date unknown"


def test_a_report_of_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="at least one run"):
        report_rows([])


def test_rows_of_one_program_on_several_models_are_distinct_names() -> None:
    (cot,) = report_rows([make_run("cc")])
    tuned = replace(cot, model="local:embedded+/runs/short/")
    other = replace(cot, program="tale-ep", model="local:embedded+/runs/short")
    assert distinct_names([cot, tuned, other]) == ["cot (gpt-4o-mini)", "cot (short)", "tale-ep"]
    assert distinct_names([cot, replace(cot, data="svamp")]) == ["cot (gsm8k)", "cot (svamp)"]
    assert distinct_names([replace(cot, model=None), tuned])[0] == "cot (unknown model)"
    there, here = replace(cot, model="azure/gpt-4o"), replace(cot, model="openai/gpt-4o")
    assert distinct_names([there, here, tuned]) == ["cot (azure/gpt-4o)", "cot (openai/gpt-4o)", "cot (short)"]


def test_what_a_run_says_by_itself_is_not_said_again_in_its_comparison() -> None:
    skipping = make_run([make_record(i, skipped=i < 2) for i in range(5)], "budget:5")
    _, row = report_rows([make_run("ccccc"), skipping])
    assert [note for note in row.notes if "skip" in note] == ["2 of 5 replies skip the reasoning they were asked for"]
