"""What a tuning may change, and the programs that come of it."""

from typing import Any

import dspy
import pytest
from fake_lm import fake_lm

import tale_dspy
from tale_dspy.errors import UsageError
from tale_dspy.optimizers.search_space import OWN, SearchSpace, choose_demos, collect_demos
from tale_dspy.programs.estimators.regression_estimator import RegressionEstimator

EXAMPLES = [dspy.Example(question=f"{n}+1?", answer=str(n + 1)).with_inputs("question") for n in range(9)]


def lengthy(prompt: str) -> str:
    """Question n is answered in 10 - n words; 3 is answered wrongly."""
    if "[[budget]]" in prompt:
        return "[[50]]"
    n = int(prompt.split("+1?")[0][-1])
    return "so " * (9 - n) + f"[[{n + 1 if n != 3 else 0}]]"


def right(example: Any, pred: Any) -> bool:
    return bool(pred.answer == example.answer)


def test_the_choices_make_the_program() -> None:
    student = tale_dspy.TaleEP(dspy.Signature("question -> answer").with_instructions("Add."))
    space = SearchSpace(
        wordings=["Be brief."], estimators={"line": RegressionEstimator("question -> answer")}, modes=["cap"]
    )
    demos = {"self": [dspy.Example(question="1", reasoning="a", answer="2", token_budget=3)] * 4}
    built = space.build(
        student, {"wording": "Be brief.", "demos": 2, "estimator": "line", "scale": 0.5, "mode": "cap"}, demos
    )
    assert built.mode == "cap" and student.mode == "auto"
    assert built.predict.signature.instructions == "Add.\n\nBe brief."
    assert len(built.predict.demos) == 2 and built.limits.value.scale == 0.5
    assert isinstance(built.estimator, RegressionEstimator) and built.estimator is not space.estimators["line"]
    plain = space.build(student, space.unchanged(), demos)
    assert plain.dump_state() == student.dump_state() and plain is not student


def test_every_budgeted_predictor_of_a_program_is_changed() -> None:
    class Two(dspy.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.a = tale_dspy.TaleEP("question -> topic")
            self.b = tale_dspy.BudgetedChainOfThought("topic -> answer", 40)

    built = SearchSpace(wordings=["Be brief."]).build(Two(), {"wording": "Be brief.", "scale": 2.0}, {})
    assert built.a.predict.signature.instructions == built.b.predict.signature.instructions == "Be brief."
    assert (built.a.limits.value.scale, built.b.token_budget) == (2.0, 80)


def test_estimated_words_have_no_factor() -> None:
    student = tale_dspy.TaleEP("question -> answer", tale_dspy.EffortEstimator())
    assert "scale" not in SearchSpace().of_program(student).unchanged()


@pytest.mark.parametrize("budget", [{"effort": "low"}, {}])
def test_budgets_that_are_no_numbers_have_no_factor(budget: dict[str, Any]) -> None:
    student = tale_dspy.BudgetedChainOfThought("question -> answer", **budget)
    space = SearchSpace(wordings=["Be brief."], demos=()).of_program(student)
    built = space.build(student, {**space.unchanged(), "wording": "Be brief."}, {})
    assert "scale" not in space.unchanged() and built.effort == budget.get("effort")
    assert "scale" in SearchSpace().of_program(tale_dspy.TaleEP("question -> answer")).unchanged()


def test_what_leaves_no_choice_is_not_asked_for() -> None:
    space = SearchSpace(wordings=(), demos=(), scales=None, estimators={"x": tale_dspy.BudgetEstimator()})
    assert space.unchanged() == {"estimator": OWN}


def test_demos_are_the_shortest_right_answers_with_their_budget() -> None:
    lm = fake_lm(lengthy)
    with dspy.context(lm=lm):
        demos = collect_demos(tale_dspy.TaleEP("question -> answer"), EXAMPLES, right, 2)
    shortest = [(d.question, d.answer, d.token_budget) for d in demos["self"][:2]]
    assert shortest == [("4+1?", "5", 50), ("2+1?", "3", 50)] and len(demos["self"]) == 4
    assert len(lm.prompts) == 2 * 5, "asked until there are twice as many as wanted: 0, 1, 2, 4, and 3, which is wrong"


def test_sets_of_demos_differ_and_are_the_same_each_time() -> None:
    candidates = [dspy.Example(question=str(n)) for n in range(6)]
    sets = [[d.question for d in choose_demos(candidates, 3, number)] for number in range(4)]
    assert sets[0] == ["0", "1", "2"] and len({tuple(s) for s in sets}) > 2
    assert all(s == sorted(s) for s in sets), "the shortest first"
    assert sets[2] == [d.question for d in choose_demos(candidates, 3, 2)]
    assert choose_demos(candidates[:2], 3, 1) == candidates[:2] and choose_demos(candidates, 0, 1) == []


def test_a_form_is_sent_by_a_tale_adapter() -> None:
    space = SearchSpace(wordings=(), demos=(0, 2), scales=None, forms=["sketch"], demo_sets=3)
    assert space.unchanged() == {"form": OWN, "demos": 0, "demo_set": 0}
    built = space.build(tale_dspy.BudgetedChainOfThought("question -> answer", 40), {"form": "sketch"}, {})
    lm = fake_lm("Answer: [[1]]")
    with dspy.context(lm=lm, adapter=dspy.ChatAdapter()):
        built(question="1+0?")
    assert "Reason in a sketch" in lm.prompts[0]
    with pytest.raises(UsageError, match="form must be one of"):
        SearchSpace(forms=["loud"])


def test_an_answer_that_fails_is_no_demo() -> None:
    def strict(example: Any, pred: Any) -> bool:
        if example.question == "0+1?":
            raise ValueError("no")
        return True

    with dspy.context(lm=fake_lm(lengthy)):
        demos = collect_demos(tale_dspy.TaleEP("question -> answer"), EXAMPLES[:2], strict, 3)
    assert [d.question for d in demos["self"]] == ["1+1?"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"scales": (2.0, 1.0)}, "scales must be the least and the greatest"),
        ({"scales": (0, 1.0)}, "scales must be the least and the greatest"),
        ({"modes": ["loud"]}, "mode must be"),
        ({"demos": [1.5]}, "demos must be whole numbers"),
    ],
)
def test_numbers_out_of_range_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        SearchSpace(**options)
