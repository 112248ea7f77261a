"""What a search over effort words costs and finds, and what the estimator it makes is worth on other questions.

    python benchmarks/efforts.py search --questions 120 --seeds 11,12,13
    python benchmarks/efforts.py held-out --questions 200 --seeds 11,12,13

Both on a simulated thinking model of four words (`tale_dspy.testing.EffortReply`), in this process: each question has a
least sufficient word, known here alone. `search` sets the sampler of `tale search` against the grid of all settings and
bisection of the words, and then asks the same of a model that ignores its words. `held-out` searches training questions
and asks others, by the learned estimator, by effort:best and by TALE-EP: where the length of a question says how much
thinking it needs, and where nothing in it does.
"""

import argparse
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import dspy

import tale_dspy
from tale_dspy.comparison.formatting import change_text, number
from tale_dspy.comparison.paired import pair_runs, paired_means
from tale_dspy.optimizers.fit_effort import fit_effort
from tale_dspy.testing import EffortReply, ScriptedServer, word_problems

LESS_SURE = 0.9
"""Probability that a predicted word must suffice with, beside the 0.99 that is the default."""
WORDS = ("minimal", "low", "medium", "high")
PRICE = tale_dspy.Price(0.25e-6, 2e-6)
"""US dollars per token of gpt-5-mini, as listed in November 2026."""


@contextmanager
def serving(model: EffortReply) -> Iterator[Any]:
    """Serve a simulated model, and give an LM that asks it."""
    with ScriptedServer(model) as server:
        yield tale_dspy.LM("openai/gpt-5-mini", api_base=server.url, api_key="any", engine="auto", cache=False)


def examples_of(bank: dict[str, str]) -> list[Any]:
    return [dspy.Example(question=q, answer=a).with_inputs("question") for q, a in bank.items()]


def is_least(row: Any, model: EffortReply) -> bool:
    """Whether a search ended at the least sufficient word; without a best one, the default word is."""
    word = str(row.best.budget).partition("+")[0] if row.best else model.default
    return word == model.least_word(str(row.question))


def searches(args: argparse.Namespace) -> None:
    """Search with each sampler, and a deaf model."""
    bank = {p["question"]: p["answer"] for p in word_problems(args.questions)}
    print(
        "| seed | sampler | least word found % | calls a question beyond the vanilla one |\n| --- | --- | ---: | ---: |"
    )
    for seed in args.seeds:
        model = EffortReply(bank, default="high", seed=seed)
        for sampler in ("elastic", "grid"):
            search = searched(model, bank, args, sampler=sampler, repeats=0)
            right = sum(is_least(row, model) for row in search.rows) / len(search.rows)
            calls = search.summary["draws"] / len(search.rows) - 1
            print(
                f"| {seed} | {'`tale search`' if sampler == 'elastic' else sampler} | {100 * right:.1f} | {calls:.2f} |"
            )
        calls = sum(bisected(model, str(q)) for q in bank) / len(bank)
        print(f"| {seed} | bisection of the words | 100.0 | {calls:.2f} |", flush=True)
    for seed in args.seeds:
        search = searched(EffortReply(bank, default="high", deaf=True, seed=seed), bank, args, repeats=0)
        summary = search.summary
        print(f"deaf, seed {seed}: {summary['calls']} calls for {len(search.rows)} questions; {summary['notices']}")


def searched(model: EffortReply, bank: dict[str, str], args: argparse.Namespace, **options: Any) -> Any:
    with serving(model) as lm:
        search = tale_dspy.BudgetSearch(lm=lm, concurrency=args.concurrency, price=PRICE, **options)
        search.compile(tale_dspy.BudgetedChainOfThought("question -> answer"), trainset=examples_of(bank))
    return search


def bisected(model: EffortReply, question: str) -> int:
    """Count the calls of bisection over all words, where the answer without a word was right."""
    low, high, calls = 0, len(WORDS), 0
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if model.is_enough(question, WORDS[middle]) else (middle + 1, high)
        calls += 1
    return calls


def by_length(bank: dict[str, str], chance: float, seed: int) -> Callable[[str], float]:
    """Return a difficulty that follows the length of a question, blurred by a share of chance."""
    ordered = sorted(bank, key=lambda q: (len(q), q))
    place = {q: n / len(ordered) for n, q in enumerate(ordered)}
    chances = EffortReply(bank, seed=seed)

    def difficulty(question: str) -> float:
        blur = WORDS.index(str(chances.least_word(question))) / len(WORDS)
        return min(0.999, (1 - chance) * place[question] + chance * blur)

    return difficulty


def held_out(args: argparse.Namespace) -> None:
    """Learn on the first questions, and ask the others."""
    bank = {p["question"]: p["answer"] for p in word_problems(2 * args.questions)}
    train, test = examples_of(bank)[: args.questions], examples_of(bank)[args.questions :]
    for seed in args.seeds:
        kinds = {"length tells": by_length(bank, 0.2, seed), "nothing tells": None}
        for name, difficulty in kinds.items():
            print(f"\nseed {seed}, {name} how much thinking a question needs", flush=True)
            compared(EffortReply(bank, default="high", difficulty=difficulty, seed=seed), train, test, args)


def compared(model: EffortReply, train: list[Any], test: list[Any], args: argparse.Namespace) -> None:
    plain = tale_dspy.BudgetedChainOfThought("question -> answer")
    options: dict[str, Any] = {"concurrency": args.concurrency, "price": PRICE}
    with serving(model) as lm:
        options["lm"] = lm
        search = tale_dspy.BudgetSearch(**options)
        learned = search.compile(plain, trainset=train)
        less_sure = fit_effort(search.rows, "question -> answer", confidence=LESS_SURE)
        fixed = tale_dspy.BestFixedBudget(budgets=WORDS, **options).compile(plain, trainset=train)
        programs = {
            "effort:best": fixed,
            "learned": learned,
            f"learned, {LESS_SURE:.0%} sure": tale_dspy.TaleEP("question -> answer", less_sure),
            "TALE-EP": tale_dspy.TaleEP("question -> answer"),
            "no word": tale_dspy.VanillaCoT("question -> answer"),
        }
        runs = {name: tale_dspy.evaluate(program, test, name=name, **options) for name, program in programs.items()}
    print(f"effort:best is {fixed.fixed.value}; learned: {learned.estimator.fitted.note or 'by question'}")
    for name, run in runs.items():
        hidden = sum(r.reasoning_tokens or 0 for r in run.records) / len(run.records)
        usd = 1000 * (run.summary["cost_usd"] or 0) / len(run.records)
        print(f"  {name}: {100 * (run.accuracy or 0):.1f} % right, {hidden:.1f} hidden tokens, ${usd:.3f} per 1000")
    for name in ("learned", f"learned, {LESS_SURE:.0%} sure"):
        for base in ("effort:best", "TALE-EP"):
            print(f"  {name} against {base}: {verdict(runs[name], runs[base])}")


def verdict(run: Any, base: Any) -> str:
    """Say what a run saves against another, paired by question, and whether that is a gain."""
    comparison = run.compare(base)
    pairs = pair_runs(base, run)
    (hidden,) = paired_means(pairs, [lambda side: side.reasoning_tokens], seed=0, resamples=10_000)
    usd, right = comparison.price_usd, comparison.accuracy
    cheaper = hidden.interval is not None and hidden.interval[1] < 0
    no_worse = right.interval is None or right.interval[1] >= 0
    text = (
        f"hidden tokens {change_text(hidden)}, US dollars per 1000 {change_text(usd, 1000, 3)}, "
        f"right {number(100 * (right.run or 0))} % against {number(100 * (right.baseline or 0))} %, "
        f"{change_text(right, 100)} points"
    )
    return text if cheaper and no_worse else f"no gain: {text}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["search", "held-out"])
    parser.add_argument("--questions", type=int, default=120)
    parser.add_argument("--seeds", type=lambda text: [int(n) for n in text.split(",")], default=[11, 12, 13])
    parser.add_argument("--concurrency", type=int, default=8)
    args = parser.parse_args()
    dspy.configure_cache(enable_disk_cache=False, enable_memory_cache=False)
    {"search": searches, "held-out": held_out}[args.what](args)


if __name__ == "__main__":
    main()
