"""What it costs a search of budgets to learn in shards: `tale search --ray` against the same search in one process.

    python benchmarks/ray_search.py --questions 400 --shards 8 --seeds 1,2,3
    python benchmarks/ray_search.py --questions 400 --shards 8 --cpus 8      # all shards at once

A scripted reasoner answers, whose replies follow their budget down to what the question needs; each seed draws other
questions and other needs. The shards share what their samplers learn through one actor, a moment late. Compared are the
tokens of what was found (a question without a budget counts with its answer without one) and the calls.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tale_dspy.testing import ScriptedServer, SolverReply
from tale_dspy.testing.problems import word_problems


@contextlib.contextmanager
def cluster_of(cpus: int | None) -> Iterator[str]:
    """Yield the address for `--ray`: a cluster of its own that runs so many shards at once, or `local`."""
    if cpus is None:
        yield "local"
        return
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0", "RAY_AUTH_MODE": "disabled"}
    from ray.cluster_utils import Cluster

    node = {"num_cpus": cpus, "object_store_memory": 80_000_000, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=node)
    try:
        yield cluster.address
    finally:
        cluster.shutdown()


def search(server: ScriptedServer, data: Path, out: Path, flags: dict[str, object]) -> dict[str, Any]:
    """Run the command, and return what it found and asked."""
    shared = {"data": data, "model": "openai/scripted", "api-base": server.url, "engine": "auto", "form": "paper"}
    command = [sys.executable, "-m", "tale_dspy.cli.main", "search", "--no-cache", "--json"]
    command += [part for name, value in {**shared, "out": out, **flags}.items() for part in (f"--{name}", str(value))]
    started = time.perf_counter()
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr[-3000:]
    rows = [json.loads(line) for line in (out / "search.jsonl").read_text().splitlines()]
    tokens = [(row["best"] or row["vanilla"])["tokens"] for row in rows if row["vanilla"]["correct"]]
    calls = sum(1 for _ in (out / "calls.jsonl").open())  # of a search in shards, too: they are put together
    return {
        "n": len(rows),
        "found": sum(row["best"] is not None for row in rows),
        "tokens": sum(tokens) / len(tokens),
        "calls": calls,
        "trials": sum(len(row["trials"]) for row in rows),
        "wall_s": round(time.perf_counter() - started, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=400)
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--cpus", type=int, help="shards at once; unset: those of --ray local")
    parser.add_argument("--in-flight", type=int, default=32, help="questions at once, of all shards together")
    parser.add_argument("--latency", type=float, default=0.1, help="seconds of a reply")
    parser.add_argument("--seeds", default="1,2,3")
    args = parser.parse_args()
    at_once = min(args.shards, args.cpus or os.cpu_count() or 1)
    with tempfile.TemporaryDirectory() as folder, cluster_of(args.cpus) as address:
        for seed in map(int, args.seeds.split(",")):
            rows = word_problems(args.questions, seed=seed)
            data = Path(folder) / f"{seed}.jsonl"
            data.write_text("".join(json.dumps({k: r[k] for k in ("question", "answer")}) + "\n" for r in rows))
            reply = SolverReply({row["question"]: row["answer"] for row in rows}, seed=seed)
            with ScriptedServer(reply, latency=args.latency, record=0) as server:
                one = search(server, data, Path(folder) / f"{seed}-one", {"concurrency": args.in_flight})
                flags = {"concurrency": args.in_flight // at_once, "ray": address, "shards": args.shards}
                sharded = search(server, data, Path(folder) / f"{seed}-shards", flags)
            more = {name: round(100 * (sharded[name] / one[name] - 1), 2) for name in ("tokens", "calls", "trials")}
            print(json.dumps({"seed": seed, "one": one, "sharded": sharded, "more_percent": more}), flush=True)


if __name__ == "__main__":
    main()
