"""Questions a second of one process against `--ray local`, on the cores of this machine, in alternating rounds.

    python benchmarks/ray_throughput.py --questions 20000 --shards 8 --rounds 3

A scripted server in a process of its own answers at once, so that the library's own work is measured. A round is the
whole command, imports, the start of Ray and the merge included; `asking` counts from the first request to the last
reply, on the server's clock. Both must end with the same figures.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from statistics import median
from typing import Any

from tale_dspy.testing.problems import word_problems

SAME = ("n", "accuracy", "output_tokens_mean", "prompt_tokens_mean", "cost_usd", "outcomes", "paid_calls")


def evaluate(url: str, data: Path, out: Path, flags: list[str]) -> dict[str, Any]:
    """Run the command, and return its summary with the seconds and the CPU seconds it took."""
    command = [sys.executable, "-m", "tale_dspy.cli.main", "eval", "cot", "--no-cache", "--json", "--engine", "auto"]
    command += ["--data", str(data), "--model", "openai/scripted", "--api-base", url, "--out", str(out)]
    command += ["--price-in", "1", "--price-out", "4", *flags]
    reset = urllib.request.Request(url.removesuffix("/v1") + "/reset", method="POST")
    urllib.request.urlopen(reset, timeout=10).close()
    started = time.perf_counter()
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - started
    with urllib.request.urlopen(url.removesuffix("/v1") + "/stats", timeout=10) as reply:
        asking = json.load(reply)["window_s"]
    assert process.returncode == 0, process.stderr[-2000:]
    summary: dict[str, Any] = json.loads(process.stdout)
    return {**{name: summary[name] for name in SAME}, "seconds": seconds, "asking": asking}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=20_000)
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    ways = {"one process": [], "ray": ["--ray", "local", "--shards", str(args.shards)]}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    asking: dict[str, list[float]] = {name: [] for name in ways}
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data.jsonl"
        rows = [{"question": r["question"], "answer": r["answer"]} for r in word_problems(args.questions)]
        data.write_text("".join(json.dumps(row) + "\n" for row in rows))
        server = [sys.executable, "-m", "tale_dspy.testing.server", "--bank", str(data)]
        with subprocess.Popen(server, stdout=subprocess.PIPE, text=True, env=dict(os.environ)) as process:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            try:
                for number in range(args.rounds):
                    figures = []
                    for name, flags in ways.items():
                        summary = evaluate(url, data, Path(folder) / f"{number}-{len(flags)}", flags)
                        seconds[name].append(round(summary.pop("seconds"), 1))
                        asking[name].append(round(summary.pop("asking"), 1))
                        figures.append(summary)
                    assert figures[0] == figures[1], figures
            finally:
                process.terminate()
    gains = {kind: gain_of(values) for kind, values in (("command", seconds), ("asking", asking))}
    print(json.dumps({"seconds": seconds, "asking": asking, "gain": gains, "load": os.getloadavg()}))


def gain_of(seconds: dict[str, list[float]]) -> float:
    """Return how many times as many questions a second Ray's workers do, by the medians."""
    return round(median(seconds["one process"]) / median(seconds["ray"]), 2)


if __name__ == "__main__":
    main()
