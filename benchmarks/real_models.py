"""What budgets do on a real model, by wording: one run folder a program, and the table and figures of `tale report`.

    python benchmarks/real_models.py --model local:PATH --limit 200 --out runs/real
    python benchmarks/real_models.py --model openai/NAME --api-base http://127.0.0.1:8000/v1 --limit 200 --out runs/real
    python benchmarks/real_models.py --model local:PATH --data gsm8k-zero --limit 100 --only cot,dspy-cot,budget-100

Interrupted, the same line goes on where it was. `learned` is fitted on a search over `--train-limit` training questions
and never sees a question of `--data`. Rows with `chat` in their name are sent by `dspy.ChatAdapter`, and so is
`dspy-cot`, a plain `dspy.ChainOfThought`; `dspy-cot-budgeted` is what `tale_dspy.budgeted` makes of it, with no adapter
configured; all others are sent by `TaleAdapter`. `docs/real_models.md` shows and explains the results.
"""

import argparse
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dspy

import tale_dspy
from tale_dspy.adapter import TaleAdapter
from tale_dspy.prompt_forms import PAPER

BUDGETS = (25, 50, 100, 200)
PAPER_BUDGETS = (50, 100)
CHAT_BUDGETS = (50, 100)


DEMO_BUDGET, DEMO_QUESTIONS, DEMOS = 100, 24, 5


@dataclass(frozen=True)
class Row:
    """One program of the table."""

    name: str
    """Its folder, and what `--only` takes."""
    build: Callable[[str], Any]
    """Makes the program of a signature."""
    adapter: Any
    """What its prompts are rendered with; None where nothing is configured."""


def fixed(budget: int) -> Callable[[str], Any]:
    """Return what makes a chain of thought within a fixed budget."""
    return lambda signature: tale_dspy.BudgetedChainOfThought(signature, budget)


def converted(signature: str) -> Any:
    """Budget a plain `dspy.ChainOfThought` by the one line of the README."""
    return tale_dspy.budgeted(dspy.ChainOfThought(signature))


def rows() -> Iterator[Row]:
    """Give all programs that need no training questions, the references first."""
    default, paper = TaleAdapter(), TaleAdapter(PAPER)
    yield Row("cot", tale_dspy.VanillaCoT, default)
    yield Row("dspy-cot", dspy.ChainOfThought, dspy.ChatAdapter())
    for budget in BUDGETS:
        yield Row(f"budget-{budget}", fixed(budget), default)
    for budget in CHAT_BUDGETS:
        yield Row(f"chat-budget-{budget}", fixed(budget), dspy.ChatAdapter())
    for budget in PAPER_BUDGETS:
        yield Row(f"paper-budget-{budget}", fixed(budget), paper)
    yield Row("tale-ep", tale_dspy.TaleEP, default)
    yield Row("paper-tale-ep", tale_dspy.TaleEP, paper)
    yield Row("self-budgeted", tale_dspy.SelfBudgeted, default)
    yield Row("dspy-cot-budgeted", converted, None)
    yield Row("direct", tale_dspy.DirectAnswer, default)
    yield Row("concise", tale_dspy.Concise, default)
    yield Row("draft", tale_dspy.ChainOfDraft, default)


def demonstrated(args: argparse.Namespace, lm: tale_dspy.LM) -> Row:
    """Show the model its own short right replies to training questions, as demos of a budget."""
    train = tale_dspy.load_dataset(args.train_data).take(args.train_offset, DEMO_QUESTIONS)
    options: dict[str, Any] = {"lm": lm, "concurrency": args.concurrency, "timeout": args.timeout}
    folder = args.out / "demo-questions"
    tried = tale_dspy.evaluate(fixed(DEMO_BUDGET)(train.signature), train, adapter=TaleAdapter(), out=folder, **options)
    right = [r for r in tried.records if r.outcome == "correct" and (r.output_tokens or 0) <= 1.6 * DEMO_BUDGET]
    right.sort(key=lambda record: record.output_tokens or 0)
    chosen = right[:: max(1, len(right) // DEMOS)][:DEMOS]  # from the shortest to the longest
    program = fixed(DEMO_BUDGET)(train.signature)
    program.predict.demos = [
        dspy.Example(question=r.question, reasoning=reasoning(r), answer=r.answer, token_budget=DEMO_BUDGET)
        for r in chosen
    ]
    return Row("demos-100", lambda _: program, TaleAdapter())


def reasoning(record: Any) -> str:
    """Return what stands before the answer in a reply that ends with it."""
    return str(record.reply).rpartition("\n")[0].strip()


def searched(args: argparse.Namespace, lm: tale_dspy.LM) -> Row:
    """Search budgets of training questions, and give the program whose estimator has learned from them."""
    train = tale_dspy.load_dataset(args.train_data).take(args.train_offset, args.train_limit)
    search = tale_dspy.BudgetSearch(
        out=args.out / "search", lm=lm, adapter=TaleAdapter(), concurrency=args.concurrency, sampler=args.sampler
    )
    program = search.compile(tale_dspy.TaleEP(train.signature), trainset=train)
    print(search.summary)
    program.save(args.out / "learned.json")
    return Row("learned", lambda _: program, TaleAdapter())


def model(args: argparse.Namespace) -> tale_dspy.LM:
    """Return the greedy LM; a server is asked without a cache, and a local model needs no address."""
    where = {"api_base": args.api_base, "api_key": "none"} if args.api_base else {}
    return tale_dspy.LM(args.model, temperature=0.0, max_tokens=args.max_tokens, cache=False, **where)


def main() -> None:
    """Ask every program every question, then write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="local:PATH or any model string of tale_dspy.LM")
    parser.add_argument("--api-base", help="address of a server that speaks OpenAI's API")
    parser.add_argument("--data", default="gsm8k", help="a data set by name, or a file")
    parser.add_argument("--offset", type=int, default=0)
    parser.add_argument("--limit", type=int, default=200)
    parser.add_argument("--train-data", default="gsm8k-train", help="questions of the search")
    parser.add_argument("--train-offset", type=int, default=0)
    parser.add_argument("--train-limit", type=int, default=40, help="0 leaves the search out")
    parser.add_argument("--sampler", default="elastic", help="of the search")
    parser.add_argument("--only", help="names of programs, separated by commas")
    parser.add_argument("--max-tokens", type=int, default=700, help="of one reply")
    parser.add_argument("--concurrency", type=int, default=96)
    parser.add_argument("--timeout", type=float, default=3600.0, help="seconds of one call: a full batch is slow")
    parser.add_argument("--provenance", help="model, snapshot and date, for the report")
    parser.add_argument("--out", type=Path, default=Path("runs/real_models"))
    args = parser.parse_args()
    data, lm = tale_dspy.load_dataset(args.data).take(args.offset, args.limit), model(args)
    wanted = None if args.only is None else set(args.only.split(","))
    chosen = [row for row in rows() if wanted is None or row.name in wanted]
    if wanted is not None:
        chosen.sort(key=lambda row: args.only.split(",").index(row.name))
    if args.train_limit and (wanted is None or "learned" in wanted):
        chosen.append(searched(args, lm))
    if wanted is None or "demos-100" in wanted:
        chosen.append(demonstrated(args, lm))
    options: dict[str, Any] = {"lm": lm, "concurrency": args.concurrency, "provenance": args.provenance}
    options["timeout"] = args.timeout
    for row in chosen:
        run = tale_dspy.evaluate(
            row.build(data.signature), data, name=row.name, adapter=row.adapter, out=args.out / row.name, **options
        )
        print(f"{row.name}: {run.summary['accuracy']:.1%} of {run.summary['n']}", flush=True)
    folders = [str(args.out / row.name) for row in rows() if (args.out / row.name / "records.jsonl").is_file()]
    folders += [str(args.out / name) for name in ("demos-100", "learned") if (args.out / name).is_dir()]
    command = [sys.executable, "-m", "tale_dspy.cli.main", "report", *folders, "--out", str(args.out / "report")]
    subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
