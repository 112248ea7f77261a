"""The words of an estimate."""

import pytest

from tale_dspy.answers.budget_words import CLAUSE_END, RANGE, VOCABULARY, WORD


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        ("50-80", ("50", "80")),
        ("50 tokens to 80 tokens", ("50", "80")),
        ("50..80", ("50", "80")),
        ("1.5k", ("1.5k", None)),
        ("50", ("50", None)),
    ],
)
def test_a_range_has_two_ends(text: str, ends: tuple[str, str | None]) -> None:
    match = RANGE.search(text)
    assert match is not None
    assert match.groups() == ends


@pytest.mark.parametrize("text", ["GPT-4", "x2", "2^6", "50%", "1,5000", "v1.5"])
def test_other_numbers_are_none_of_tokens(text: str) -> None:
    assert [m[0] for m in RANGE.finditer(text)] in ([], ["2"])


def test_a_story_is_not_in_the_words_of_an_estimate() -> None:
    assert all(word in VOCABULARY for word in WORD.findall("this will take about tokens"))
    assert not all(word in VOCABULARY for word in WORD.findall("there are pink hard hats"))
    assert CLAUSE_END.split("50 is enough, 20 is too few.") == ["50 is enough", " 20 is too few", ""]
