"""Questions and a server whose replies follow their budget down to what the question needs."""

import re
from collections.abc import Callable
from typing import Any

import dspy
from searched import elastic

import tale_dspy
from tale_dspy.testing import Request, ScriptedServer
from tale_dspy.testing.problems import budget_of

LONGEST = 120
_NUMBERS = re.compile(r"What is (\d+) and 0\?")

TRAIN = [dspy.Example(question=f"What is {n} and 0?", answer=str(n)).with_inputs("question") for n in range(12)]


def number_in(prompt: str) -> int:
    return int(_NUMBERS.findall(prompt)[-1])


def need(number: int) -> float:
    """Tokens that a question needs."""
    return 20 + 2 * number


def reply(prompt: str, right: Callable[[int, int | None], bool] | None = None) -> str:
    """Answer as long as the budget makes it, rightly from two thirds of the need on."""
    number, budget = number_in(prompt), budget_of(prompt)
    if "[[budget]]" in prompt:
        return "Budget: [[50]]"
    words = LONGEST if budget is None else elastic(budget, need(number), LONGEST)
    good = budget is None or budget >= need(number) / 1.5
    good = good if right is None else right(number, budget)
    return "so " * (words - 2) + f"Answer: [[{number if good else 'x'}]]"


def elastic_server(right: Callable[[int, int | None], bool] | None = None, **options: Any) -> ScriptedServer:
    def answer(request: Request) -> str:
        return reply(request.prompt, right)

    return ScriptedServer(answer, **options)


def asking(server: ScriptedServer, **settings: Any) -> tale_dspy.LM:
    return tale_dspy.LM("openai/x", api_base=server.url, api_key="k", **{"engine": "auto", "cache": False, **settings})
