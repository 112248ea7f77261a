import pytest

from tale_dspy.reports.text import (
    by_programs,
    csv_text,
    one_line,
    question_text,
    shorten_names,
    shorten_text,
    value_text,
    wrap_name,
)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cot", "cot"),
        ("", "–"),
        ("some.module.path:Program", "some.module.\npath:Program"),
        ("aaaaaaaaaaaaaaaaaaaaaaaaa", "aaaaaaaaaaaa\naaaaaaaaaaaa\na"),
        ("a b c d e f g h i j k l m n o p q r s t u v w x y z", "a b c d e f \ng h i j k l \nm n o p q r…"),
    ],
)
def test_names_break_at_their_parts_into_three_lines_at_most(name: str, expected: str) -> None:
    assert wrap_name(name, 12) == expected


def test_a_cut_text_keeps_its_length() -> None:
    assert (shorten_text("abcdef", 6), shorten_text("abcdefg", 6)) == ("abcdef", "abcde…")


def test_names_that_begin_alike_are_cut_where_they_are_alike() -> None:
    names = [
        "cot",
        *(f"a rather long name of wording number {i} with demos" for i in (7, 8)),
        "another long name, alone",
    ]
    assert shorten_names(names, 20) == ["cot", "a rath…umber 7 with…", "a rath…umber 8 with…", "another long name, …"]
    assert shorten_names(["same" * 9, "same" * 9], 12) == ["same…samesa…"] * 2


def test_a_sentence_is_said_once_with_its_programs() -> None:
    notes = [("cot", "a"), ("ep", "b"), ("ep", "a"), ("cot", "a")]
    assert by_programs(notes) == {"a": "cot, ep", "b": "ep"}


def test_csv_quotes_what_it_must_and_leaves_unknown_empty() -> None:
    assert csv_text(["a", "b"], [{"a": 'x,"\r\n', "b": None}]) == 'a,b\n"x,""\r\n",\n'


@pytest.mark.parametrize(
    ("cell", "written"),
    [("=1+1", "'=1+1"), ("@x", "'@x"), (" =x", "' =x"), ("-x", "'-x"), ("-5", "-5"), ("+4.5", "+4.5"), (-5, "-5")],
)
def test_no_cell_of_csv_is_a_formula(cell: object, written: str) -> None:
    assert csv_text(["a"], [{"a": cell}]) == f"a\n{written}\n"


def test_values_and_questions_are_written_as_text() -> None:
    assert [value_text(value) for value in ("a", None, {"a": (1, "é")})] == ["a", "–", '{"a": [1, "é"]}']
    assert question_text(None, {"a": "x", "b": [1]}) == "a: x\nb: [1]" and question_text("q", None) == "q"
    assert one_line("a\n  b c", 5) == "a b c" and one_line("abcdef", 3) == "ab…"
