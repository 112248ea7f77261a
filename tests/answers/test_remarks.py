"""What a reply says about itself, and what only looks like it."""

import pytest

from tale_dspy.answers.remarks import without_remarks

REMARKS = """(25 tokens used)|Confidence: 95%|This used 25 tokens, below the budget of 50.|Word count: 5
I am 95% confident.|Total tokens: 30|(within the 50-token budget)|This response is about 40 tokens long.
Time taken: 3 seconds|My certainty is 90%.|Number of tokens used: 31"""


@pytest.mark.parametrize("remark", REMARKS.replace("\n", "|").split("|"))
def test_a_remark_of_a_reply_about_itself_is_left_out(remark: str) -> None:
    assert without_remarks(f"9 * 2 = 18\n{remark}").strip() == "9 * 2 = 18"


@pytest.mark.parametrize(
    "reply",
    [
        "She has 8 arcade tokens left.",
        "In an hour she types 250 words.",
        "He used 3 coins.",
        "Tokens used: 42",
        "It is 18.",
    ],
)
def test_other_numbers_stay(reply: str) -> None:
    assert without_remarks(reply) == reply
