from make_runs import UNKNOWN, make_record, make_run, three_runs

from tale_dspy.reports.figure_registry import FIGURES, FigureEntry, drawings
from tale_dspy.reports.sources import ReportSources
from tale_dspy.runs.records import Run


def budget_runs(*budgets: int, **config: str) -> list[Run]:
    fields = {"budget_source": "given", "output_tokens": 50}
    return [
        make_run([make_record(i, token_budget=b, **fields) for i in range(5)], f"budget:{b}", **config) for b in budgets
    ]


def stems(sources: ReportSources) -> dict[str, list[str]]:
    return {section: [drawing.stem for drawing in drawn] for section, drawn in drawings(sources).items()}


def test_every_figure_stands_in_its_section() -> None:
    assert stems(ReportSources(three_runs())) == {
        "results": ["accuracy_tokens", "accuracy_dollars", "paired_differences"],
        "elasticity": [],
        "budgets": [],
        "spend": ["spend_by_role", "tokens_01_tale-ep"],
    }


def test_every_figure_says_what_it_is_evidence_of() -> None:
    runs = [*three_runs(), *budget_runs(5, 10, 20)]
    drawn = [drawing for section in drawings(ReportSources(runs)).values() for drawing in section]
    texts = {d.stem: " ".join(text.get_text() for axes in d.figure.axes for text in axes.texts) for d in drawn}
    assert [stem for stem, text in texts.items() if "Evidence" not in text] == [] and len(texts) >= 7


def test_two_models_have_curves_with_names_of_their_own() -> None:
    runs = [*budget_runs(5, 10, 20), *budget_runs(5, 10, 20, model="b")]
    assert stems(ReportSources(runs))["elasticity"] == ["elasticity", "elasticity_02"]


def test_unknown_tokens_draw_nothing() -> None:
    assert not any(stems(ReportSources([UNKNOWN])).values())


def test_a_figure_is_added_by_one_entry(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    from tale_dspy.reports import figure_registry
    from tale_dspy.reports.role_figure import spend_by_role

    entry = FigureEntry("results", lambda sources: [spend_by_role(sources.runs)])
    monkeypatch.setattr(figure_registry, "FIGURES", (*FIGURES, entry))
    assert stems(ReportSources(three_runs()))["results"][-1] == "spend_by_role"
