"""Questions met before."""

import pytest

from tale_dspy.training.near_duplicates import NearDuplicateIndex

STORY = "Anna has 12 apples in a big basket. She gives 5 apples to her brother Tom. How many apples are left now?"


@pytest.mark.parametrize(
    "other",
    [
        STORY.upper(),
        STORY.replace(".", " ;").replace(" ", "  "),
        STORY.replace("big", "large"),
        STORY.replace("apples are left now", "apples now are left"),
    ],
)
def test_the_same_words_and_numbers_are_a_near_duplicate(other: str) -> None:
    index = NearDuplicateIndex()
    assert index.add(STORY) is False
    assert other in index and index.add(other) is True


@pytest.mark.parametrize(
    "other", [STORY.replace("12", "13"), STORY.replace("5", "5.5"), "Anna has 12 apples and 5 pears.", "", "12 5"]
)
def test_other_numbers_or_other_words_are_another_question(other: str) -> None:
    index = NearDuplicateIndex()
    index.add(STORY)
    assert other not in index and index.add(other) is False


def test_questions_without_numbers_and_words_count_too() -> None:
    index = NearDuplicateIndex()
    assert [index.add(q) for q in ("", "?!", "who is it", "Who is it?", "who is she")] == [
        False,
        True,
        False,
        True,
        False,
    ]


def test_thousands_of_questions_of_the_same_numbers_are_compared_fast() -> None:
    index = NearDuplicateIndex()
    duplicates = [index.add(f"name{n} has 2 of thing{n} and place{n} has 3 of what{n} holds") for n in range(3000)]
    assert not any(duplicates)
