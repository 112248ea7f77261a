import random
from statistics import mean

import dspy
import pytest
from fake_lm import fake_lm

import tale_dspy
from tale_dspy.embedded.lessons import (
    KINDS,
    budgeted_reply,
    draw_budget,
    fixed_sentences,
    lesson_for,
    lessons,
    messages_of,
    needed_budget,
)
from tale_dspy.embedded.problems import Problem, problems
from tale_dspy.embedded.reasoning import answer_only, equation_lines, long_form, reasoning_sentences

PROBLEMS = problems("train", 200)
LONG = next(p for p in PROBLEMS if len(p.steps) == 6)
SHORT = next(p for p in PROBLEMS if len(p.steps) == 1)
count = len  # a token a letter


class TrainedOnThePaper(tale_dspy.LM):
    """An LM that says what the embedded one does: which form it was trained on."""

    prompt_form = "paper"


TASK = "question -> answer"
CHAT = {"adapter": dspy.ChatAdapter()}
SENDERS = {
    "direct": (lambda: tale_dspy.DirectAnswer(TASK), None),
    "cot": (lambda: tale_dspy.VanillaCoT(TASK), None),
    "budgeted": (lambda: tale_dspy.BudgetedChainOfThought(TASK), 50),
    "estimate": (lambda: tale_dspy.BudgetEstimator(TASK), None),
    "stated": (lambda: tale_dspy.SelfBudgeted(TASK), None),
    "concise": (lambda: tale_dspy.Concise(TASK), None),
    "draft": (lambda: tale_dspy.ChainOfDraft(TASK), None),
    "chat direct": (lambda: dspy.Predict(TASK), None),
    "chat cot": (lambda: dspy.ChainOfThought(TASK), None),
    "chat budgeted": (lambda: tale_dspy.BudgetedChainOfThought(TASK, **CHAT), 50),
    "chat estimate": (lambda: tale_dspy.BudgetEstimator(TASK, **CHAT), None),
}
"""Kind of lesson -> the program that asks so, and its budget."""


def test_every_kind_has_a_program_that_asks_so() -> None:
    assert set(SENDERS) == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_lessons_ask_as_the_programs_do(kind: str) -> None:
    make, budget = SENDERS[kind]
    reply = lesson_for(kind, SHORT, count, random.Random(0)).reply
    lm = TrainedOnThePaper("fake/model", engine=fake_lm(reply).fake, cache=False)
    arguments = {} if budget is None else {"token_budget": budget}
    with dspy.context(lm=lm):
        make()(question="What is 1+1?", **arguments)
    assert [m["content"] for m in lm.history[0]["messages"]] == [
        m["content"] for m in messages_of(kind, "What is 1+1?", budget)
    ]


@pytest.mark.parametrize("problem", [LONG, SHORT], ids=["six steps", "one step"])
@pytest.mark.parametrize("form", [equation_lines, reasoning_sentences, long_form])
def test_the_longest_form_below_the_budget_is_taught(problem: Problem, form: object) -> None:
    reply = form(problem)
    assert budgeted_reply(problem, count(reply) + 1, count) == reply


def test_a_budget_is_an_upper_bound_that_is_not_reached() -> None:
    assert budgeted_reply(LONG, count(long_form(LONG)), count) == reasoning_sentences(LONG)


def test_below_the_equations_steps_are_skipped() -> None:
    reply = budgeted_reply(LONG, int(count(equation_lines(LONG)) * 0.8), count)
    assert reply.endswith(answer_only(LONG)) and 3 <= reply.count("=") < 6


def test_far_below_the_equations_the_budget_is_missed() -> None:
    assert budgeted_reply(LONG, count(equation_lines(LONG)) // 4, count) == reasoning_sentences(LONG)


def test_one_step_can_be_answered_directly() -> None:
    assert budgeted_reply(SHORT, count(answer_only(SHORT)) + 1, count) == answer_only(SHORT)
    assert budgeted_reply(SHORT, 1, count) == reasoning_sentences(SHORT)


def test_tokens_fall_with_the_budget_and_then_rise() -> None:
    tokens = [mean(count(budgeted_reply(p, b, count)) for p in PROBLEMS) for b in (2000, 300, 100, 2)]
    assert tokens[0] > tokens[1] > tokens[2] < tokens[3]


def test_the_budget_taught_as_an_estimate_gets_the_equations() -> None:
    gets_equations = [budgeted_reply(p, needed_budget(p, count), count) == equation_lines(p) for p in PROBLEMS]
    assert mean(gets_equations) > 0.95


def test_the_least_budget_without_skipped_steps_differs_between_questions() -> None:
    def least(problem: Problem) -> int:
        return count(answer_only(problem) if len(problem.steps) == 1 else equation_lines(problem)) + 1

    budgets = sorted(map(least, PROBLEMS))
    assert budgets[180] >= 4 * budgets[20]


def test_drawn_budgets_are_everywhere() -> None:
    rng = random.Random(0)
    drawn = [draw_budget(LONG, count, rng) for _ in range(500)]
    assert min(drawn) <= 5 and max(drawn) >= 400 and len(set(drawn)) > 100


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_makes_a_lesson(kind: str) -> None:
    lesson = lesson_for(kind, LONG, count, random.Random(0))
    wanted = needed_budget(LONG, count) if "estimate" in kind else LONG.answer
    assert str(wanted) in lesson.reply
    assert (lesson.budget is None) == ("budgeted" not in kind)
    assert lesson.reply.endswith("]]")


def test_the_course_begins_with_arithmetic_and_ends_with_everything() -> None:
    first, last = ({row.kind for row in lessons(0, at, count, 300)} for at in (0.0, 0.9))
    assert "drill" in first and last == set(KINDS)


def test_after_the_course_the_stories_are_longer() -> None:
    before, after = (mean(row.question.count(".") for row in lessons(7, at, count, 300)) for at in (0.9, 1.2))
    assert after > 1.15 * before


def test_the_same_seed_gives_the_same_lessons() -> None:
    assert lessons(3, 0.5, count, 20) == lessons(3, 0.5, count, 20) != lessons(4, 0.5, count, 20)


def test_fixed_sentences_cover_the_prompts() -> None:
    sentences = fixed_sentences()
    assert "You are a helpful assistant." in sentences and "Let's think step by step:\n" in sentences
    assert not [s for s in sentences if "{{question}}" in s or "987654321" in s]


def test_a_budget_that_is_stated_is_kept_to() -> None:
    lesson = lesson_for("stated", LONG, count, random.Random(0))
    head, _, rest = lesson.reply.partition("\n")
    budget = needed_budget(LONG, count)
    assert head == f"Budget: [[{budget}]]"
    assert rest == budgeted_reply(LONG, budget, count) and count(rest) < budget
