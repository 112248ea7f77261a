"""The judge: what counts as the final answer of a reply, what equals a gold, and that no reply can stop it."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tale_dspy import _symbolic
from tale_dspy.answers import Kind, answers_equal, find_answer, gold_from_gsm8k, judge, kind_of, paper_judge
from tale_dspy.errors import BackendError, DataError, UsageError

# --- finding --------------------------------------------------------------------------------------------------------

MARKED = [
    ("[[18]]", "18"),
    ("[[ 18 ]]", "18"),
    ("first [[18]] ... wait, so the answer is [[26]]", "26"),
    (r"[[18]] ... no, \boxed{26}", "26"),
    (r"\boxed{18} ... no, [[26]]", "26"),
    ("[[18]]\n#### 26", "26"),
    ("#### 18\nNo: [[26]]", "26"),
    (r"\boxed{\frac{3}{4}}", r"\frac{3}{4}"),
    (r"[[\boxed{18}]]", "18"),
    (r"\boxed{\boxed{18}}", "18"),
    (r"[[\boxed{18} or \boxed{20}]]", r"\boxed{18} or \boxed{20}"),
    (r"\boxed{[[18]]}", "18"),
    ("#### 2,125", "2,125"),
    ("#### Step 3: multiply 9 by 2\nThat makes 18", "18"),
    ("[[18]] or [[20]]", "18 or 20"),
    ("[[18]], [[18]]", "18"),
    ("[[1,2],[3,4]]", "[[1,2],[3,4]]"),
    ("[[[18]]]", "[18]"),
    ("[see note [[18]]", "18"),
    ("[[18]] and an open [[", "18"),
    ("【【18】】", "18"),
    ("［［18］］", "18"),
    ("In this format: [[answer]]. 9 * 2 = 18", "18"),
    ("[[选项]] [[choice]] [[budget]] [[...]] [[]] makes 18", "18"),
    ("[[ ## answer ## ]]\n18\n\n[[ ## completed ## ]]", "18"),
    ("[[18]]\n\n[[ ## completed ## ]]", "18"),
]


@pytest.mark.parametrize(("reply", "answer"), MARKED)
def test_the_last_mark_is_the_answer(reply: str, answer: str) -> None:
    assert find_answer(reply) == answer


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("[[a[b[0]]]]", "a[b[0]]"),
        ("[[x = m[[0]] + 1]]", "x = m[[0]] + 1"),
        ('[["a]]b"]]', '"a]]b"'),
        ("[['a]]b', 'c']]", "'a]]b', 'c'"),
        ('[[5"]] or 6"', '5"'),  # inches, no string
        ('[[ "open ]] then [[18]]', "18"),
    ],
)
def test_brackets_are_matched_by_depth_and_strings_are_skipped(reply: str, answer: str) -> None:
    assert find_answer(reply, "text") == answer


STATED_NUMBERS = [
    ("The answer is 18. I used 2 steps.", "18"),
    ("[[18]] ... Correction: the answer is 26.", "26"),
    ("[[18]]. Wait, it should be 26.", "26"),
    ("[[18]]. Sorry, I meant 26.", "26"),
    ("[[18]]. The answer is correct.", "18"),
    ("[[18]]. Note that if he had 3 more, the answer is 20.", "18"),
    ("If she sells all of them, the answer is 18. It took 2 steps.", "18"),
    ("I don't think the answer is 18. It is 20", "20"),
    ("The answer is 9 x 2 = 18, with 7 eggs less.", "18"),
    (r"The answer is $x = 18$ because 18 > 2.", "18"),
    ("The answer is 10/3 ≈ 3.33", "3.33"),
    ("The answer is 2 times 9, which gives 18", "18"),
    ("The answer is the number of eggs times 2.\n9*2=18", "18"),
    ("**Answer:** 18 dollars per day for 7 days", "18"),
    ("**Final Answer**\n\n$18$\n\n(2 steps)", "18"),
    ("Answer:\n\\[\n\\frac{3}{4}\n\\]\nin 2 steps", "3/4"),
    ("The answer to question 2 is 18.", "18"),
    ('{"answer": "18", "steps": 2}', "18"),
    ("<answer>18</answer> after 2 steps", "18"),
    ("答案是 １８。一共用了 2 步", "18"),
    ("答：18元，共 2 步", "18"),
    ("The answer is 18 or 20.", "18 or 20"),
    ("The answer is 3, 4 and 5.", "3, 4 and 5"),
    ("The answer is 2x", "2x"),
    (r"The answer is \sqrt{2}", r"\sqrt{2}"),
    ("The answer is 9*2", "9*2"),
]


@pytest.mark.parametrize(("reply", "answer"), STATED_NUMBERS)
def test_a_statement_gives_the_number_it_begins_with(reply: str, answer: str) -> None:
    assert find_answer(reply, "number") == answer


LAST_NUMBERS = [
    ("16 - 3 - 4 = 9\n9 * 2 = 18", "18"),
    ("$18 (i.e. $9 x 2)", "18"),
    ("18\n\n(Note: 5 people were counted twice)", "18"),
    ("The total is (18)", "18"),
    ("She earns **18** dollars. That took 2 steps", "18"),
    ("**18**, no wait, that is wrong: 20", "20"),
    ("It costs $18.", "18"),
    (r"It costs \$18", "18"),
    ("It is 1 000", "1 000"),
    ("It is 1,234.", "1,234"),
    ("It is −3", "-3"),
    ("The profit was -$3", "-3"),
    ("It is 16-3", "3"),
    ("It is 1 1/2 hours", "1 1/2"),
    (r"It is \(\frac{3}{4}\).", "3/4"),
    ("It is 1.5e3", "1.5e3"),
    ("It is 50%", "50%"),
    ("Some 2 million people", "2 million"),
    ("A field of 18 m^2 with CO2 and x^2", "18"),
    ("So it is 20 or 18.", "20 or 18"),
    ("Somewhere between 18 and 20", "18 and 20"),
    ("3, 4", "3, 4"),
    (r"\sqrt{324}", r"\sqrt{324}"),
    ("[[18", "18"),
]


@pytest.mark.parametrize(("reply", "answer"), LAST_NUMBERS)
def test_without_marks_the_last_number_counts(reply: str, answer: str) -> None:
    assert find_answer(reply, "number") == answer


OPTIONS = [
    ("[[A. Paris]]", "A"),
    ("[[c]]", "C"),
    ("(a)", "A"),
    ("b.", "B"),
    ("**B**", "B"),
    (r"\boxed{\textbf{(B) } 12}", "B"),
    ("[[A, B]]", "A, B"),
    ("[[A]] or [[B]]", "A or B"),
    ("[[A]] Wait, B is correct.", "B"),
    ("[[A]]\nOption A is correct and B is not.", "A"),
    ("The answer is B.\nOption A would be too big. A is wrong.", "B"),
    ("The answer is B or C.", "B or C"),
    ("I choose B because A is wrong.", "B"),
    ("We would pick (D).", "D"),
    ("So the correct option is (D).", "D"),
    ("Therefore, option (C) is correct.", "C"),
    ("答案是 B", "B"),
    ("答案：选项B。", "B"),
    ("选 C", "C"),
    ("所以答案为选项D", "D"),
    ("选项A不对，所以选B", "B"),
    ("所以正确的选项是 D", "D"),
    ("#### B", "B"),
    ("[[ ## answer ## ]]\nB\n\n[[ ## completed ## ]]", "B"),
    ("B. Paris\nIt is the capital.", "B"),
    ("Let me see.\nB) Paris, of course", "B"),
    ("B\n\nBecause A is wrong.", "B"),
    ("I think it is B", "B"),
    ("So it must be A.", "A"),
]


@pytest.mark.parametrize(("reply", "letter"), OPTIONS)
def test_an_option_is_found_as_its_letter(reply: str, letter: str) -> None:
    assert find_answer(reply, "choice") == letter


@pytest.mark.parametrize(
    "reply",
    [
        "I CANNOT answer this.",
        "I COULD not decide.",
        "A train leaves at noon",
        "The answer is a train.",
        "I must be correct.",
        "It could be A or B.",
        "I cannot decide between A and B.",
        "It is not C.",
        "Hence D is wrong",
        "A. 1\nB. 2\nC. 3\nD. 4",
        "Let ABC be a triangle with angle B and",
        "Plan B has failed again",
        "",
    ],
)
def test_a_refusal_an_article_or_a_listing_is_no_option(reply: str) -> None:
    assert find_answer(reply, "choice") is None


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        ("[[Paris]]. The answer is correct.", "Paris"),
        ("[[Paris]]. Wait, the answer is London.", "London"),
        ("The answer is Paris, France. It is big.", "Paris, France"),
        ("The answer is **Paris**, the capital.", "Paris"),
        ("Answer: $x^2 + 1$, by expanding.", "x^2 + 1"),
        ('{"answer": "Paris"}', "Paris"),
        ("Thinking.\nParis", "Paris"),
        ("It is **Paris**", "Paris"),
        ("[[ ## answer ## ]]\nParis\n\n[[ ## completed ## ]]", "Paris"),
        ("#### Heading\nParis", "Paris"),
        ("so\n#### Paris", "Paris"),
        ("long " * 30, None),
        ("answer:", "answer:"),
        (" \n ", None),
    ],
)
def test_a_text_is_found(reply: str, text: str | None) -> None:
    assert find_answer(reply, "text") == text


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("The answer is Paris. It has 2 million people", "Paris"),
        ("The answer is obtained by multiplying: 9*2=18", "18"),
        ("Answer: yes", "yes"),
        ("Answer: B", "B"),
        ("(B)", "B"),
        ("I do not know", None),
        (None, None),
    ],
)
def test_auto_finds_numbers_options_and_named_texts(reply: str | None, answer: str | None) -> None:
    assert find_answer(reply) == answer


def test_the_content_of_a_mark_keeps_its_own_characters() -> None:
    assert find_answer("答案：[[北京，上海]]", "text") == "北京，上海"


def test_bytes_are_read_as_utf8() -> None:
    reply: Any = "[[１８]]".encode()
    assert judge(reply, "18")


# --- comparing ------------------------------------------------------------------------------------------------------

SAME = [
    ("18", 18),
    ("18.00", 18.0),
    ("$18", "18"),
    (r"\$18", "18"),
    ("US$18", "18"),
    ("18 dollars", "18"),
    ("18元", "18"),
    ("18.", "18"),
    ("１８", "18"),
    ("−3", "-3"),
    ("negative 3", "-3"),
    ("-$3", "-3"),
    ("1,234", "1234"),
    ("1 234", "1,234"),
    ("1\u202f234", "1234"),
    ("12,34,567", "1234567"),
    (r"1{,}234", "1234"),
    (r"1\,234", "1234"),
    ("109.2 million", "109200000"),
    ("1.5k", "1500"),
    ("50%", "50"),
    ("50%", 0.5),
    (r"50\%", "50%"),
    ("0.75", "3/4"),
    (r"\frac{3}{4}", "0.75"),
    (r"-\dfrac{28}{22}", "-14/11"),
    (r"\frac34", "3/4"),
    ("1 1/2", "1.5"),
    (r"1\frac{1}{2}", "3/2"),
    ("1½", "1.5"),
    ("1e3", "1000"),
    (r"1.5\times 10^{3}", "1500"),
    ("1.5×10⁻³", "0.0015"),
    ("10^3", "1000"),
    ("0.333333", "1/3"),
    ("33.3333%", "1/3"),
    ("1/3", "0.3333333"),
    ("x = 18", "18"),
    ("9 * 2 = 18", "18"),
    ("$1,000 + $234 = $1,234", "1234"),
    ("10/3 ≈ 3.33", "3.33"),
    ("Total: 18", "18"),
    ("She makes $18 every day.", "18"),
    ("18 (i.e. 9 x 2)", "18"),
    ("18 boys and girls", "18"),
    ("(18)", "18"),
    ("**18**", "18"),
    (r"\text{18}", "18"),
    (r"\(18\)", "18"),
    (r"18\text{ cm}^2", "18"),
    ("18 m²", "18 m"),
    ("18", "18 km"),
    (Fraction(3, 4), 0.75),
    (Decimal("1.50"), 1.5),
    (True, "true"),
    (b"18", "18"),
    ("Paris", "paris."),
    ("New  York", "newyork"),
    ('"Paris"', "Paris"),
    ("(3,4)", "(3, 4)"),
    ("(3, 4)", (3, 4)),
    ("3, 4", [3, 4]),
    ("{4, 3}", {3, 4}),
    (r"\{4, 3\}", "{3, 4}"),
    ("3 and 4", "4, 3"),
    ("(1/2, 3)", "(0.5, 3)"),
    ("1,234 and 5", "5, 1234"),
    ("(1, (2, 3))", "(1, (2.0, 3))"),
    ("x=1 or x=2", "x = 2, x = 1"),
]


@pytest.mark.parametrize(("answer", "gold"), SAME)
def test_the_same_value_in_another_form_is_equal(answer: object, gold: object) -> None:
    assert answers_equal(answer, gold)


DIFFERENT = [
    ("3, 4", "4"),
    ("20 or 18", "18"),
    ("18 or 20", "18"),
    ("x+1 or x", "x"),
    ("18 (or 20)", "18"),
    ("18 and a half", "18"),
    ("not 18", "18"),
    ("isn't 18", "18"),
    ("at least 18", "18"),
    ("half of 18", "18"),
    ("不是18", "18"),
    ("18 out of 20", "18"),
    ("20 = 18", "18"),
    ("x > 18", "18"),
    ("x = 18, y = 3", "3"),
    ("18 (20)", "18"),
    ("2x", "2"),
    ("2π", "2"),
    ("2 (x+1)", "2"),
    ("x-18", "-18"),
    ("CO2", "2"),
    ("5!", "5"),
    ("3 4", "34"),
    ("2 9", "18"),
    ("1,23", "123"),
    ("0.333", "1/3"),
    ("0.6667", "2/3"),
    ("18.0000001", "18"),
    ("100%", "1%"),
    ("1/0", "1"),
    ("1e999999999", "1"),
    ("9" * 5000, "9"),
    ("18 m", "18 km"),
    ("18", "-18"),
    ("7", "7 Up"),
    ("1 5/3", "8/3"),
    ("18 2/0", "18"),
    ("cat", "act"),
    ("yes", "no"),
    ("yes", True),
    ("(4, 3)", "(3, 4)"),
    ("[3, 4]", "(3, 4)"),
    ("(5, 3)", "(4, 3)"),
    ("(1, 2)", "(1, 2, 3)"),
    ("{1, 2}", "{1, Paris}"),
    ("3", "(3, 4)"),
    ([1, 2], [2, 1]),
    ("1, 2, " * 500, "1, 2"),
    ("((((((((1, 2), 3), 4), 5), 6), 7), 8), 9)", "1, 2"),
    (None, "18"),
    ("18", None),
    ("", ""),
    (".", "."),
    (float("inf"), "18"),
]


@pytest.mark.parametrize(("answer", "gold"), DIFFERENT)
def test_another_value_two_values_or_none_are_not_equal(answer: object, gold: object) -> None:
    assert not answers_equal(answer, gold)


B_FORMS = r"""B|b|(b)|b.|B. Paris|B) A train|B. I and II only|Option B|选项B|the answer is B|$B$|\text{B}|"B"|B Paris|
B, the capital|B is correct|B (Paris)|B \(x^2\)|B. Vitamin C|**B**|[B]"""


@pytest.mark.parametrize("answer", B_FORMS.split("|"))
def test_an_option_is_equal_in_any_form(answer: str) -> None:
    assert answers_equal(answer, "B")


NOT_A = """A train|A, B|A or B|(A) and (B)|(A)(B)|AB|A/B|A. Paris, B. London|a, b|A = 3|C|
Paris|a train|"""


@pytest.mark.parametrize("answer", NOT_A.split("|"))
def test_two_options_an_article_or_a_formula_are_not_equal(answer: str) -> None:
    assert not answers_equal(answer, "A")


def labelled_options() -> list[tuple[str, str]]:
    """Letter and text of the right options of MathBench where TALE_DATA has them, else the awkward ones."""
    folder = Path(os.environ.get("TALE_DATA", ".")) / "mathbench"
    rows = [
        json.loads(line) for path in folder.glob("*choice*") for line in path.read_text(encoding="utf-8").splitlines()
    ]
    options = [(row["answer"], row["options"]["ABCDEFGH".index(row["answer"])]) for row in rows]
    awkward = [
        r"$(\dfrac {13}{6},\dfrac {8}{3}] $",
        "$[2,3)$",
        "I, II, and III",
        "-5",
        "a, -a",
        " D ",
        "P(A, B) = 1",
        "$-a$",
    ]
    return options or [("C", option) for option in awkward]


def test_an_option_is_read_with_its_text_behind_it() -> None:
    options = labelled_options()
    assert [option for option in options if not judge("[[{}. {}]]".format(*option), option[0])] == []
    assert [option for option in options if not judge("Option {}: {}".format(*option), option[0])] == []
    assert [option for option in options if not judge("答案：{}. {}".format(*option), option[0])] == []


@pytest.mark.parametrize("answer", ["A $x^2$", "A Bounded", "A 有界的", "A 12", "A -5"])
def test_a_letter_before_a_formula_or_a_name_is_no_article(answer: str) -> None:
    assert answers_equal(answer, "A")


@pytest.mark.parametrize("gold", ["(3, 4]", "[3, 4)", "(-3,-2]"])
def test_half_open_intervals_close_no_mark(gold: str) -> None:
    assert judge(f"[[{gold}]]", gold)


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        ("1+x^2", "x^2 + 1"),
        ("x**2", "x^2"),
        ("2(x+1)", "2x+2"),
        (r"\sqrt{2}", "2^{1/2}"),
        ("sqrt(2)", r"$\sqrt{2}$"),
        ("√2", r"\sqrt{2}"),
        (r"\sqrt{324}", "18"),
        ("5!", "120"),
        ("9*2", "18"),
        ("18 = x", "x = 18"),
        ("π/2", r"\frac{\pi}{2}"),
        ("1.5707963", r"\frac{\pi}{2}"),
        ("log(100)", "2"),
        ("x^-2", "x^{-2}"),
        ("(x+1, 2)", "(1+x, 2.0)"),
        ("{x, x+1}", "{1+x, x}"),
    ],
)
def test_expressions_are_compared_as_mathematics(answer: str, gold: str) -> None:
    assert answers_equal(answer, gold)


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        ("x-1", "x+1"),
        (r"\pm 18", "18"),
        ("1.57", r"\frac{\pi}{2}"),
        (r"\sqrt{2}\cdot 10^{-8}", "0.0000001"),
        ("{x, x+1}", "{x, x+2}"),
        (r"\frac{", "x+1"),
        ("x+0", "0.0"),
    ],
)
def test_different_expressions_are_not_equal(answer: str, gold: str) -> None:
    assert not answers_equal(answer, gold)


@pytest.mark.parametrize(
    ("gold", "kind"),
    [
        ("A", "choice"),
        ("(J)", "choice"),
        ("B.", "choice"),
        ("K", "text"),
        ("a", "text"),
        ("18", "number"),
        (18, "number"),
        (1.5, "number"),
        ("1,234", "number"),
        ("-3/4", "number"),
        ("50%", "number"),
        ("18 km", "number"),
        ("7 Up", "text"),
        ("3 Doors Down", "text"),
        ("Apollo 11", "text"),
        ("3, 4", "text"),
        ((3, 4), "text"),
        ("x", "text"),
        (True, "text"),
        (None, "text"),
        (float("nan"), "text"),
    ],
)
def test_the_gold_tells_the_kind(gold: object, kind: Kind) -> None:
    assert kind_of(gold) == kind


def test_an_unknown_kind_is_refused() -> None:
    kind: Any = "integer"
    for call in (lambda: find_answer("18", kind), lambda: answers_equal("18", 18, kind), lambda: judge("18", 18, kind)):
        with pytest.raises(UsageError, match="kind must be one of auto, number, choice, text, got 'integer'"):
            call()


def test_an_explicit_kind_overrides_the_gold() -> None:
    assert judge("The answer is A", "a", "choice")
    assert not judge("I, A, B", "A", "choice")
    assert answers_equal("Paris", "paris", "choice")


# --- golds ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        ("9 * 2 = 18\n#### 18", "18"),
        ("#### 2,125", "2125"),
        ("#### 1 #### -10", "-10"),
        ("109,200,000", "109200000"),
        (48.0, "48"),
        (1.5, "1.5"),
        (0.5, "0.5"),
        (-0.0, "0"),
        (100.0, "100"),
        (1e-7, "0.0000001"),
        (7, "7"),
        (10, "10"),
        (Decimal("2.50"), "2.5"),
    ],
)
def test_gsm8k_golds_keep_their_whole_value(answer: object, gold: str) -> None:
    assert gold_from_gsm8k(answer) == gold


@pytest.mark.parametrize("answer", [None, "", "9 * 2 = 18\n####  ", True, float("nan"), float("inf"), ["18"]])
def test_a_row_without_gold_is_a_data_error(answer: object) -> None:
    with pytest.raises(DataError, match="GSM8K answer"):
        gold_from_gsm8k(answer)


def golds() -> list[str]:
    """The golds of GSM8K test where TALE_DATA has them, else a few of every shape."""
    path = Path(os.environ.get("TALE_DATA", ".")) / "gsm8k_test.jsonl"
    if not path.exists():
        return ["0", "2", "18", "-3", "-10", "2125", "65960", "114200", "1450000"]
    return [gold_from_gsm8k(json.loads(line)["answer"]) for line in path.read_text(encoding="utf-8").splitlines()]


def comma(gold: str) -> str:
    return f"{int(gold):,}"


def next_to(gold: str) -> str:
    return str(int(gold) + 1)


RIGHT_FORMS: dict[str, Callable[[str], str]] = {
    "brackets": lambda x: f"[[{x}]]",
    "thousands separators": lambda x: f"[[{comma(x)}]]",
    "dollars": lambda x: f"[[${x}]]",
    "decimals": lambda x: f"[[{x}.00]]",
    "spaces": lambda x: f"[[ {x} ]]",
    "unit": lambda x: f"[[{x} dollars]]",
    "escaped dollar": lambda x: rf"[[\${x}]]",
    "bold": lambda x: f"She adds 3 and 4.\nSo the result is **{x}**.",
    "boxed": lambda x: rf"So we get \boxed{{{x}}}",
    "hashes": lambda x: f"3 + 4 = 7\n#### {x}",
    "last sentence": lambda x: f"In total she pays ${x}.",
    "steps behind": lambda x: f"The answer is {x}. I used 2 steps.",
}
WRONG_FORMS: dict[str, Callable[[str], str]] = {
    "corrected": lambda x: f"[[{x}]] Wait, that is wrong. [[{next_to(x)}]]",
    "corrected in words": lambda x: f"[[{x}]] Correction: the answer is {next_to(x)}.",
    "another": lambda x: f"[[{next_to(x)}]]",
    "or": lambda x: f"[[{next_to(x)} or {x}]]",
    "list": lambda x: f"[[{next_to(x)}, {x}]]",
}


@pytest.mark.parametrize("form", RIGHT_FORMS.values(), ids=RIGHT_FORMS)
def test_every_right_form_of_every_gold_is_accepted(form: Callable[[str], str]) -> None:
    assert [x for x in golds() if not judge(form(x), x)] == []


@pytest.mark.parametrize("form", WRONG_FORMS.values(), ids=WRONG_FORMS)
def test_no_wrong_form_of_any_gold_is_accepted(form: Callable[[str], str]) -> None:
    assert [x for x in golds() if judge(form(x), x)] == []


# --- the authors' judge ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "gold", "cloze", "right"),
    [
        ("[[18]]", "18", True, True),
        ("Maybe [[18]]? No: [[26]]", "18", True, True),
        ("[[A]] ... [[B]]", "A", False, True),
        ("[[3, 4]]", "4", True, True),
        ("[[20 or 18]]", "18", True, True),
        ("[[18.00]]", "18", True, True),
        ("[[$18]]", "18", True, True),
        ("It costs $1,234.", "1234", True, True),
        ("The answer is 18. I used 2 steps.", "18", True, False),
        ("$18 (i.e. $9 x 2)", "18", True, False),
        (r"[[\$18]]", "18", True, False),
        ("[[−3]]", "-3", True, False),
        ("[[1\n8]] then 7 [[18", "18", True, True),
        ("no number", "18", True, False),
        ("", "18", True, False),
        (None, "18", True, False),
        ("[[" + "9" * 3000 + "]]", "18", True, False),
        ("I CANNOT answer this.", "A", False, True),
        ("I COULD not decide.", "D", False, True),
        ("(a)", "A", False, False),
        ("[[c]]", "C", False, False),
        ("The answer is B.\nSince Amy is there.", "B", False, False),
        ("the correct answer is B\nok", "B", False, True),
        ("所以答案为选项D\n。", "D", False, True),
        ("ok", "A", False, False),
    ],
)
def test_the_authors_judge_keeps_its_faults(reply: str | None, gold: str, cloze: bool, right: bool) -> None:
    assert paper_judge(reply, gold, cloze) is right


# --- bounds ---------------------------------------------------------------------------------------------------------

N = 100_000
HOSTILE = {
    "open brackets": "[" * N,
    "nested brackets": "[" * N + "]" * N,
    "nested marks": "[[" * N + "18" + "]]" * N,
    "open intervals": "[[a,b" * N,
    "open boxes": r"\boxed{" * N,
    "nested boxes": r"\boxed{" * N + "}" * N,
    "open strings": '[[ "' + r"\"" * N,
    "strings": '[["' * N,
    "braces": "{" * 10 * N,
    "parentheses": "(a" * N,
    "hashes": "#### " * N,
    "statements": "answer is " * N,
    "long statements": "answer to " * N,
    "corrections": "[[1]]" + " wait it is" * N,
    "markers": "[[ ## " * N,
    "empty marks": "[[]]" * N,
    "joined marks": "[[1]] or " * N,
    "options": "A or " * N,
    "lines": "\n" * 10 * N + "x",
    "ten megabytes": "x" * 10_000_000,
    "digits": "9" * 1_000_000,
    "groups": "1" + ",111" * N + "1",
    "spaced groups": "1" + " 111" * N + "1",
    "fractions": "1/" * N,
    "bold": "**a" * N,
    "exponent": "1e999999999",
    "tower": "10**10**10",
    "latex tower": "[[9^9^9^9]]",
    "factorial": "1000000!",
    "nul": "\0" * N,
    "surrogates": "\ud800" * N,
    "one surrogate": "[[x+\ud800]]",
    "deep fraction": "[[" + r"\frac{1}{" * N + "1" + "}" * N + "]]",
    "deep sets": "[[" + "{1," * 500 + "1" + "}" * 500 + "]]",
    "expansion": "[[(x+y+z+w)^999 - 1]]",
    "product": r"[[\prod_{k=1}^{9999} k^k]]",
}


@pytest.mark.parametrize("reply", HOSTILE.values(), ids=HOSTILE)
def test_no_reply_takes_two_seconds_or_raises_in_any_thread(reply: str) -> None:
    _symbolic.all_same((("1+x", "x+1"),))  # the child runs: its start is the machine's matter
    took: list[float] = []

    def judge_it() -> None:
        for gold in ("18", "A", "x^2+1", "(1, 2)"):
            for call in (partial(judge, reply, gold), partial(paper_judge, reply, gold, gold != "A")):
                start = time.perf_counter()
                call()
                took.append(time.perf_counter() - start)

    thread = threading.Thread(target=judge_it)
    thread.start()
    thread.join()
    assert len(took) == 8
    assert max(took) < 2


@pytest.mark.parametrize("gold", ["1e999999999", "10**10**10", "1e350", "9" * 31 + "e300"])
def test_no_gold_raises(gold: str) -> None:
    assert not judge("[[x+1]]", gold)


def test_integers_too_long_for_decimal_are_compared() -> None:
    assert answers_equal(10**5000, 10**5000)
    assert not answers_equal(10**5000, 10**5000 + 1)
    assert not answers_equal(Fraction(1, 10**5000), 1)


def test_an_expression_that_hangs_is_different_and_the_next_one_is_decided() -> None:
    start = time.perf_counter()
    assert not _symbolic.all_same(((r"10000000!", "1"),))
    assert time.perf_counter() - start < 2
    assert _symbolic.all_same((("y+x", "x+y"),))


def test_threads_share_the_child() -> None:
    pairs = [(f"x+{i}", f"{i + i % 2}+x") for i in range(16)]
    with ThreadPoolExecutor(8) as pool:
        verdicts = list(pool.map(lambda pair: answers_equal(*pair), pairs))
    assert verdicts == [i % 2 == 0 for i in range(16)]


def test_a_child_that_was_killed_is_replaced_and_asked() -> None:
    assert _symbolic.all_same((("a+b", "b+a"),))
    assert _symbolic._child is not None
    os.killpg(_symbolic._child._process.pid, signal.SIGKILL)
    assert _symbolic.all_same((("a+c", "c+a"),))


def test_a_child_without_a_copy_to_replace_it_ends_over_a_question() -> None:
    assert _symbolic.all_same((("a+d", "d+a"),))
    assert _symbolic._child is not None
    os.kill(_symbolic._child._process.pid, signal.SIGKILL)  # the copy still answers
    assert _symbolic.all_same((("a+e", "e+a"),))
    assert not _symbolic.all_same((("10000001!", "1"),))
    assert _symbolic.all_same((("a+f", "f+a"),))


@pytest.mark.parametrize(
    ("executable", "why"), [("/nonexistent/python", "cannot be started"), ("true", "ended at once")]
)
def test_a_machine_that_cannot_run_the_child_is_said(
    monkeypatch: pytest.MonkeyPatch, executable: str, why: str
) -> None:
    _symbolic._drop()
    monkeypatch.setattr(sys, "executable", executable)
    with pytest.raises(BackendError, match=why):
        answers_equal(f"{why[0]}+x", f"x+{why[0]}")


def python(script: str) -> str:
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout


def test_a_fork_gets_a_child_of_its_own() -> None:
    script = """
import os
from tale_dspy.answers import answers_equal
assert answers_equal("1+x", "x+1")
child = os.fork()
if child == 0:
    os._exit(0 if answers_equal("2+x", "x+2") and not answers_equal("2+x", "x+3") else 1)
assert os.waitpid(child, 0)[1] == 0
print(answers_equal("3+x", "x+3"))
"""
    assert python(script) == "True\n"


def test_the_child_ends_with_the_process() -> None:
    script = """
from tale_dspy import _symbolic
_symbolic.all_same((("1+x", "x+1"),))
print(_symbolic._child._process.pid)
"""
    with pytest.raises(ProcessLookupError):
        os.kill(int(python(script)), 0)


def test_plain_judgements_import_no_sympy_and_start_no_child() -> None:
    script = """
import sys
from tale_dspy import _symbolic
from tale_dspy.answers import judge
assert judge("[[18]]", 18) and judge("B", "B") and judge("Paris", "paris") and not judge("[[20 or 18]]", 18)
print(_symbolic._child, {"sympy", "math_verify", "dspy"} & set(sys.modules))
"""
    assert python(script) == "None set()\n"


def test_the_child_answers_line_by_line(tmp_path: Path) -> None:
    questions = [
        {"pairs": [["$x+1$", "$1+x$", 6]]},
        {"pairs": [["$x$", "$y$", 6]]},
        {"authors": ["3, 4", "4"]},
        {"pairs": [["no numbers"]]},
    ]
    (tmp_path / "in").write_text("".join(json.dumps(q) + "\n" for q in questions))
    with (tmp_path / "in").open("rb") as lines, (tmp_path / "out").open("wb") as replies:
        _symbolic._warm_up()
        _symbolic.serve(lines, replies)
    assert (tmp_path / "out").read_text().split() == ["?1", "?0", "?1", "?0"]
