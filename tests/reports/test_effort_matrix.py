"""Several models at several effort words, in one table."""

from make_runs import make_record, make_run

from tale_dspy.reports.effort_matrix import NO_WORD, effort_matrices, effort_setting
from tale_dspy.runs.records import Run


def effort_run(model: str, word: str | None, right: int, tokens: int, budget: int | None = None, n: int = 10) -> Run:
    records = [
        make_record(
            i, effort=word, token_budget=budget, output_tokens=tokens, outcome="correct" if i < right else "wrong"
        )
        for i in range(n)
    ]
    run = make_run(records, f"effort:{word}", model=model)
    run.info["program"]["class"] = "VanillaCoT" if word is None else "BudgetedChainOfThought"
    return run


RUNS = [
    effort_run("gpt", None, 9, 500),
    effort_run("gpt", "low", 7, 50),
    effort_run("gpt", "low", 6, 40, budget=50),
    effort_run("grok", "low", 8, 80),
    effort_run("grok", "high", 10, 300),
]


def test_a_row_a_model_a_column_a_word_with_accuracy_tokens_and_dollars() -> None:
    (table,) = effort_matrices(RUNS)
    assert table.header == ["model", NO_WORD, "low+50", "low", "high"]
    cells = table.cells
    assert [row[0] for row in cells] == ["gpt", "grok"]
    assert cells[0][3].startswith("70.0 % · 50.0 · $") and cells[0][4] == "–" and cells[1][1] == "–"
    values = table.values()[1]
    assert (values["model"], values["high_accuracy"], values["high_output_tokens"]) == ("grok", 1.0, 300.0)
    assert values["no_word_accuracy"] is None
    assert table.notes == ["Each cell: right %, output tokens a question, US dollars per 1000 questions."]


def test_one_model_is_no_matrix() -> None:
    assert list(effort_matrices(RUNS[:3])) == []
    assert list(effort_matrices([*RUNS[:3], effort_run("other", None, 5, 100)])) == []


def test_other_numbers_of_questions_are_said() -> None:
    (table,) = effort_matrices([RUNS[1], effort_run("grok", "low", 3, 80, n=5)])
    assert "different numbers of questions (5, 10)" in table.notes[1]


def test_a_run_of_several_words_or_of_numbers_has_no_setting() -> None:
    mixed = make_run([make_record(0, effort="low"), make_record(1, effort="high")])
    assert effort_setting(mixed) is None and effort_setting(effort_run("gpt", None, 1, 1, budget=50)) is None
    assert [effort_setting(run) for run in RUNS[:3]] == [NO_WORD, "low", "low+50"]
