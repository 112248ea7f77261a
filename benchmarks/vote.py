"""Adaptive self-consistency against all 16 votes: who is right, in how many calls.

    python benchmarks/vote.py --limit 300                            # the embedded model
    python benchmarks/vote.py --model openai/NAME --api-base http://127.0.0.1:8000/v1 --data gsm8k --limit 80

One reply, all votes that could still change the winner, and `Vote` at each `--confidence` are asked the same questions
at temperature 0.7. The i-th vote of a question is the same draw in each (DSPy's cache holds it), so that the
rows differ in nothing but when they stop. Differences are paired, with 95 % bootstrap intervals.
"""

import argparse
import os
import re
from pathlib import Path
from statistics import fmean

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import dspy

import tale_dspy
from tale_dspy.comparison.compare import compare
from tale_dspy.programs.spec import program_from
from tale_dspy.programs.vote import DEFAULT_CONFIDENCE

VOTES = 16


def main() -> None:
    """Ask the three, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--api-base", help="address of a server that speaks OpenAI's API")
    parser.add_argument("--data", default="embedded:test")
    parser.add_argument("--limit", type=int, default=300)
    parser.add_argument("--program", default="cot", help="what is asked for each vote")
    parser.add_argument("--confidence", type=float, nargs="+", default=[DEFAULT_CONFIDENCE], help="of the leader")
    parser.add_argument("--temperature", type=float, default=0.7)
    parser.add_argument("--max-tokens", type=int, default=500, help="of one reply")
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--timeout", type=float, default=3600.0, help="seconds of one call")
    parser.add_argument("--out", type=Path, default=Path("runs/vote"))
    args = parser.parse_args()
    # The two caches of this process: the draws of a question are shared by the three rows, and by a second start.
    dspy.configure_cache(disk_cache_dir=str(args.out / "draws"))
    where = {"api_base": args.api_base, "api_key": "none"} if args.api_base else {}
    lm = tale_dspy.LM(args.model, cache=True, temperature=args.temperature, max_tokens=args.max_tokens, **where)
    data = tale_dspy.load_dataset(args.data).take(0, args.limit)
    votes = {"one reply": (1, 1.0), f"all {VOTES} votes": (VOTES, 1.0)}
    votes |= {f"Vote, {confidence:.0%} sure": (VOTES, confidence) for confidence in args.confidence}
    runs = {}
    for name, (most, confidence) in votes.items():
        asked = program_from(args.program, data.signature)
        program = tale_dspy.Vote(asked, most, confidence, temperature=args.temperature)
        options = {"concurrency": args.concurrency, "timeout": args.timeout, "name": name}
        runs[name] = tale_dspy.evaluate(program, data, lm=lm, out=args.out / re.sub(r"\W+", "-", name), **options)
        print(f"{name}: {runs[name].summary['accuracy']:.1%} of {runs[name].summary['n']}", flush=True)
    print(f"\n| {args.model}, {args.program} | n | right % | calls | output tokens | points against all {VOTES} |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for name, run in runs.items():
        accuracy = compare(runs[f"all {VOTES} votes"], run).accuracy
        low, high = (100 * bound for bound in accuracy.interval)
        calls = fmean(float(record.votes or 1) for record in run.records)
        tokens = fmean(float(record.output_tokens or 0) for record in run.records)
        summary = run.summary
        print(
            f"| {name} | {summary['n']} | {100 * summary['accuracy']:.1f} | {calls:.1f} | {tokens:.0f} "
            f"| {100 * accuracy.difference:+.1f} [{low:+.1f}, {high:+.1f}] |"
        )


if __name__ == "__main__":
    main()
