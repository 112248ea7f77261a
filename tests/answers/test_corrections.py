"""Where a reply takes its answer back in a word or two, and where it only seems to."""

import pytest

from tale_dspy.answers import Kind, find_answer
from tale_dspy.answers.corrections import Correction, last_correction

WORDS = """Wait, no:|Oops,|Sorry, it's|No,|Actually,|Hold on,|Scratch that,|Correction:|Edit:|I meant|Make that
Oh wait!|Hmm, actually it is|My mistake:|No wait,|更正：|不对，应该是"""


@pytest.mark.parametrize("words", WORDS.replace("\n", "|").split("|"))
@pytest.mark.parametrize("answer", ["The answer is 42.", "[[42]].", "#### 42\n"])
def test_the_answer_behind_a_retracting_word_counts(words: str, answer: str) -> None:
    assert find_answer(f"{answer} {words} 43.", "number") == "43"


LEFT = """Wait, let me check: 6*7 = 42. Yes.|No further steps are needed.|No, 2 is not needed.|Wait 5 minutes.
Actually, 9 of them are blue.|Sorry for the 3 steps.|Many people say 41, but that's wrong.|It is not wrong to say so.
(Not 41, which is wrong.)|No doubt about 1 thing: it is right."""


@pytest.mark.parametrize("words", LEFT.replace("\n", "|").split("|"))
@pytest.mark.parametrize("answer", ["The answer is 42.", "[[42]]."])
def test_explanations_take_nothing_back(words: str, answer: str) -> None:
    assert find_answer(f"{answer} {words}", "number") == "42"


@pytest.mark.parametrize("words", ["That's wrong.", "I made a mistake.", "Wait, that is not right.", "Scratch that."])
def test_an_answer_that_is_only_taken_back_is_unreadable(words: str) -> None:
    assert find_answer(f"[[42]]. {words}", "number") is None


@pytest.mark.parametrize(
    ("rest", "kind", "answer"),
    [
        ("That's wrong. 6 * 7 + 1 = 43.", "number", "43"),
        ("No. B.", "choice", "B"),
        ("No, B is too small.", "choice", None),
        ("Wait, no: Paris", "text", "Paris"),
        ("Wait, Let me think.", "text", None),
    ],
)
def test_what_follows_is_read_as_its_kind(rest: str, kind: Kind, answer: str | None) -> None:
    correction = last_correction(f"42. {rest}", 2, kind, guess=True)
    assert correction == (Correction(answer) if answer else None)
