"""Replies to a problem, from the bare answer to a redundant chain of thought."""

from collections.abc import Callable

from tale_dspy.embedded.problems import Calculation, Problem

_SHORT = {
    "+": "With {right} more it is {step}.",
    "-": "Without {right} it is {step}.",
    "*": "Taken {right} times it is {step}.",
    "/": "In {right} equal parts it is {step}.",
}
_WHY = {
    "+": "{right} are added to {left}, so the number gets larger and we have to add.",
    "-": "{right} are taken from {left}, so the number gets smaller and we have to subtract.",
    "*": "{left} is there {right} times, so we do not add again and again but multiply.",
    "/": "{left} is split into {right} equal parts, so we have to divide to get one part.",
}
_OPENING = "Let us think about this step by step. First we look at what we know and what is asked."
_CLOSING = "Now all the steps are done, there is nothing left to do, and the final answer is {answer}."


def answer_only(problem: Problem) -> str:
    """Return the answer and nothing else."""
    return f"[[{problem.answer}]]"


def equation_lines(problem: Problem) -> str:
    """Return one bare equation a step, then the answer."""
    return equations_without(problem, 0)


def equations_without(problem: Problem, left_out: int) -> str:
    """Return the equations with some left out, to be done mentally.

    They are left out evenly, but never the last one.
    """
    steps = problem.steps
    n_shown = len(steps) - left_out
    shown = [steps[(n + 1) * len(steps) // n_shown - 1] for n in range(n_shown)]
    return "\n".join([*map(str, shown), answer_only(problem)])


def reasoning_sentences(problem: Problem) -> str:
    """Return a short sentence a step, then the answer."""
    clauses = [_fill_template(_SHORT[step.operation], step) for step in problem.steps]
    return "\n".join([" ".join(clauses), answer_only(problem)])


def long_form(problem: Problem) -> str:
    """Return a chain of thought that says everything twice."""
    clauses = [_OPENING]
    for n, step in enumerate(problem.steps, 1):
        why = _fill_template(_WHY[step.operation], step)
        clauses.append(f"Step {n}: {why} {step}. After this step we have {step.result}.")
    clauses.append(_CLOSING.format(answer=problem.answer))
    return "\n".join([*clauses, answer_only(problem)])


def _fill_template(wording: str, step: Calculation) -> str:
    return wording.format(left=step.left, right=step.right, step=step)


FORMS: dict[str, Callable[[Problem], str]] = {
    "answer only": answer_only,
    "equations": equation_lines,
    "short sentences": reasoning_sentences,
    "long form": long_form,
}
"""The lengths a reply comes in, shortest first."""
