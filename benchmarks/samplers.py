"""Samplers of budgets against each other: tokens of the best budget found over the least there are, and calls spent.

    python benchmarks/samplers.py --api-base http://127.0.0.1:8123/v1 --data gsm8k-train       # a simulated model
    python benchmarks/samplers.py --model embedded --data embedded:train --questions 100       # the model that ships
    python benchmarks/samplers.py --api-base ... --data gsm8k-train --fresh 4                  # replies that are random

The truth: what the server's page `/oracle?q=QUESTION` says, if it has one, else every budget (`GridSampler`, thinned by
`--points`). Only questions that are right without a budget are searched. Each contender has one sampler for all
questions, which are searched `--width` at a time and learned from in their order. A reply is asked for once and
replayed to the others, unless `--fresh N`: then nothing is replayed, and N further draws judge the budget found.
"""

import argparse
import contextlib
import json
import os
import statistics
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import optuna
from optuna.samplers import BaseSampler

import tale_dspy
from tale_dspy.answers import answers_equal
from tale_dspy.optimizers.samplers import (
    BudgetSampler,
    ElasticSampler,
    GridSampler,
    HalvingSampler,
    QuestionHistory,
    TPESampler,
    history_of,
)
from tale_dspy.testing.samplers import new_study, tell

TPE_CALLS = 12


class HalvingAndBisection(HalvingSampler):
    """Halving, then three bisections between the budget kept last and the one that failed."""

    def propose(self, history: QuestionHistory) -> int:
        if not super().should_stop(history):
            return super().propose(history)
        low, high = _bracket(history)
        return (low + high) // 2

    def should_stop(self, history: QuestionHistory) -> bool:
        halvings = next((i for i, _ in enumerate(history.trials, 1) if super(HalvingAndBisection, self).should_stop(
            QuestionHistory(history.vanilla_tokens, history.trials[:i]))), len(history.trials) + 1)  # fmt: skip
        low, high = _bracket(history)
        return len(history.trials) >= halvings + 3 or (len(history.trials) >= halvings and high - low < 2)


class PooledBisection(BudgetSampler):
    """Bisect the pool of the smallest budgets kept so far, each relative to the answer without a budget.

    A budget that was kept is large enough: the answer was right and stayed within it.
    """

    def __init__(self) -> None:
        self.pool = [float(ratio) for ratio in np.geomspace(0.02, 0.98, 10)]

    def propose(self, history: QuestionHistory) -> int:
        low, high = self._between(history)
        inside = sorted(b for b in (round(ratio * history.vanilla_tokens) for ratio in self.pool) if low < b < high)
        return inside[len(inside) // 2] if inside else max(1, (low + high) // 2)

    def should_stop(self, history: QuestionHistory) -> bool:
        low, high = self._between(history)
        return len(history.trials) >= 4 or high - low < 2

    def finish_question(self, history: QuestionHistory) -> None:
        self.pool.append(self._between(history)[1] / history.vanilla_tokens)

    @staticmethod
    def _between(history: QuestionHistory) -> tuple[int, int]:
        """Return the largest budget that was too small, and the smallest that was large enough."""
        sufficient = [o.budget for o in history.trials if o.right and o.tokens <= o.budget]
        high = min(sufficient, default=history.vanilla_tokens)
        return max(
            (o.budget for o in history.trials if o.budget < high and o.budget not in sufficient), default=0
        ), high


def _bracket(history: QuestionHistory) -> tuple[int, int]:
    """Return the largest budget that failed below the best one, and the best one."""
    best = history.best if history.best_tokens < history.vanilla_tokens else None
    high = history.vanilla_tokens if best is None else best.budget
    return max((o.budget for o in history.trials if o.budget < high), default=0), high


@dataclass
class Item:
    """A question of the arena."""

    inputs: dict[str, Any]
    gold: Any
    vanilla: int = 0
    least: float = 0.0
    """Tokens of the shortest right answer to be had."""


@dataclass
class Outcome:
    """What a contender made of all questions, in their order."""

    tokens: list[float] = field(default_factory=list)
    calls: list[int] = field(default_factory=list)
    right: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)


class Arena:
    """The model, the questions, and every reply there was."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        extra = {"api_base": args.api_base, "api_key": "none"} if args.api_base else {}
        lm = tale_dspy.LM(args.model, cache=False, max_tokens=1024, **extra)
        data = tale_dspy.load_dataset(args.data).take(args.offset, args.questions)
        self.kind = data.kind
        self.plain, self.budgeted = (
            tale_dspy.VanillaCoT(data.signature),
            tale_dspy.BudgetedChainOfThought(data.signature),
        )
        self.plain.set_lm(lm)
        self.budgeted.set_lm(lm)
        self.gold = data.gold
        self.replies: dict[tuple[int, int], tuple[float, bool]] = {}
        self.pool = ThreadPoolExecutor(max(args.width, args.collect))
        self.items = [Item(dict(e.inputs().items()), e[data.gold]) for e in data.examples]
        judged = list(self.pool.map(lambda item: self.call(item), self.items))
        self.asked = len(self.items)
        self.items = [item for item, (tokens, right) in zip(self.items, judged, strict=True) if right and tokens]
        vanillas = [int(tokens) for tokens, right in judged if right and tokens]
        for item, vanilla in zip(self.items, vanillas, strict=True):
            item.vanilla = vanilla
        self.truth = self.find_truth()

    def call(self, item: Item, budget: int | None = None) -> tuple[float, bool]:
        """Ask the model and judge."""
        budgets = {} if budget is None else {"token_budget": budget}
        pred = (self.plain if budget is None else self.budgeted)(**item.inputs, **budgets)
        answer = pred.get(self.gold)
        return float(pred.output_tokens or 0), answer is not None and answers_equal(answer, item.gold, self.kind)

    def reply(self, number: int, budget: int) -> tuple[float, bool]:
        """Return the reply to a budget, from memory if it was had before."""
        if self.args.fresh:
            return self.call(self.items[number], budget)
        if (number, budget) not in self.replies:
            self.replies[number, budget] = self.call(self.items[number], budget)
        return self.replies[number, budget]

    def find_truth(self) -> str:
        """Fill in the least tokens of each question, and say where they come from."""
        base = (self.args.api_base or "").rstrip("/").removesuffix("/v1")
        with contextlib.suppress(urllib.error.URLError):
            for item in self.items if base.startswith("http") else []:
                page = f"{base}/oracle?q={urllib.parse.quote(item.inputs['question'])}"
                with urllib.request.urlopen(page, timeout=10) as answer:
                    item.least = float(json.load(answer)["tokens"])
            if base.startswith("http"):
                return "the server's /oracle"
        grid = GridSampler(points=self.args.points)
        pairs = [(i, b) for i, item in enumerate(self.items) for b in grid.budgets_of(QuestionHistory(item.vanilla))]
        answers = list(self.pool.map(lambda pair: self.reply(*pair), pairs))
        for item in self.items:
            item.least = item.vanilla
        for (number, _), (tokens, right) in zip(pairs, answers, strict=True):
            if right:
                self.items[number].least = min(self.items[number].least, tokens)
        return f"{len(pairs) / len(self.items):.0f} budgets a question"

    def search(self, sampler: BaseSampler, number: int, most: int) -> tuple[QuestionHistory, float]:
        """Search one question by ask and tell; return what was seen and the CPU time of the search alone, in ms."""
        item, waited = self.items[number], 0.0
        started = time.thread_time()
        study = new_study(sampler)
        for _ in range(most):
            if isinstance(sampler, BudgetSampler) and sampler.finished(study):
                break
            trial = study.ask()
            budget = trial.suggest_int("budget", 1, item.vanilla)
            before = time.thread_time()
            answer = self.reply(number, budget)
            waited += time.thread_time() - before
            tell(study, trial, answer)
        history = history_of(study)
        assert history is not None
        return history, 1000 * (time.thread_time() - started - waited)

    def play(self, sampler: BaseSampler, most: int) -> Outcome:
        """Search all questions with one sampler."""
        outcome = Outcome()
        for start in range(0, len(self.items), self.args.width):
            numbers = range(start, min(start + self.args.width, len(self.items)))
            results = list(self.pool.map(lambda number: self.search(sampler, number, most), numbers))
            for number, (history, cpu_ms) in zip(numbers, results, strict=True):
                before = time.thread_time()
                if isinstance(sampler, BudgetSampler):
                    sampler.finish_question(history)
                outcome.cpu_ms.append(cpu_ms + 1000 * (time.thread_time() - before))
                outcome.calls.append(len(history.trials))
                tokens, right = self.judge(number, history)
                outcome.tokens.append(tokens)
                outcome.right.append(right)
        return outcome

    def judge(self, number: int, history: QuestionHistory) -> tuple[float, float]:
        """Return tokens and share of right answers of the best budget found; without a gain, of none."""
        gained = history.best is not None and history.best_tokens < history.vanilla_tokens
        if not self.args.fresh:
            return (history.best_tokens if gained else float(history.vanilla_tokens)), 1.0
        budget = history.best.budget if gained and history.best else None
        draws = [self.call(self.items[number], budget) for _ in range(self.args.fresh)]
        return statistics.fmean(t for t, _ in draws), statistics.fmean(float(r) for _, r in draws)


CONTENDERS: dict[str, tuple[Callable[[], BaseSampler], int]] = {
    "halving": (HalvingSampler, 40),
    "TPE": (TPESampler, TPE_CALLS),
    "halving + 3 bisections": (HalvingAndBisection, 40),
    "pooled bisection": (PooledBisection, 40),
    "elastic": (ElasticSampler, 40),
}


def _ready(name: str) -> tuple[BaseSampler, int]:
    make, most = CONTENDERS[name]
    return make(), most


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Return a 95 % bootstrap interval of the mean."""
    drawn = np.random.default_rng(0).choice(np.asarray(values), (2000, len(values))).mean(axis=1)
    return float(np.quantile(drawn, 0.025)), float(np.quantile(drawn, 0.975))


def report(arena: Arena, outcomes: dict[str, Outcome]) -> None:
    least = [item.least for item in arena.items]
    plain = statistics.fmean(item.vanilla for item in arena.items)
    print(f"{len(arena.items)} of {arena.asked} questions right without a budget, at {plain:.1f} tokens on the mean")
    print(f"truth ({arena.truth}): {statistics.fmean(least):.1f} tokens")
    head = f"{'sampler':24}{'tokens':>8}{'/ truth':>9}{'mean ratio':>12}{'calls':>7}{'CPU ms':>8}"
    print(head + ("  right" if arena.args.fresh else ""))
    for name, o in outcomes.items():
        tokens, ratios = statistics.fmean(o.tokens), [t / m for t, m in zip(o.tokens, least, strict=True)]
        row = f"{name:24}{tokens:8.1f}{tokens / statistics.fmean(least):9.3f}{statistics.fmean(ratios):12.3f}"
        row += f"{statistics.fmean(o.calls):7.2f}{statistics.fmean(o.cpu_ms):8.2f}"
        print(row + (f"  {statistics.fmean(o.right):.4f}" if arena.args.fresh else ""))
    elastic = outcomes.get("elastic")
    if elastic is None or len(outcomes) == 1:
        return
    print("elastic less the other, a question, with 95 % intervals (paired):")
    for name, o in outcomes.items():
        if o is not elastic:
            tokens = [a - b for a, b in zip(elastic.tokens, o.tokens, strict=True)]
            calls = [float(a - b) for a, b in zip(elastic.calls, o.calls, strict=True)]
            lines = [
                f"{statistics.fmean(v):+.2f} ({'{:+.2f} to {:+.2f}'.format(*interval(v))})" for v in (tokens, calls)
            ]
            print(f"  {name:24}tokens {lines[0]:28} calls {lines[1]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="openai/gpt-4o-mini")
    parser.add_argument("--api-base", help="an OpenAI-compatible server; its /oracle is the truth")
    parser.add_argument("--data", default="embedded:train")
    parser.add_argument("--questions", type=int, default=400)
    parser.add_argument("--offset", type=int, default=0)
    parser.add_argument("--points", type=int, help="budgets of the grid where there is no /oracle; all if left out")
    parser.add_argument("--width", type=int, default=1, help="questions searched at once")
    parser.add_argument("--collect", type=int, default=32, help="calls at once where order does not matter")
    parser.add_argument("--fresh", type=int, default=0, help="replay nothing; judge by this many further draws")
    parser.add_argument("--only", nargs="*", choices=list(CONTENDERS), default=list(CONTENDERS), help="contenders")
    args = parser.parse_args()
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    arena = Arena(args)
    report(arena, {name: arena.play(*_ready(name)) for name in CONTENDERS if name in args.only})


if __name__ == "__main__":
    main()
