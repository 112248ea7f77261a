from make_runs import make_record, make_run

from tale_dspy.reports.explorer import RowExplorer
from tale_dspy.reports.question_explorer import question_explorer


def column(table: RowExplorer, name: str, group: int | None) -> list:
    (only,) = [c for c in table.columns if c.name == name and c.group == group]
    return list(only.values)


def test_each_question_is_a_row_with_the_changes_against_the_first_run() -> None:
    table = question_explorer([make_run("ccwt"), make_run("cwcw", "b")])
    assert table.size == 4 and table.unit == "questions" and list(table.groups) == ["cot", "b"]
    assert column(table, "Change", 1) == ["none", "right→wrong", "wrong→right", "truncated→wrong"]
    assert column(table, "cot: outcome", 0) == ["correct", "correct", "wrong", "truncated"]
    assert [table.is_telling(i) for i in range(4)] == [False, True, True, True]


def test_questions_of_one_run_only_have_unknown_figures() -> None:
    table = question_explorer([make_run("c"), make_run([make_record(5, token_budget=50)], "b")])
    assert column(table, "Change", 1) == [None, None] and column(table, "b: tokens", 1) == [None, 100]
    assert column(table, "b: within budget", 1) == [None, "no"]


def test_draws_are_rows_and_unknown_columns_are_left_out() -> None:
    table = question_explorer([make_run([make_record(0, repeat=k, cost_usd=None) for k in range(2)])])
    assert table.unit == "answers" and column(table, "Draw", None) == [1, 2]
    assert not [c.name for c in table.columns if c.name in ("budget", "estimate", "thinking", "USD")]


def test_an_opened_row_has_question_gold_and_both_replies() -> None:
    records = (
        make_record(0, question=None, inputs={"a": 1, "b": "x"}, gold=["y"]),
        make_record(0, reply=None, error="e"),
    )
    panes = question_explorer([make_run([records[0]]), make_run([records[1]], "b")]).panes(0)
    assert [(pane["text"], pane["group"]) for pane in panes] == [
        ("a: 1\nb: x", None),
        ('["y"]', None),
        ("It is [[0]]", 0),
        ("e", 1),
    ]
    assert panes[2]["title"] == "cot: correct, answer 0, 100 tokens"


def test_effort_words_are_shown_and_filtered() -> None:
    table = question_explorer([make_run("cc"), make_run([make_record(i, effort="low") for i in range(2)], "b")])
    assert column(table, "b: effort", 1) == ["low", "low"]
    assert next(c for c in table.columns if c.name == "b: effort").is_filter
    assert table.panes(0)[-1]["title"] == "b: correct, answer 0, effort low, 100 tokens"
