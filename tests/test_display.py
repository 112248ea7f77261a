"""Text of models is shown as text: on a terminal, in a notebook."""

from xml.etree import ElementTree

import pytest

from tale_dspy.display import html_table, html_text, middle_cut, suggestion, visible


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\tb\r\nc", "a\tb\nc"),
        ("\x1b[2J\x07", "\\x1b[2J\\x07"),
        ("a\rb", "a\\rb"),
        ("abc\u202edef", "abc\\u202edef"),
        ("\ud800", "\\ud800"),
        ("中 é 😀 [[1]]", "中 é 😀 [[1]]"),
        ("1\u200b8\ufeff \u00ad\u2028", "1\\u200b8\\ufeff \\xad\\u2028"),
        ("می\u200cخواهم 👩\u200d🚀", "می\u200cخواهم 👩\u200d🚀"),
        ("a\u200db", "a\\u200db"),
    ],
)
def test_what_could_command_a_terminal_is_shown_as_its_code(text: str, expected: str) -> None:
    assert visible(text) == expected


def test_line_breaks_become_what_is_asked_for() -> None:
    assert visible("a\r\nb\nc", " ") == "a b c" == visible("a\nb\nc", " ")


def test_text_is_no_markup_in_html() -> None:
    assert html_text("<b>&\u202e'\"") == "&lt;b&gt;&amp;\\u202e&#x27;&quot;"


def test_a_table_holds_its_cells_as_text() -> None:
    text = html_table(["name", "n"], [["<script>alert(1)</script>", "–"]], caption="a & b", note="<i>")
    table = ElementTree.fromstring(f"<div>{text}</div>")
    assert [cell.text for row in table.iter("tr") for cell in row] == ["name", "n", "<script>alert(1)</script>", "–"]
    assert [e.text for e in table.iter() if e.tag in ("caption", "p")] == ["a & b", "<i>"]
    assert not list(table.iter("script"))


def test_the_middle_of_a_long_text_is_left_out_and_counted() -> None:
    text = middle_cut("a" * 500_000 + "[[7]]", 1000)
    assert text.startswith("aaa") and text.endswith("[[7]]") and "499,005 characters left out" in text
    assert middle_cut("short", 5) == "short"


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("TaleEP", "; did you mean tale-ep?"),
        ("tale_ep", "; did you mean tale-ep?"),
        ("cto", "; did you mean cot?"),
        ("nothing", ""),
        ("", ""),
    ],
)
def test_a_misspelt_name_gets_a_suggestion(word: str, said: str) -> None:
    assert suggestion(word, ["cot", "tale-ep", "direct"]) == said
