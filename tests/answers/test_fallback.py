"""Replies that neither mark nor state an answer: the last number, the option that stands alone, the last line."""

import pytest

from tale_dspy.answers import find_answer

NUMBERS = [
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
    ("那么是 20 或 18", "20 或 18"),
    ("Somewhere between 18 and 20", "18 and 20"),
    ("3, 4", "3, 4"),
    (r"\sqrt{324}", r"\sqrt{324}"),
    ("[[18", "18"),
]


@pytest.mark.parametrize(("reply", "answer"), NUMBERS)
def test_the_last_number_counts(reply: str, answer: str) -> None:
    assert find_answer(reply, "number") == answer


OPTIONS = [
    ("(a)", "A"),
    ("b.", "B"),
    ("**B**", "B"),
    ("[[ ## answer ## ]]\nB\n\n[[ ## completed ## ]]", "B"),
    ("B. Paris\nIt is the capital.", "B"),
    ("Let me see.\nB) Paris, of course", "B"),
    ("B\n\nBecause A is wrong.", "B"),
    ("Option B\n\nA is too big here", "B"),
    ("I think it is B", "B"),
    ("So it must be A.", "A"),
    ("A is wrong, so I end with C of course", "C"),
]


@pytest.mark.parametrize(("reply", "letter"), OPTIONS)
def test_the_letter_that_stands_alone_or_decides_counts(reply: str, letter: str) -> None:
    assert find_answer(reply, "choice") == letter


DECIDES = "option|my choice|an answer|it is|it must be|it's|we go with|choose|select|pick|选|选项|答案为|就是|so:"


@pytest.mark.parametrize("words", DECIDES.split("|"))
def test_the_letter_behind_a_deciding_word_counts(words: str) -> None:
    assert find_answer(f"As A is too big, {words} B here", "choice") == "B"


NO_OPTION = [
    "I CANNOT answer this.",
    "I COULD not decide.",
    "A train leaves at noon",
    "The answer is a train.",
    "I must be correct.",
    "It could be A or B.",
    "I cannot decide between A and B.",
    "It is not C.",
    "It isn't C.",
    "I cannot take C",
    "The wrong one is C",
    "The incorrect one is C",
    "Hence D is wrong",
    "Hence (D) is not",
    "Hence (D) is incorrect",
    "We eliminated B",
    "Excluding B",
    "This rules out B",
    "排除 B",
    "不是 B",
    "(B)不对",
    "A. 1\nB. 2\nC. 3\nD. 4",
    "Let ABC be a triangle with angle B and",
    "Plan B has failed again",
    "",
]


@pytest.mark.parametrize("reply", NO_OPTION)
def test_a_refusal_an_article_or_a_listing_is_no_option(reply: str) -> None:
    assert find_answer(reply, "choice") is None


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        ("Thinking.\nParis", "Paris"),
        ("It is **Paris**", "Paris"),
        ("[[ ## answer ## ]]\nParis\n\n[[ ## completed ## ]]", "Paris"),
        ("#### Heading\nParis", "Paris"),
        ("so\n#### Paris", "Paris"),
        ("long " * 30, None),
        (" \n ", None),
    ],
)
def test_a_short_last_line_is_the_text(reply: str, text: str | None) -> None:
    assert find_answer(reply, "text") == text
