"""Where the double brackets of a reply are."""

import pytest

from tale_dspy.answers.brackets import bracket_spans


@pytest.mark.parametrize(
    ("text", "spans"),
    [
        ("[[a]]", [(0, 5)]),
        ("[[a]] [[b]]", [(0, 5), (6, 11)]),
        ("[[[a]]]", [(0, 7)]),
        ("[[a] b]", []),
        ("[[a]", []),
        ("[[]]", [(0, 4)]),
        ("[ [a] ]", []),
        ('[["]]"]]', [(0, 8)]),
        ('{"a": "[["} [[b]]', [(12, 17)]),
        ("]]]][[a]]", [(4, 9)]),
        ("[[[[[[a]]", [(4, 9)]),
        ("⟦18⟧ [[a]]", [(0, 4), (5, 10)]),
        ("【【a】】", [(0, 5)]),
    ],
)
def test_the_outermost_balanced_brackets_are_found(text: str, spans: list[tuple[int, int]]) -> None:
    assert [span[:2] for span in bracket_spans(text)] == spans
