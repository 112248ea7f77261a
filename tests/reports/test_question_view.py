import io

import pytest
from make_runs import make_record, make_run
from rich.console import Console

from tale_dspy.errors import UsageError
from tale_dspy.reports.question_view import MAX_FAILED, failed_table, find_records, rich_record


def test_a_question_is_found_by_its_id_or_how_it_begins() -> None:
    run = make_run([make_record(i, id=key, repeat=k) for i, key in enumerate(["ab1", "ab2", "c"]) for k in (0, 1)])
    assert [(r.id, r.repeat) for r in find_records(run, "ab2")] == [("ab2", 0), ("ab2", 1)]
    assert {r.id for r in find_records(run, "c")} == {"c"}
    for wanted, message in (("ab", "2 questions whose id begins with 'ab'"), ("x", "no question 'x'")):
        with pytest.raises(UsageError, match=message):
            find_records(run, wanted)


def test_an_id_that_begins_another_is_found() -> None:
    run = make_run([make_record(0, id="ab"), make_record(1, id="ab-2")])
    assert [r.id for r in find_records(run, "ab")] == ["ab"]


def test_text_of_a_model_does_not_command_the_terminal() -> None:
    console = Console(width=80, file=io.StringIO())
    console.print(rich_record("cot", make_record(0, reply="[red]x\x1b[2J\u202e", gold=["a"])))
    text = console.file.getvalue()
    assert "[red]x\\x1b[2J\\u202e" in text and '["a"]' in text and "output_tokens" in text


def test_failed_questions_are_listed_and_counted() -> None:
    assert failed_table(make_run("cc")).notes == ["Every question was answered right."]
    assert failed_table(make_run([])).notes == ["No question is answered yet."]
    table = failed_table(make_run("cw" * (MAX_FAILED + 3)))
    assert len(table.rows) == MAX_FAILED and table.notes[1].startswith("3 more are not shown")
