from pathlib import Path

from make_runs import UNKNOWN, make_run, random_run, three_runs
from searched import search

from tale_dspy.comparison.compare import compare
from tale_dspy.reports.page import ReportPage
from tale_dspy.reports.page_sections import MAX_VERDICTS, report_page, verdict
from tale_dspy.reports.search_run import SearchRun
from tale_dspy.reports.sources import ReportSources
from tale_dspy.reports.training_run import TrainingRun

SEARCH = SearchRun({"provenance": "simulated"}, search(["q0", "q1"], lambda n: 30 + n))
TESTED = TrainingRun(Path("runs/long"), {"gate": {"outcome": "fail", "reason": "saves nothing", "n": 50}})
TRAINING = TrainingRun(Path("runs/short"), {"strategy": "sft", "gate": None})


def keys(page: ReportPage) -> list[str]:
    return [section.key for section in page.sections]


def test_the_verdict_holds_savings_with_intervals_changes_and_what_may_be_claimed() -> None:
    first, second, _ = three_runs()
    c = compare(first, second)
    sentence = verdict(c)
    assert sentence.startswith("tale-ep against cot on gsm8k, 60 questions: ")
    assert f"{100 * (c.net_tokens.saving or 0):.1f} % fewer output tokens [" in sentence and "dollars [" in sentence
    assert f"{c.right_to_wrong} right→wrong and {c.wrong_to_right} wrong→right, exact McNemar p" in sentence
    assert sentence.endswith("Adapter, instructions and demos are the same.")


def test_a_run_that_costs_more_says_so_and_is_no_saving() -> None:
    first, second, _ = three_runs()
    assert "% more output tokens [" in verdict(compare(second, first))
    other = compare(make_run("cc"), make_run("cc", adapter="ChatAdapter"))
    assert "Not a budget saving: other adapter" in verdict(other)


def test_runs_of_one_program_on_two_models_are_distinguished_by_their_models() -> None:
    page = report_page(ReportSources([make_run("ccw"), make_run("cwc", model="openai/other")]))
    assert page.title == "cot (gpt-4o-mini), cot (other)"
    assert page.verdicts[0].startswith("cot (other) against cot (gpt-4o-mini) on ")
    assert page.explorers[0].groups == ["cot (gpt-4o-mini)", "cot (other)"]


def test_runs_have_a_section_for_each_thing_to_look_at() -> None:
    page = report_page(ReportSources(three_runs()))
    assert keys(page) == ["results", "spend", "changes", "questions", "settings"]
    assert page.title == "cot, tale-ep, other" and len(page.verdicts) == 1
    assert page.evidence[0].startswith("Evidence: openai/gpt-4o-mini, gpt-4o-mini-2024-07-18")


def test_a_single_run_has_no_changes_and_a_verdict_of_its_own() -> None:
    page = report_page(ReportSources([make_run("ccw")]))
    assert "changes" not in keys(page)
    assert page.verdicts == ["cot on gsm8k: 66.7 % right of 3 questions, 100.0 output tokens per question."]
    assert "–" in report_page(ReportSources([UNKNOWN])).verdicts[0]


def test_many_runs_have_a_few_verdicts_and_the_table() -> None:
    page = report_page(ReportSources([make_run("cw", f"p{i}") for i in range(MAX_VERDICTS + 3)]))
    assert page.verdicts[-1] == "The table compares 2 more runs with the first." and "3 more" in page.title


def test_searches_and_trainings_have_sections() -> None:
    page = report_page(ReportSources([], [SEARCH], [TRAINING]))
    assert keys(page) == ["search-1", "training-1", "settings"]
    assert page.verdicts == [
        "Search of self on unnamed data: 2 of 2 questions have a best budget, with which they take 31.5 output tokens "
        "in place of 122.0: 74.2 % fewer.",
        "short: whether it is shorter and not worse than its base was not tested.",
    ]
    assert page.evidence == ["Evidence: simulated."]


def test_runs_without_a_change_say_so_and_show_no_empty_table() -> None:
    page = report_page(ReportSources([make_run("ccw"), make_run("ccw", "b")]))
    (section,) = [section for section in page.sections if section.key == "changes"]
    assert section.explorers == () and section.sentences[0].startswith("No question was answered right by one")


def test_a_tuned_model_is_tested_against_its_base() -> None:
    base = random_run(400, "cot", accuracy=0.9)
    tuned = random_run(400, "cot", accuracy=0.9, tokens=100)
    tuned.info["config"] = {**tuned.info["config"], "model": "local:embedded+short"}
    page = report_page(ReportSources([base, tuned]))
    (section,) = [section for section in page.sections if section.key == "tests"]
    assert section.sentences[1].startswith("cot on local:embedded+short: pass: ")


def test_a_training_shows_the_figures_of_its_test() -> None:
    (section,) = report_page(ReportSources(trainings=[TESTED])).sections
    assert section.sentences == ["long: fail, saves nothing."] and ["n", "50"] in section.tables[1].cells


def test_settings_that_all_share_stand_apart_from_those_that_differ() -> None:
    section = report_page(ReportSources([make_run("c"), make_run("c", "b", adapter="ChatAdapter")])).sections[-1]
    shared, apart = section.tables
    assert ["config.model", "openai/gpt-4o-mini"] in shared.cells
    assert ["config.adapter", "TaleAdapter", "ChatAdapter"] in apart.cells


def test_long_names_that_begin_alike_stay_different_in_title_and_verdicts() -> None:
    names = [f"{'an_optimized_program_' * 5}{end}" for end in "ab"]
    page = report_page(ReportSources([random_run(20), *(random_run(20, name) for name in names)]))
    assert "program_a, " in page.title and page.title.endswith("program_b")
    assert "program_a against cot" in page.verdicts[0] and "program_b against cot" in page.verdicts[1]
