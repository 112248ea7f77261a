"""One call or two? SelfBudgeted, which states its budget itself, against TALE-EP, which is asked for it first.

    python benchmarks/self_budgeted.py                  # the scripted solver, and the model that ships
    python benchmarks/self_budgeted.py --model openai/gpt-4o-mini --data gsm8k --limit 200 --max-usd 1

Both answer the same questions; every difference is paired, with its 95 % bootstrap interval, and where one call is not
the cheaper one the table says so. `cot` is shown beside them. The solver is a script, which keeps to a budget that it
states as to one that it is given: its rows show what the second call costs, and nothing about models. Money is at the
prices of gpt-4o-mini, for models that cost nothing, too.
"""

import argparse
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROGRAMS = ("cot", "tale-ep", "self-budgeted")


@contextmanager
def solver(limit: int) -> Iterator[tuple[Any, Any]]:
    """Give word problems, and an LM that is the scripted solver."""
    import dspy

    import tale_dspy
    from tale_dspy.testing import ScriptedServer, SolverReply, word_problems

    rows = word_problems(limit)
    examples = [dspy.Example(**row).with_inputs("question") for row in rows]
    with ScriptedServer(SolverReply({r["question"]: r["answer"] for r in rows}), record=0) as server:
        yield examples, tale_dspy.LM("openai/scripted", engine="auto", api_base=server.url, api_key="none", cache=False)


@contextmanager
def model(name: str, args: argparse.Namespace) -> Iterator[tuple[Any, Any]]:
    """Give questions, and a model."""
    import tale_dspy

    settings = {"api_base": args.api_base, "max_tokens": args.max_tokens}
    chosen = {k: v for k, v in settings.items() if v is not None}
    yield (
        tale_dspy.load_dataset(args.data).take(0, args.limit),
        tale_dspy.LM(name, engine="auto", cache=False, **chosen),
    )


def measure(name: str, endpoint: tuple[Any, Any], args: argparse.Namespace) -> None:
    """Ask all three programs, and print a table."""
    import tale_dspy
    from tale_dspy.comparison.paired import pair_runs, paired_means
    from tale_dspy.programs.spec import program_from

    examples, lm = endpoint
    runs = {}
    for program in PROGRAMS:
        out = args.out and args.out / f"{name.replace('/', '-')}--{program}"
        built = program_from(program, "question -> answer")
        runs[program] = tale_dspy.evaluate(built, examples, lm=lm, name=program, out=out, max_usd=args.max_usd)

    figures: dict[str, Callable[[Any], Any]] = {
        "net output tokens": lambda c: c.net_tokens,
        "prompt tokens": lambda c: c.prompt_tokens,
        "USD per 1000": lambda c: (c.prompt_tokens * args.price_in + c.net_tokens * args.price_out) / 1000,
        "right, %": lambda c: 100.0 * c.is_correct,
    }
    print(f"\n{name}: {len(examples)} questions\n")
    print("| | " + " | ".join(PROGRAMS) + " | self-budgeted - tale-ep | |")
    print("| --- |" + " ---: |" * (len(PROGRAMS) + 1) + " --- |")
    pairs = pair_runs(runs["tale-ep"], runs["self-budgeted"])
    for figure, means in zip(
        figures, paired_means(pairs, list(figures.values()), seed=0, resamples=10_000), strict=True
    ):
        cells = [_mean(figures[figure](runs[program].columns)) for program in PROGRAMS]
        print(f"| {figure} | " + " | ".join(cells) + f" | {_difference(means)} | {_verdict(figure, means)} |")
    spent = [(r.output_tokens, r.token_budget) for r in runs["self-budgeted"].records]
    stated = [(tokens, budget) for tokens, budget in spent if tokens is not None and budget is not None]
    share = sum(tokens <= budget for tokens, budget in stated) / max(1, len(stated))
    print(f"\n{len(stated) / len(spent):.1%} of the replies state a budget, {share:.1%} of these keep to it.")


def _mean(values: Any) -> str:
    mean = float(values.mean())
    return "unknown" if mean != mean else f"{mean:.4g}"


def _difference(means: Any) -> str:
    if means.interval is None:
        return "unknown"
    return f"{means.difference:+.3g} [{means.interval[0]:+.3g}, {means.interval[1]:+.3g}]"


def _verdict(figure: str, means: Any) -> str:
    if means.interval is None:
        return ""
    low, high = means.interval
    if figure.startswith("right"):
        return "fewer are right" if high < 0 else "more are right" if low > 0 else "no difference seen"
    return "one call is cheaper" if high < 0 else "**one call is dearer**" if low > 0 else "**not fewer**"


def main() -> None:
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a model; unset measures the solver and the model that ships")
    parser.add_argument("--api-base")
    parser.add_argument("--data", default="embedded:test")
    parser.add_argument("--limit", type=int, default=500)
    parser.add_argument("--max-tokens", type=int)
    parser.add_argument("--max-usd", type=float)
    parser.add_argument("--price-in", type=float, default=0.15, help="US dollars per million tokens")
    parser.add_argument("--price-out", type=float, default=0.60, help="US dollars per million tokens")
    parser.add_argument("--out", type=Path, help="folder of the runs; the same command continues them")
    args = parser.parse_args()
    if not args.model:
        with solver(args.limit) as endpoint:
            measure("scripted solver", endpoint, args)
    with model(args.model or "embedded", args) as endpoint:
        measure(args.model or "embedded", endpoint, args)


if __name__ == "__main__":
    main()
