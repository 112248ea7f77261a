"""TALE-PT from the search to the final table: every row is a run folder that `tale` made and anybody can open.

    python benchmarks/tale_pt.py [--out runs/tale-pt] [--questions 5000] [--searched 2000]

Runs the commands it prints, one after the other, each of which can be typed alone: it searches the budgets of training
questions, distils the short replies for the paper's prompt and for DSPy's own, trains with SFT, DPO and, from where SFT
ended, GRPO, asks every program unseen questions, lets the gate decide on each tuned model, and prints the table with
`tale report`. Ended at any moment, the same command continues; what is finished is only read.
"""

import argparse
import os
import shlex
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

from tale_dspy.cli.main import main as tale

PROMPTS = ("cot", "dspy-cot")
"""Programs that the rows are distilled for, trained on, and asked with: the paper's prompt, and plain DSPy's."""
OTHERS = ("direct", "concise", "budget:best", "tale-ep")
"""What else the plain model is asked with."""
LIMITS = {"sft": ("0.7", "0.01"), "dpo": ("0.65", "0.02"), "grpo": ("0.3", "0.01")}
"""What the gate asks of each strategy: least saving, largest drop in accuracy."""
REWARDED = 400
"""Rows for GRPO, whose every step writes replies; the paper's prompt only. It goes on from where SFT ended: the plain
model never writes a short reply, so that there is none to reward."""


@dataclass(frozen=True)
class Road:
    """Where everything goes, and how much of it there is."""

    out: Path
    model: str
    questions: int
    searched: int

    @property
    def test(self) -> str:
        return f"embedded:test:{self.questions}"

    @property
    def adapters(self) -> list[tuple[str, str]]:
        """Strategies, each with the program it is trained for."""
        return [(strategy, p) for p in PROMPTS for strategy in LIMITS if (strategy, p) != ("grpo", "dspy-cot")]

    def commands(self) -> Iterator[tuple[str, ...]]:
        """Yield the commands, in order: first all of the paper's prompt, then DSPy's."""
        out, base = self.out, self.model
        yield (
            "search",
            "--model",
            base,
            "--data",
            f"embedded:train:{self.searched}",
            "--no-cache",
            "--out",
            f"{out}/search",
        )
        for program in PROMPTS:
            for form in ("sft", "dpo"):
                output = ("--exclude", self.test, "--out", f"{out}/{form}-{program}.jsonl")
                yield "distill", f"{out}/search", "--format", form, "--program", program, *output
            yield self._ask(program, base, program)
            for strategy in (strategy for strategy, trained in self.adapters if trained == program):
                yield from self._prove(strategy, program)
            for other in OTHERS if program == "cot" else ():
                yield self._ask(other, base, other.replace(":", "-"))
            if program == "cot":
                yield self._ask(f"{out}/search/program.json", base, "searched")
        yield "report", *self.rows(), "--out", f"{out}/report"

    def _prove(self, strategy: str, program: str) -> Iterator[tuple[str, ...]]:
        yield self._train(strategy, program)
        name, (saving, drop) = f"{strategy}-{program}", LIMITS[strategy]
        yield self._ask(program, f"local:{self._base(strategy).removeprefix('local:')}+{self.out}/{name}", name)
        limits = ("--min-saving", saving, "--max-drop", drop)
        yield "gate", f"{self.out}/runs/{program}", f"{self.out}/runs/{name}", *limits

    def rows(self) -> list[str]:
        """Return the folders of the table, the plain model first."""
        plain = ("cot", "direct", "concise", "budget-best", "tale-ep", "searched")
        behind = {p: [f"{strategy}-{program}" for strategy, program in self.adapters if program == p] for p in PROMPTS}
        names = (*plain, *behind["cot"], "dspy-cot", *behind["dspy-cot"])
        return [*(f"{self.out}/runs/{name}" for name in names), f"{self.out}/search"]

    def _base(self, strategy: str) -> str:
        return f"{self.out}/sft-cot-merged" if strategy == "grpo" else self.model

    def _train(self, strategy: str, program: str) -> tuple[str, ...]:
        # Rewards need the questions and their answers alone. In DSPy's form the plain model has never written a short
        # reply, and learns it more slowly.
        form, shares = {
            ("sft", "cot"): ("sft", ("--learning-rate", "0.0005", "--merge-to", self._base("grpo"))),
            ("dpo", "cot"): ("dpo", ("--learning-rate", "0.0005")),
            ("grpo", "cot"): ("sft", ("--epochs", f"{min(1.0, REWARDED / self.searched):g}")),
            ("sft", "dspy-cot"): ("sft", ("--epochs", "8")),
            ("dpo", "dspy-cot"): ("dpo", ("--epochs", "2")),
        }[strategy, program]
        data = ("--data", f"{self.out}/{form}-{program}.jsonl", *shares)
        return "train", strategy, "--base", self._base(strategy), *data, "--out", f"{self.out}/{strategy}-{program}"

    def _ask(self, program: str, model: str, name: str) -> tuple[str, ...]:
        return "eval", program, "--model", model, "--data", self.test, "--no-cache", "--out", f"{self.out}/runs/{name}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/tale-pt"), help="folder of everything")
    parser.add_argument("--model", default="embedded", help="embedded, or local:PATH of a model for its stories")
    parser.add_argument("--questions", type=int, default=5000, help="unseen ones that every program is asked")
    parser.add_argument("--searched", type=int, default=2000, help="training questions")
    args = parser.parse_args()
    started = time.perf_counter()
    for command in Road(args.out, args.model, args.questions, args.searched).commands():
        print(f"\n$ tale {shlex.join(command)}", flush=True)
        begun = time.perf_counter()
        code = tale(command)
        print(f"# {time.perf_counter() - begun:.0f} s", flush=True)
        if code and command[0] != "gate":  # a model that fails the gate has its row all the same
            return code
    print(f"# {(time.perf_counter() - started) / 60:.1f} minutes in all")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
