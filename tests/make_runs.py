"""Hand-made runs for the tests of comparisons and reports."""

import random
from typing import Any

from tale_dspy.runs.records import AnswerOutcome, Record, Run, RunEnding

PRICE_IN, PRICE_OUT = 0.15e-6, 0.60e-6
"""US dollars per token."""

CONFIG: dict[str, Any] = {
    "model": "openai/gpt-4o-mini",
    "data": {"name": "gsm8k"},
    "adapter": "TaleAdapter",
    "prompting": [["predict", "", ""]],
    "price": {"input": PRICE_IN, "output": PRICE_OUT},
}


def make_record(i: int, **fields: Any) -> Record:
    """A question answered right in 100 tokens; `estimate` adds an estimator's prompt and completion tokens."""
    prompt, completion = fields.pop("estimate", (None, None))
    fields = {
        "id": f"{i:016x}",
        "question": f"What is {i} plus 0?",
        "gold": str(i),
        "reply": f"It is [[{i}]]",
        "answer": str(i),
        "outcome": "correct",
        "output_tokens": 100,
        "estimate_tokens": completion,
        "estimate_prompt_tokens": prompt,
        "prompt_tokens": 50 + (prompt or 0),
        "latency_s": 1.0,
        "calls": 1,
        "paid_calls": 1,
        "usage_source": "provider",
        "response_model": "gpt-4o-mini-2024-07-18",
    } | fields
    if "cost_usd" not in fields and None not in (fields["output_tokens"], fields["prompt_tokens"]):
        tokens = fields["output_tokens"] + (fields["estimate_tokens"] or 0)
        fields["cost_usd"] = PRICE_IN * fields["prompt_tokens"] + PRICE_OUT * tokens
    return Record(**fields)


def make_run(
    records: list[Record] | str,
    name: str = "cot",
    info: dict[str, Any] | None = None,
    stopped: str | None = None,
    **config: Any,
) -> Run:
    """A run of these records, or of one record a letter: `c` is right, `w` wrong, `t` truncated, `e` empty."""
    if isinstance(records, str):
        letters: dict[str, AnswerOutcome] = {"c": "correct", "w": "wrong", "t": "truncated", "e": "empty"}
        records = [make_record(i, outcome=letters[letter]) for i, letter in enumerate(records)]
    return Run(
        info={"program": {"name": name}, "config": CONFIG | config, **(info or {})},
        records=records,
        ending=RunEnding(stopped),
    )


def random_run(
    n: int,
    name: str = "cot",
    *,
    seed: int = 0,
    accuracy: float = 0.8,
    tokens: float = 300,
    repeats: int = 1,
    **fields: Any,
) -> Run:
    """A run of `n` questions with log-normal token counts."""
    rng = random.Random(f"{name} {seed}")
    records = [
        make_record(
            i,
            repeat=repeat,
            outcome="correct" if rng.random() < accuracy else "wrong",
            output_tokens=round(tokens * rng.lognormvariate(0, 0.4)) + 1,
            prompt_tokens=50 + i % 40 + fields.get("estimate", (0, 0))[0],
            latency_s=rng.uniform(0.5, 3),
            **fields,
        )
        for i in range(n)
        for repeat in range(repeats)
    ]
    return make_run(records, name)


EP: dict[str, Any] = {"output_tokens": 80, "estimate": (60, 10), "token_budget": 40}
"""A small program with an estimator: 20 tokens saved a question, the estimator asks for 60 and writes 10."""


def ep_run(n: int = 20, **fields: Any) -> Run:
    return make_run([make_record(i, **(EP | fields)) for i in range(n)], "tale-ep")


def effort_run(word: str, tokens: int = 50, *, budget: int | None = None, **config: str) -> Run:
    """A run of ten questions with an effort word."""
    records = [
        make_record(i, effort=word, token_budget=budget, budget_source="given", output_tokens=tokens + i)
        for i in range(10)
    ]
    return make_run(records, f"effort:{word}", **config)


def three_runs() -> list[Run]:
    """A baseline, a run with an estimator, and one on other data."""
    other = make_run("cctew", "other", data={"name": "gsm8k-zero"})
    return [random_run(60), random_run(60, "tale-ep", tokens=90, estimate=(60, 10)), other]


UNKNOWN = make_run(
    [make_record(0, output_tokens=None, cost_usd=None, latency_s=None)], "unknown", info={"provenance": "paper"}
)
"""A run of which only the accuracy is known."""
