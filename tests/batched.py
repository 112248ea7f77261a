"""Runs through the batch API of a scripted server, and what must be equal without one."""

from pathlib import Path
from typing import Any

import dspy

import tale_dspy
from tale_dspy.testing.batches import BatchServer
from tale_dspy.testing.problems import SolverReply, word_problems

ROWS = word_problems(200)
REPLY = SolverReply({row["question"]: row["answer"] for row in ROWS})
MODELS = {"openai": "openai/gpt-4o-mini", "anthropic": "anthropic/claude-haiku-4-5"}


def examples(count: int) -> list[Any]:
    return [dspy.Example(question=r["question"], answer=r["answer"]).with_inputs("question") for r in ROWS[:count]]


def language_model(server: BatchServer, provider: str = "openai", engine: str = "auto", **settings: Any) -> Any:
    base = server.url.removesuffix("/v1") if (provider, engine) == ("anthropic", "litellm") else server.url
    return tale_dspy.LM(
        MODELS[provider], api_base=base, api_key="key-of-a-test", engine=engine, cache=False, **settings
    )


def batched_run(
    server: BatchServer,
    count: int,
    out: Path,
    *,
    program: str = "tale-ep",
    provider: str = "openai",
    engine: str = "auto",
    max_tokens: int | None = None,
    lm: Any = None,
    **options: Any,
) -> Any:
    """Evaluate a program over the first questions, through a batch unless told otherwise."""
    settings = {} if max_tokens is None else {"max_tokens": max_tokens}
    lm = lm or language_model(server, provider, engine, **settings)
    kind = {"tale-ep": tale_dspy.TaleEP, "cot": tale_dspy.VanillaCoT}[program]
    return tale_dspy.evaluate(kind("question -> answer"), examples(count), lm=lm, out=out, **{"batch": True, **options})


def figures(run: Any) -> list[tuple[Any, ...]]:
    """Return what the records of a run say, but for price and time, in the order of their ids."""
    names = ("id", "outcome", "answer", "reply", "token_budget", "output_tokens", "estimate_tokens", "prompt_tokens")
    return sorted(tuple(vars(record)[name] for name in (*names, "calls", "finish_reason")) for record in run.records)
