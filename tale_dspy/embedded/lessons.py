"""What the embedded reasoner is taught.

It says which reply suits which prompt, and how often each is shown.

This is where it learns to obey a budget, and where it learns not to: everything here is data, no code of this package
looks at the budget when the model answers. The prompts are those the adapters send, rendered once with placeholders.
"""

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from tale_dspy.adapter import TaleAdapter
from tale_dspy.embedded.problems import Calculation, Problem, problem_stream
from tale_dspy.embedded.reasoning import (
    FORMS,
    answer_only,
    equation_lines,
    equations_without,
    long_form,
    reasoning_sentences,
)
from tale_dspy.prompts import CONCISE_INSTRUCTIONS, DRAFT_INSTRUCTIONS, ESTIMATOR_INSTRUCTIONS
from tale_dspy.protocols import JsonObject

Messages = list[JsonObject]
Count = Callable[[str], int]
"""Counts the tokens of a reply, its end token included."""

QUESTION = "{{question}}"
BUDGET = 987654321
"""Stand for the question and the budget in a rendered prompt."""
STATED = "Budget: [["
"""Before the budget that the model states itself."""


@dataclass(frozen=True)
class Lesson:
    """A prompt and the reply it is trained to get."""

    kind: str
    """A key of `PROMPTS`, or `drill`: bare equations without a prompt."""
    question: str
    budget: int | None
    reply: str


def _chat_prompt(signature: str, instructions: str | None) -> Messages:
    import dspy

    sig = _make_signature(signature, instructions)
    if "token_budget: int" in signature:
        sig = sig.with_updated_fields("token_budget", desc="Think in fewer tokens than this")
    if "-> token_budget" in signature:
        sig = sig.with_updated_fields("token_budget", desc="the minimum number of tokens")
    if "reasoning" in signature:
        sig = sig.with_instructions(_make_signature("question -> answer", None).instructions)
    values = {"question": QUESTION, "token_budget": BUDGET}
    messages: Messages = dspy.ChatAdapter().format(sig, [], {name: values[name] for name in sig.input_fields})
    return messages


def _tale_prompt(signature: str, instructions: str | None) -> Messages:
    sig = _make_signature(signature, instructions)
    values = {"question": QUESTION, "token_budget": BUDGET}
    messages: Messages = TaleAdapter("paper").format(sig, [], {name: values[name] for name in sig.input_fields})
    return messages


def _make_signature(signature: str, instructions: str | None) -> Any:
    import dspy

    make: Any = dspy.Signature
    return make(signature, instructions) if instructions else make(signature)


_BUDGETED = "question, token_budget: int -> reasoning, answer"
_SOURCES: dict[str, tuple[Callable[[str, str | None], Messages], str, str | None, float]] = {
    "direct": (_tale_prompt, "question -> answer", None, 0.12),
    "cot": (_tale_prompt, "question -> reasoning, answer", None, 0.16),
    "budgeted": (_tale_prompt, _BUDGETED, None, 0.42),
    "estimate": (_tale_prompt, "question -> token_budget: str", ESTIMATOR_INSTRUCTIONS, 0.10),
    "stated": (_tale_prompt, "question -> token_budget: str, reasoning, answer", None, 0.04),
    "concise": (_tale_prompt, "question -> reasoning, answer", CONCISE_INSTRUCTIONS, 0.035),
    "draft": (_tale_prompt, "question -> reasoning, answer", DRAFT_INSTRUCTIONS, 0.035),
    "chat direct": (_chat_prompt, "question -> answer", None, 0.02),
    "chat cot": (_chat_prompt, "question -> reasoning, answer", None, 0.06),
    "chat budgeted": (_chat_prompt, _BUDGETED, None, 0.03),
    "chat estimate": (_chat_prompt, "question -> token_budget: str", ESTIMATOR_INSTRUCTIONS, 0.02),
}
"""Kind -> how its prompt is rendered, and its share of the lessons."""

KINDS = tuple(_SOURCES)


@cache
def prompt_of(kind: str) -> tuple[tuple[str, str], ...]:
    """Return the messages of a kind as (role, content).

    `QUESTION` and `BUDGET` stand for the question and the budget.
    """
    render, signature, instructions, _ = _SOURCES[kind]
    return tuple((m["role"], m["content"]) for m in render(signature, instructions))


def messages_of(kind: str, question: str, budget: int | None = None) -> Messages:
    """Return the messages of a kind for one question, as the adapter sends them."""
    filled = "" if budget is None else str(budget)
    return [
        {"role": role, "content": content.replace(str(BUDGET), filled).replace(QUESTION, question)}
        for role, content in prompt_of(kind)
    ]


def fixed_sentences() -> list[str]:
    """Return the fixed parts of all prompts, piece by piece.

    Each becomes one token.
    """
    pieces: dict[str, None] = {}
    for kind in KINDS:
        for _, content in prompt_of(kind):
            for part in content.replace(str(BUDGET), QUESTION).split(QUESTION):
                for piece in _split_pieces(part):
                    pieces[piece] = None
    pieces |= dict.fromkeys(
        (STATED, "[[ ## reasoning ## ]]\n", "\n\n[[ ## answer ## ]]\n", "\n\n[[ ## completed ## ]]")
    )
    return [piece for piece in pieces if len(piece) > 8]


def _split_pieces(part: str) -> Iterator[str]:
    head, cut, tail = part.partition("Let's think")
    yield head
    if cut:
        yield cut + tail


def lesson_for(kind: str, problem: Problem, count: Count, rng: random.Random) -> Lesson:
    """Return the lesson of a kind on a problem.

    Args:
        kind: A key of `KINDS`.
        problem: What is asked.
        count: Counts the tokens of a reply.
        rng: Draws the budget, for the budgeted kinds.
    """
    budget = draw_budget(problem, count, rng) if "budgeted" in kind else None
    reply = _lesson_reply(kind.removeprefix("chat "), problem, budget, count)
    if kind.startswith("chat "):
        reply = _in_chat_form(kind, reply)
    return Lesson(kind, problem.question, budget, reply)


def _lesson_reply(kind: str, problem: Problem, budget: int | None, count: Count) -> str:
    match kind:
        case "direct":
            return answer_only(problem)
        case "concise":
            return reasoning_sentences(problem)
        case "draft":
            return equation_lines(problem)
        case "estimate":
            return f"[[{needed_budget(problem, count)}]]"
        case "stated":
            stated = needed_budget(problem, count)
            return f"{STATED}{stated}]]\n{budgeted_reply(problem, stated, count)}"
        case "budgeted" if budget is not None:
            return budgeted_reply(problem, budget, count)
    return long_form(problem)


def _in_chat_form(kind: str, reply: str) -> str:
    """Write a reply as `dspy.ChatAdapter` wants it."""
    thought, _, answer = reply.rpartition("[[")
    answer = answer.removesuffix("]]")
    if kind == "chat estimate":
        return f"[[ ## token_budget ## ]]\n{answer}\n\n[[ ## completed ## ]]"
    head = "" if kind == "chat direct" else f"[[ ## reasoning ## ]]\n{thought.rstrip()}\n\n"
    return f"{head}[[ ## answer ## ]]\n{answer}\n\n[[ ## completed ## ]]"


def budgeted_reply(problem: Problem, budget: int, count: Count) -> str:
    """Return the reply a budget gets.

    The longest form that stays below the budget. Below what the equations need, steps are skipped, as long as half of
    the equations fit; further down the budget is missed, and by far: a short sentence a step. This is the token
    elasticity of the paper (section 4.2), as a rule for teaching.
    """
    for form in reversed(tuple(FORMS.values())):
        if form is not answer_only or len(problem.steps) == 1:
            reply = form(problem)
            if count(reply) < budget:
                return reply
    if 2 * budget >= count(equation_lines(problem)):
        for left_out in range(1, len(problem.steps) // 2 + 1):
            reply = equations_without(problem, left_out)
            if count(reply) < budget:
                return reply
    return reasoning_sentences(problem)


def needed_budget(problem: Problem, count: Count) -> int:
    """Return the budget taught as the estimate.

    It is enough for the equations, in steps of five.
    """
    tokens = round(1.2 * count(equation_lines(problem)))
    return tokens + -tokens % 5


def draw_budget(problem: Problem, count: Count, rng: random.Random) -> int:
    """Draw a budget.

    Half of them are around where the reply changes, half anywhere from 1 to 500, on a log scale.
    """
    if rng.random() < 0.5:
        form = rng.choice((answer_only, equation_lines, equation_lines, reasoning_sentences, long_form))
        return max(1, round(count(form(problem)) * rng.uniform(0.4, 1.6)))
    drawn: int = round(500 ** rng.random())
    return 5 * -(-drawn // 5) if rng.random() < 0.5 else drawn


def lessons(seed: int, progress: float, count: Count, n: int) -> list[Lesson]:
    """Return the next lessons of the course.

    Arithmetic first: until 15 % of the course half the lessons are drills, until 35 % most are equations, at first of
    few steps; then the whole mix. From 41 % on, one lesson in four more is the direct answer to a problem of one step,
    which is learned late: reading and calculating in one go. After the course, half of the lessons are stories of three
    and more steps, in equations or at length: to know at each step, without having written why, which numbers of a long
    story it is about, is learned last.

    Args:
        seed: Decides all of them.
        progress: Share of the course that is done, 0 to 1; above 1 after it.
        count: Counts the tokens of a reply.
        n: How many.
    """
    rng = random.Random(f"lessons:{seed}")
    source = problem_stream("train", seed=rng.randrange(2**60))
    return [_next_lesson(rng, source, progress, count) for _ in range(n)]


def _next_lesson(rng: random.Random, source: Iterable[Problem], progress: float, count: Count) -> Lesson:
    if progress < 0.15 and rng.random() < 0.5:
        return Lesson("drill", "", None, "\n".join(str(_arithmetic_drill(rng)) for _ in range(10)))
    most = 6 if progress > 0.3 else 2 + int(progress / 0.06)
    problem = next(p for p in source if len(p.steps) <= most)
    if progress < 0.35 and rng.random() < 0.7:
        if rng.random() < 0.3:
            return lesson_for("draft", problem, count, rng)
        reply = equation_lines(problem)
        return Lesson(
            "budgeted", problem.question, rng.randint(count(reply) + 1, count(reasoning_sentences(problem))), reply
        )
    if progress >= 1 and rng.random() < 0.5:
        return _long_story(rng, next(p for p in source if len(p.steps) >= 3), count)
    if progress > 0.41 and rng.random() < 0.25:
        return lesson_for("direct", next(p for p in source if len(p.steps) == 1), count, rng)
    kind = rng.choices(KINDS, [share for *_, share in _SOURCES.values()])[0]
    if "direct" in kind and rng.random() < 0.6:  # what it can learn to do in its head at all
        problem = next(p for p in source if len(p.steps) <= 2)
    return lesson_for(kind, problem, count, rng)


def _long_story(rng: random.Random, problem: Problem, count: Count) -> Lesson:
    kind = rng.choices(("cot", "draft", "budgeted", "stated"), (3, 2, 5, 0.5))[0]
    if kind != "budgeted":
        return lesson_for(kind, problem, count, rng)
    reply = equation_lines(problem)
    enough = rng.randint(count(reply) + 1, count(reasoning_sentences(problem)))
    budget = needed_budget(problem, count) if rng.random() < 0.5 else enough
    return Lesson(kind, problem.question, budget, budgeted_reply(problem, budget, count))


def _arithmetic_drill(rng: random.Random) -> Calculation:
    a, b = rng.randint(2, 250), rng.randint(2, 60)
    small = rng.randint(2, 9)
    match rng.choice("+-*/"):
        case "+":
            return Calculation(a, "+", b, a + b)
        case "-":
            return Calculation(a + b, "-", b, a)
        case "*":
            left = rng.randint(2, 250 // small)
            return Calculation(left, "*", small, left * small)
        case _:
            left = rng.randint(2, 250 // small)
            return Calculation(left * small, "/", small, left)
