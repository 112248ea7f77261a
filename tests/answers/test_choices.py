"""One option in its many forms, and what only looks like one."""

import json
import os
from pathlib import Path

import pytest

from tale_dspy.answers import answers_equal, judge

B_FORMS = r"""B|b|(b)|b.|B. Paris|B) A train|B. I and II only|Option B|选项B|选B|选择 B|the answer is B
the right choice is B|the best option: B|答案为B|答案是B|$B$|\text{B}|"B"|B Paris|B, the capital|B is correct
B (Paris)|B \(x^2\)|B. Vitamin C|**B**|[B]|B、巴黎|B、C罗"""


@pytest.mark.parametrize("answer", B_FORMS.replace("\n", "|").split("|"))
def test_an_option_is_equal_in_any_form(answer: str) -> None:
    assert answers_equal(answer, "B")


NOT_A = """A train|A, B|A or B|(A) and (B)|(A)(B)|AB|A/B|A. Paris, B. London|A. Paris or option B. London
A or option B|A或选项B|A. Paris, or (B)|A) Paris or B) London|A & B|A; B|A、B|A和B|A 或 B|A，选项B|a, b|A = 3
A^2 + 1|A - x|C|Paris|a train|"""


@pytest.mark.parametrize("answer", NOT_A.replace("\n", "|").split("|"))
def test_two_options_an_article_or_a_formula_are_not_equal(answer: str) -> None:
    assert not answers_equal(answer, "A")


AWKWARD = [
    "(\\dfrac {13}{6},\\dfrac {8}{3}] $",
    "$[2,3)$",
    "I, II, and III",
    "-5",
    "a, -a",
    " D ",
    "P(A, B) = 1",
    "$-a$",
]


def labelled_options() -> list[tuple[str, str]]:
    """Letter and text of the right options of MathBench where TALE_DATA has them, else the awkward ones."""
    folder = Path(os.environ.get("TALE_DATA", ".")) / "mathbench"
    rows = [
        json.loads(line) for path in folder.glob("*choice*") for line in path.read_text(encoding="utf-8").splitlines()
    ]
    options = [(row["answer"], row["options"]["ABCDEFGH".index(row["answer"])]) for row in rows]
    return options or [("C", option) for option in AWKWARD]


@pytest.mark.parametrize("form", ["[[{}. {}]]", "Option {}: {}", "答案：{}. {}"])
def test_an_option_is_read_with_its_text_behind_it(form: str) -> None:
    assert [option for option in labelled_options() if not judge(form.format(*option), option[0])] == []


@pytest.mark.parametrize(
    "answer", ["A $x^2$", "A Bounded", "A 有界的", "A 12", "A -5", "A is it", "A because", "A since"]
)
def test_a_letter_before_a_formula_a_name_or_a_reason_is_no_article(answer: str) -> None:
    assert answers_equal(answer, "A")
