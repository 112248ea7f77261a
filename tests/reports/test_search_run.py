"""A search folder in a report: its figures as text, its mark, and budgets measured against its ideal ranges."""

import json
from pathlib import Path
from typing import Any

import pytest
from make_runs import make_record, make_run
from searched import row, search

from tale_dspy.errors import RunFolderError
from tale_dspy.reports.search_run import (
    SearchRun,
    is_search,
    load_search_runs,
    range_sentence,
    run_range_quality,
    search_notes,
    search_table,
    searched_row,
)

INFO: dict[str, Any] = {
    "provenance": "simulated", "config": {"data": {"name": "stories"}, "search": {"sampler": "GridSampler"}}
}  # fmt: skip
ROWS = search([f"q{n}" for n in range(6)], lambda n: 30 + n)


def folder(path: Path, rows: Any = ROWS, info: Any = INFO) -> Path:
    path.mkdir()
    (path / "search.jsonl").write_text("".join(json.dumps(r.to_json()) + "\n" for r in rows))
    if info:
        (path / "run.json").write_text(json.dumps(info))
    return path


def test_a_search_is_read_with_where_it_comes_from(tmp_path: Path) -> None:
    path = folder(tmp_path / "s", [*ROWS, row("x", [(5, 6, True)], predictor="steps[1]")])
    assert is_search(path) and not is_search(tmp_path)
    first, second = load_search_runs(path)
    assert (first.predictor, first.data, first.sampler, first.provenance) == (
        "self",
        "stories",
        "GridSampler",
        "simulated",
    )
    assert (second.predictor, len(second.rows)) == ("steps[1]", 1)


def test_rows_alone_are_enough(tmp_path: Path) -> None:
    (search,) = load_search_runs(folder(tmp_path / "s", info=None))
    assert search.data == "unnamed data" and search_notes(search)[0] == "Budgets were chosen by unknown sampler."


@pytest.mark.parametrize("rows", [None, []])
def test_what_is_no_search_is_refused(rows: Any, tmp_path: Path) -> None:
    path = tmp_path if rows is None else folder(tmp_path / "s", rows)
    with pytest.raises(RunFolderError, match=r"is no search|holds no finished question"):
        load_search_runs(path)


def test_the_table_tells_what_was_found_and_why_not() -> None:
    rows = [*ROWS[:2], row("n", [(9, 300, True)], best=None, reason="no gain"), row("m", [], reason="no gain")]
    table = search_table(SearchRun(INFO, rows))
    assert (table["Questions"], table["With a best budget"], table["Without: no gain"]) == ("4", "2", "2")
    assert float(table["Tokens saved %"]) > 50
    nothing = search_table(SearchRun(INFO, rows[2:]))
    assert (nothing["Tokens saved %"], nothing["Tokens without a budget (of these)"]) == ("–", "–")


def test_a_search_is_a_row_beside_runs() -> None:
    lost = row("n", [(9, 300, True)], best=None, reason="no gain")
    info = {**INFO, "config": {**INFO["config"], "model": "m"}}
    report_row = searched_row(SearchRun(info, [*ROWS[:2], lost]))
    assert (report_row.model, report_row.data, report_row.n, report_row.provenance) == ("m", "stories", 3, "simulated")
    best = [r.best.tokens for r in ROWS[:2] if r.best]
    assert report_row.output_tokens == pytest.approx((sum(best) + (lost.vanilla.tokens or 0)) / 3)
    assert report_row.accuracy == 1 and "without budgets 100.0 % of them are right" in report_row.notes[0]


def test_agreement_is_reported() -> None:
    notes = search_notes(SearchRun(INFO, [row("a", [(5, 6, True)], judged_by="agreement")]))
    assert notes == ["Budgets were chosen by GridSampler. Right means: as without a budget.", "Evidence: simulated."]


def test_budgets_of_a_run_are_measured_against_the_ranges() -> None:
    search = SearchRun(INFO, ROWS)
    best = [r.best.budget if r.best else 0 for r in ROWS]
    run = make_run([make_record(0, id=r.id, token_budget=b) for r, b in zip(ROWS, best, strict=True)], "tale-ep")
    quality = run_range_quality(run, search)
    assert quality is not None and quality.n == 6 and quality.in_range_accuracy > 0.5
    assert range_sentence("tale-ep", quality, search).startswith(
        f"tale-ep: {100 * quality.in_range_accuracy:.1f} % of 6"
    )
    rough = SearchRun({"config": {"search": {"sampler": "HalvingSampler"}}}, ROWS)
    assert "The ranges are rough: only a grid search shows them, not HalvingSampler." in range_sentence(
        "tale-ep", quality, rough
    )


def test_a_run_of_other_questions_has_no_quality() -> None:
    assert run_range_quality(make_run("cc"), SearchRun(INFO, ROWS)) is None


def test_the_saving_is_that_of_questions_whose_tokens_without_a_budget_are_known() -> None:
    known, unknown = row("a", [(50, 40, True)]), row("b", [(50, 60, True)], longest=None)
    table = search_table(SearchRun(INFO, [known, unknown]))
    assert table["Tokens without a budget (of these)"] == "200.0"
    assert (table["Tokens with the best budget (confirmed)"], table["Tokens saved %"]) == ("40.0", "80.0")
    alone = search_table(SearchRun(INFO, [unknown]))
    assert (alone["Tokens with the best budget (confirmed)"], alone["Tokens saved %"]) == ("60.0", "–")


def test_reasons_that_begin_alike_are_counted_together() -> None:
    reasons = [f"{'no budget was found, because ' * 3}{end}" for end in "aab"]
    rows = [row(key, [], reason=reason) for key, reason in zip("xyz", reasons, strict=True)]
    counts = {name: count for name, count in search_table(SearchRun(INFO, rows)).items() if name.startswith("Without")}
    assert [*counts.values()] == ["3"]
