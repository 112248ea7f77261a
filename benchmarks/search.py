"""What a search of budgets costs, how good it is, and what the estimators it makes are worth on other questions.

    python benchmarks/search.py cost --url http://127.0.0.1:8123/v1 --questions 1000 --concurrency 64 --latency 0.1
    python benchmarks/search.py quality --url http://127.0.0.1:8123/v1 --questions 400 --oracle
    python benchmarks/search.py estimators --model embedded --data embedded:train --test embedded:dev --questions 400

`cost`: CPU and wall of a search against the floor for the calls it makes; the server must answer /stats and /reset. The
line above, on two cores: 1.16 to 1.24 times the floor with nothing beside it, 1.19 in the median of 10 runs; 1.18 to
1.45, 1.28 in the median of 12, with other work on one of them. 9.8 to 11.2 ms CPU a question for its 5.8 calls, about
half of it DSPy's own call: that is what binds, as the floor is 9 ms a question.
`quality`: tokens and accuracy of the chosen budgets on fresh draws, and with --oracle against the best budget there is
(the server must answer /oracle?q=). `estimators`: the learned estimators and the zero-shot one on questions that were
not searched: in-range accuracy by a grid of every question's budgets, and net tokens, paired.
"""

import argparse
import json
import math
import os
import time
import urllib.parse
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import Any

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import dspy

import tale_dspy
from tale_dspy.optimizers.few_shot import few_shot
from tale_dspy.optimizers.samplers import GridSampler
from tale_dspy.optimizers.search.gain import compare_with_fixed
from tale_dspy.optimizers.search.ideal_range import estimated_budgets, ideal_range_metrics
from tale_dspy.optimizers.search.records import SearchRow


def get(url: str, page: str) -> Any:
    """Ask the server for one of its own pages."""
    request = urllib.request.Request(f"{url.removesuffix('/v1')}/{page}", method="POST" if page == "reset" else "GET")
    with urllib.request.urlopen(request, timeout=30) as reply:
        return json.load(reply)


def model(args: argparse.Namespace) -> tale_dspy.LM:
    """Return the LM, without a cache."""
    where = {"api_base": args.url, "api_key": "none"} if args.url else {}
    sampling = {} if args.temperature is None else {"temperature": args.temperature}
    return tale_dspy.LM(args.model, engine=args.engine, cache=False, **where, **sampling)


def searched(args: argparse.Namespace, data: tale_dspy.Dataset, **options: Any) -> tuple[tale_dspy.BudgetSearch, Any]:
    """Search, and return the optimizer and the program."""
    defaults: dict[str, Any] = {"sampler": args.sampler, "repeats": args.repeats, "concurrency": args.concurrency}
    search = tale_dspy.BudgetSearch(**{**defaults, "lm": model(args), **options})
    return search, search.compile(tale_dspy.TaleEP(data.signature), trainset=data)


def cost(args: argparse.Namespace) -> None:
    """Measure CPU, and wall from the first request to the last reply."""
    data = tale_dspy.load_dataset(args.data)
    searched(args, data.take(args.questions, 30))  # imports and connections are paid once and not per question
    get(args.url, "reset")
    cpu, wall = time.process_time(), time.perf_counter()
    search, _ = searched(args, data.take(0, args.questions))
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    stats = get(args.url, "stats")
    plain = tale_dspy.VanillaCoT(data.signature)
    once = time.process_time()
    tale_dspy.evaluate(plain, data.take(0, min(300, args.questions)), lm=model(args), concurrency=args.concurrency)
    per_call = (time.process_time() - once) / min(300, args.questions)
    requests, floor = stats["requests"], math.ceil(stats["requests"] / args.concurrency) * args.latency
    print(f"{requests} calls for {args.questions} questions ({requests / args.questions:.2f} each, tests included)")
    print(f"CPU {1000 * cpu / args.questions:.1f} ms a question, {1000 * cpu / requests:.2f} ms a call")
    print(f"CPU of a plain call in evaluate {1000 * per_call:.2f} ms")
    search_ms = 1000 * (cpu - per_call * requests) / args.questions
    print(f"CPU of the search itself {search_ms:.1f} ms a question, the fit of the estimator included")
    print(f"wall {stats['window_s']:.2f} s (process {wall:.2f} s), floor {floor:.2f} s", end="")
    print(f": {stats['window_s'] / floor:.2f} x" if floor else "")
    print(search.summary)


def quality(args: argparse.Namespace) -> None:
    """Measure the chosen budgets on fresh draws, against no budget, the best fixed one and the best there is."""
    data = tale_dspy.load_dataset(args.data).take(0, args.questions)
    search, _ = searched(args, data)
    summary = search.summary
    print(
        f"{summary['trials_mean']:.2f} budgets tried a question that was searched, "
        f"{summary['draws'] / summary['n']:.2f} calls"
    )
    print({k: summary[k] for k in ("n", "vanilla_right", "found", "no_gain", "not_confirmed", "wrong", "errors")})
    with_trials = [row for row in search.rows if row.trials]
    left = [row.best.tokens if row.best else row.vanilla.tokens or 0 for row in with_trials]
    print(f"tokens of the best found {sum(left) / len(left):.2f}, without a budget {_mean_vanilla(with_trials):.2f}")
    if args.oracle:
        best = oracle(args, with_trials)
        pairs = [
            (tokens, best[row.id]["tokens"])
            for row, tokens in zip(with_trials, left, strict=True)
            if best[row.id]["solvable"]
        ]
        print(f"tokens over the oracle's {sum(t for t, _ in pairs) / sum(o for _, o in pairs):.3f}")
    student = tale_dspy.TaleEP(data.signature)
    options: dict[str, Any] = {"lm": model(args), "concurrency": args.concurrency, "repeats": args.draws}
    gain = compare_with_fixed(student, search.rows, data, **options)
    print(gain)
    ids = {row.id for row in with_trials}
    plain = tale_dspy.evaluate(tale_dspy.VanillaCoT(data.signature), data, **options)
    fresh = [r for r in plain.records if r.id in ids]
    right = sum(r.correct for r in fresh) / len(fresh)
    accuracy = gain.comparison.accuracy.run or 0.0
    print(f"fresh draws: {100 * accuracy:.1f} % right with the chosen budgets, {100 * right:.1f} % without a budget")


def _mean_vanilla(rows: list[SearchRow]) -> float:
    return sum(row.vanilla.tokens or 0 for row in rows) / len(rows)


def oracle(args: argparse.Namespace, rows: list[SearchRow]) -> dict[str, Any]:
    """Ask the server for the best budget of each question."""
    pages = [f"oracle?q={urllib.parse.quote(str(row.question))}" for row in rows]
    with ThreadPoolExecutor(8) as pool:
        texts = pool.map(lambda page: get(args.url, page), pages)
        return dict(zip([row.id for row in rows], texts, strict=True))


def estimators(args: argparse.Namespace) -> None:
    """Set the learned estimators against the zero-shot one, on questions that were not searched."""
    data = tale_dspy.load_dataset(args.data).take(0, args.questions)
    rest = tale_dspy.load_dataset(args.test or args.data)
    rest = rest.take(0 if args.test else args.questions, args.held_out)
    zero = tale_dspy.TaleEP(data.signature)
    search, learned = searched(args, data)
    few = tale_dspy.TaleEP(data.signature, few_shot(search.rows, data.signature))
    every = GridSampler(points=args.points)
    grid = tale_dspy.BudgetSearch(sampler=every, repeats=0, lm=model(args), concurrency=args.concurrency)
    grid.compile(zero, trainset=rest)
    rows = [row for row in grid.rows if row.trials]
    options: dict[str, Any] = {"lm": model(args), "concurrency": args.concurrency}
    base = tale_dspy.evaluate(zero, rest, name="zero-shot", **options)
    print(f"regression: {learned.estimator.fitted}")
    for name, program in (("zero-shot", zero), ("regression", learned), ("few-shot", few)):
        with dspy.context(lm=model(args)):
            budgets = estimated_budgets(program.estimator, rows, args.concurrency)
        print(f"\n{name}: {ideal_range_metrics(budgets, rows)}")
        if program is not zero:
            print(tale_dspy.evaluate(program, rest, name=name, **options).compare(base))
    plain = tale_dspy.evaluate(tale_dspy.VanillaCoT(data.signature), rest, **options)
    right, tokens = 100 * (plain.accuracy or 0), plain.summary["output_tokens_mean"]
    print(f"\nwithout a budget: {right:.1f} % right, {tokens:.1f} tokens")
    print(compare_with_fixed(zero, search.rows, data, **options))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["cost", "quality", "estimators"])
    parser.add_argument("--url", help="an OpenAI-compatible server")
    parser.add_argument("--model", default="openai/gpt-4o-mini")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--data", default="gsm8k-train")
    parser.add_argument("--test", help="held-out questions of `estimators`; default: those behind the searched ones")
    parser.add_argument("--questions", type=int, default=400)
    parser.add_argument("--held-out", type=int, default=200)
    parser.add_argument("--points", type=int, default=24, help="budgets of the grid of `estimators`")
    parser.add_argument("--draws", type=int, default=3, help="fresh draws of each question in `quality`")
    parser.add_argument("--sampler", default="elastic")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--latency", type=float, default=0.1, help="seconds; the server's, for the floor of `cost`")
    parser.add_argument("--temperature", type=float)
    parser.add_argument("--oracle", action="store_true")
    args = parser.parse_args()
    dspy.configure_cache(enable_disk_cache=False, enable_memory_cache=False)
    {"cost": cost, "quality": quality, "estimators": estimators}[args.what](args)


if __name__ == "__main__":
    main()
