import pytest

from tale_dspy.embedded.problems import Calculation, Problem, problems
from tale_dspy.embedded.reasoning import (
    FORMS,
    answer_only,
    equation_lines,
    equations_without,
    long_form,
    reasoning_sentences,
)

STEPS = (
    Calculation(12, "+", 5, 17),
    Calculation(17, "*", 2, 34),
    Calculation(34, "-", 4, 30),
    Calculation(30, "/", 3, 10),
)
STORY = Problem("?", STEPS)


def test_the_forms_get_longer() -> None:
    for p in problems("dev", 50):
        lengths = [len(form(p)) for form in FORMS.values()]
        assert lengths == sorted(lengths)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_ends_with_the_answer_in_brackets(form: str) -> None:
    for p in problems("dev", 20):
        assert FORMS[form](p).endswith(f"[[{p.answer}]]")


@pytest.mark.parametrize("form", ["equations", "short sentences", "long form"])
def test_every_step_is_shown(form: str) -> None:
    assert all(str(step) in FORMS[form](STORY) for step in STEPS)


def test_the_answer_alone() -> None:
    assert answer_only(STORY) == "[[10]]"


def test_bare_equations() -> None:
    assert equation_lines(STORY) == "12+5=17\n17*2=34\n34-4=30\n30/3=10\n[[10]]"


def test_short_sentences_are_on_one_line() -> None:
    assert (
        reasoning_sentences(Problem("?", STEPS[:2]))
        == "With 5 more it is 12+5=17. Taken 2 times it is 17*2=34.\n[[34]]"
    )


def test_the_long_form_says_each_result_twice() -> None:
    assert all(f"After this step we have {s.result}." in long_form(STORY) for s in STEPS)


@pytest.mark.parametrize(
    ("left_out", "shown"),
    [
        (1, ["12+5=17", "34-4=30", "30/3=10"]),
        (2, ["17*2=34", "30/3=10"]),
        (3, ["30/3=10"]),
    ],
)
def test_skipped_steps_are_spread_and_the_last_is_kept(left_out: int, shown: list[str]) -> None:
    equations = equations_without(STORY, left_out).split("\n")[:-1]
    assert len(equations) == 4 - left_out and equations[-1] == shown[-1]
    assert set(equations) <= set(map(str, STEPS))
