"""What a reply marks as its answer: brackets, boxes and `####`, nested, repeated and broken."""

import pytest

from tale_dspy.answers import find_answer, judge

MARKED = [
    ("[[18]]", "18"),
    ("[[ 18 ]]", "18"),
    ("first [[18]] ... wait, so the answer is [[26]]", "26"),
    (r"[[18]] ... no, \boxed{26}", "26"),
    (r"\boxed{18} ... no, [[26]]", "26"),
    ("[[18]]\n#### 26", "26"),
    ("#### 18\nNo: [[26]]", "26"),
    (r"\boxed{\frac{3}{4}}", r"\frac{3}{4}"),
    (r"\boxed{\left\{1\right.}", r"\left\{1\right."),
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
    ("[[ ## answer ## ]]\n18\n\n[[ ## completed ## ]]", "18"),
    ("[[18]]\n\n[[ ## completed ## ]]", "18"),
]


@pytest.mark.parametrize(("reply", "answer"), MARKED)
def test_the_last_mark_is_the_answer(reply: str, answer: str) -> None:
    assert find_answer(reply) == answer


PLACEHOLDERS = "answer|your final answer|the choice|option|number|budget|答案|选项|选择|...|…||  "


@pytest.mark.parametrize("placeholder", PLACEHOLDERS.split("|"))
def test_a_repeated_template_is_no_mark(placeholder: str) -> None:
    assert find_answer(f"In this format: [[{placeholder}]]. 9 * 2 = 18") == "18"


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("[[a[b[0]]]]", "a[b[0]]"),
        ("[[x = m[[0]] + 1]]", "x = m[[0]] + 1"),
        ('[["a]]b"]]', '"a]]b"'),
        (r'[["a\"]]b"]]', r'"a\"]]b"'),
        ("[['a]]b', 'c']]", "'a]]b', 'c'"),
        ('[[5"]] or 6"', '5"'),  # inches, no string
        ('[[ "open ]] then [[18]]', "18"),
    ],
)
def test_brackets_are_matched_by_depth_and_strings_are_skipped(reply: str, answer: str) -> None:
    assert find_answer(reply, "text") == answer


@pytest.mark.parametrize("gold", ["(3, 4]", "[3, 4)", "(-3,-2]"])
def test_half_open_intervals_close_no_mark(gold: str) -> None:
    assert judge(f"[[{gold}]]", gold)


def test_the_content_of_a_mark_keeps_its_own_characters() -> None:
    assert find_answer("答案：[[北京，上海]]", "text") == "北京，上海"
