"""Word problems, a server that solves them, and a model that asks it."""

from typing import Any

import dspy

import tale_dspy
from tale_dspy.backends.prices import Price
from tale_dspy.testing import ScriptedServer, SolverReply, word_problems

PROBLEMS = word_problems(60)
BANK = {row["question"]: row["answer"] for row in PROBLEMS}
CHEAP = Price(1e-6, 2e-6)


def examples(n: int = 20) -> list[dspy.Example]:
    return [dspy.Example(question=r["question"], answer=r["answer"]).with_inputs("question") for r in PROBLEMS[:n]]


def model(server: ScriptedServer, engine: str = "auto", **kwargs: Any) -> tale_dspy.LM:
    settings = {"cache": False, "timeout": 30.0, **kwargs}
    return tale_dspy.LM("openai/scripted", api_base=server.url, api_key="key-1234", engine=engine, **settings)


def solver(**kwargs: Any) -> ScriptedServer:
    return ScriptedServer(SolverReply(BANK), **kwargs)


def counted(run: tale_dspy.Run) -> int:
    return sum((r.output_tokens or 0) + (r.estimate_tokens or 0) for r in run.records)
