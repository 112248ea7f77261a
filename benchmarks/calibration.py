"""Does the guarantee of `calibrate` hold? Many calibrations on resampled splits, each against the questions left out.

Asks a server (or the model in this process) all questions once without a budget and once under each scale, through the
run engine; a folder keeps the answers. Then `--splits` times draws `--n` questions, calibrates on these, and counts
what the chosen scale loses among all others. A guarantee is broken where that is more than epsilon, which may happen in
a share delta of the splits at most: an exact binomial test tells.

    python benchmarks/calibration.py --model openai/gpt-4o-mini --api-base http://127.0.0.1:8123/v1 --data gsm8k-train
"""

import argparse
import json
import random
from pathlib import Path
from typing import Any

from scipy.stats import binomtest

import tale_dspy
from tale_dspy.optimizers.calibrate import in_sequence
from tale_dspy.optimizers.calibration_settings import SCALES
from tale_dspy.optimizers.scaling import scaled
from tale_dspy.programs.convert import unbudgeted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--api-base")
    parser.add_argument("--data", default="embedded:dev")
    parser.add_argument("--limit", type=int, default=2000)
    parser.add_argument("--budget", type=int, help="one fixed budget; unset: TALE-EP")
    parser.add_argument("--epsilon", type=float, default=0.02)
    parser.add_argument("--delta", type=float, default=0.1)
    parser.add_argument("--n", type=int, default=400)
    parser.add_argument("--splits", type=int, default=400)
    parser.add_argument("--out", type=Path, default=Path("runs/calibration"))
    args = parser.parse_args()

    data = tale_dspy.load_dataset(args.data).take(0, args.limit)
    server: dict[str, Any] = {"api_base": args.api_base, "api_key": "none"} if args.api_base else {}
    lm = tale_dspy.LM(args.model, engine="auto", cache=False, **server)
    lost, tokens = losses(data, lm, args.budget, args.out)
    shares = resampled(lost, tokens, args.n, args.epsilon, args.delta, args.splits)
    print(
        json.dumps({**shares, "questions": len(data), "lost": {s: sum(v) / len(v) for s, v in lost.items()}}, indent=1)
    )


def losses(
    data: tale_dspy.Dataset, lm: Any, budget: int | None, out: Path
) -> tuple[dict[float, list[bool]], dict[float, float | None]]:
    """Return for each scale which questions are lost, and mean tokens."""
    program: Any = tale_dspy.TaleEP(data.signature)
    if budget:
        program = tale_dspy.BudgetedChainOfThought(data.signature, budget)
    vanilla = tale_dspy.evaluate(unbudgeted(program), data, lm=lm, out=out / "vanilla")
    right = {r.id: r.correct for r in vanilla.records}
    lost, tokens = {}, {}
    for scale in SCALES:
        run = tale_dspy.evaluate(scaled(program, scale), data, lm=lm, out=out / f"scale-{scale:g}")
        lost[scale] = [right[r.id] and not r.correct for r in sorted(run.records, key=lambda r: r.id)]
        tokens[scale] = run.summary["output_tokens_mean"]
    return lost, tokens


def resampled(
    lost: dict[float, list[bool]], tokens: dict[float, float | None], n: int, epsilon: float, delta: float, splits: int
) -> dict[str, Any]:
    """Calibrate on splits of the questions, and count the guarantees that the others of each break."""
    chance, size = random.Random(0), len(lost[SCALES[0]])
    chosen: dict[str, int] = {}
    broken = 0
    for _ in range(splits):
        sample = chance.sample(range(size), k=n)
        losses = {s: sum(lost[s][i] for i in sample) for s in SCALES}
        passed = [t.scale for t in in_sequence(((s, n, losses[s], None) for s in SCALES), epsilon, delta) if t.passed]
        scale = min(passed, default=None)
        chosen[str(scale)] = chosen.get(str(scale), 0) + 1
        broken += scale is not None and (sum(lost[scale]) - losses[scale]) / (size - n) > epsilon
    p = binomtest(broken, splits, delta, alternative="greater").pvalue
    return {
        "epsilon": epsilon,
        "delta": delta,
        "n": n,
        "splits": splits,
        "broken": broken,
        "broken_share": broken / splits,
        "p_more_than_delta": p,
        "kept": bool(p > 0.05),
        "chosen": dict(sorted(chosen.items())),
        "tokens": tokens,
    }


if __name__ == "__main__":
    main()
