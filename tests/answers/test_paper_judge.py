"""The authors' judge, with the faults that the paper's figures have."""

import pytest

from tale_dspy.answers import paper_judge


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
        ("[[18.0]]]]", "18", True, True),
        ("It costs $1,234.", "1234", True, True),
        ("The answer is 18. I used 2 steps.", "18", True, False),
        ("$18 (i.e. $9 x 2)", "18", True, False),
        (r"[[\$18]]", "18", True, False),
        ("[[−3]]", "-3", True, False),
        ("[[1\n8]] then 7 [[18", "18", True, True),
        ("[[]] 18", "18", True, False),
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
