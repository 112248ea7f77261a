"""A run on two Ray nodes of which one is killed again and again: is anything lost, doubled, or paid beyond the cap?

    python benchmarks/ray_kills.py --kills 5 --questions 2000

`tale eval tale-ep --ray` asks a scripted server of which 10 % of the prompts meet a fault, with 64 questions at once
over two nodes on this machine. One node is killed (SIGKILL to all its processes) at random moments and another takes
its place. Then the same with a cap in dollars that is too small. At the end each question must have one record, no call
may be journalled twice, no more may have been paid again than was in flight at the kills, and what the server answered
must not cost more than the cap.
"""

import argparse
import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tale_dspy.testing import Faults, ScriptedServer, SolverReply
from tale_dspy.testing.problems import word_problems

KINDS = ("rate_limited", "server_error", "dropped", "malformed", "null_content")
PRICE_IN, PRICE_OUT = 1.0, 4.0
"""US dollars per million tokens."""
SETTINGS = {"health_check_period_ms": 1000, "health_check_timeout_ms": 5000, "health_check_failure_threshold": 3}


@contextlib.contextmanager
def two_nodes(cpus: int) -> Iterator[tuple[Any, list[Any]]]:
    """Yield a cluster and the list of its nodes that may be killed."""
    os.environ |= {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_worker_niceness": "0",
        "RAY_raylet_start_wait_time_s": "300",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "RAY_AUTH_MODE": "disabled",
    }
    from ray.cluster_utils import Cluster

    node = {"num_cpus": cpus, "object_store_memory": 80_000_000, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "_system_config": SETTINGS})
    try:
        yield cluster, [start_node(cluster, cpus)]
    finally:
        cluster.shutdown()


def start_node(cluster: Any, cpus: int) -> Any:
    """Add a node; on a busy machine Ray sometimes gives up before it has started."""
    for left in (2, 1, 0):
        try:
            return cluster.add_node(num_cpus=cpus, object_store_memory=80_000_000)
        except Exception:  # a plain Exception is what Ray raises
            if not left:
                raise
    return None


def evaluate(
    server: ScriptedServer, cluster: Any, nodes: list[Any], data: Path, out: Path, args: Any, share: float, cap: float
) -> dict[str, Any]:
    """Run the command to its end, with kills on the way, and return what it printed and met."""
    per_shard = args.in_flight // (2 * args.cpus)
    flags = {
        "data": data,
        "model": "openai/scripted",
        "api-base": server.url,
        "engine": "auto",
        "max-tokens": 300,
        "price-in": PRICE_IN,
        "price-out": PRICE_OUT,
        "concurrency": per_shard,
        "ray": cluster.address,
        "shards": args.shards,
        "max-usd": cap,
        "out": out,
    }
    command = [sys.executable, "-m", "tale_dspy.cli.main", "eval", "tale-ep", "--no-cache", "--json"]
    command += [part for name, value in flags.items() for part in (f"--{name}", str(value))]
    rng = random.Random(args.seed)
    # Moments of the kills: spread over the requests that the run takes at least.
    expected = server.stats.requests + int(2 * args.questions * min(1.0, share))
    moments = sorted(rng.randint(server.stats.requests + 2 * per_shard, int(0.8 * expected)) for _ in range(args.kills))
    kills_made, in_flight = 0, 0
    log = out.with_suffix(".log")  # no pipe: Ray has much to say of a node that is lost
    with (
        log.open("w") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        while process.poll() is None:
            if kills_made < len(moments) and nodes and server.stats.requests >= moments[kills_made]:
                in_flight += per_shard * args.cpus  # at most; what the server sees changes until the node is dead
                cluster.remove_node(nodes.pop(), allow_graceful=False)
                kills_made += 1
                if kills_made < len(moments):
                    nodes.append(start_node(cluster, args.cpus))
            time.sleep(0.02)
        assert process.stdout is not None
        printed = process.stdout.read()
    assert process.returncode in (0, 3), f"exit code {process.returncode}: {log.read_text()[-2000:]}"
    return {"code": process.returncode, "kills": kills_made, "in_flight": in_flight, **json.loads(printed)}


def check(summary: dict[str, Any], out: Path, server: ScriptedServer, cap: float, count: int) -> dict[str, Any]:
    """Compare records, journals, summary and what the server has answered; raise where they do not agree."""
    records = [json.loads(line) for path in out.glob("*/records.jsonl") for line in path.read_text().splitlines()]
    calls = [json.loads(line) for path in out.glob("*/calls.jsonl") for line in path.read_text().splitlines()]
    answered = [call for call in calls if call["error"] is None]
    ids = Counter(record["id"] for record in records)
    places = Counter((c["id"], c["repeat"], c["key"], c["step"]) for c in answered)
    stats = server.stats
    prompt, output = stats.prompt_tokens + stats.lost_prompt_tokens, stats.completion_tokens + stats.lost_tokens
    billed = (prompt * PRICE_IN + (output + stats.unreported_tokens) * PRICE_OUT) / 1e6
    again = stats.answered - len(answered)
    assert max(ids.values()) == 1 and len(ids) == summary["n"], "a question has two records"
    assert summary["code"] == 3 or len(ids) == count, f"{count - len(ids)} questions are lost"
    assert max(places.values()) == 1 and summary["calls_paid_twice"] == 0, "a call is journalled twice"
    assert again <= summary["in_flight"], (
        f"{again} answers are in no journal, {summary['in_flight']} calls were in flight"
    )
    assert billed <= cap, f"${billed:.6f} were billed under a cap of ${cap:.6f}"
    return {
        "code": summary["code"],
        "kills": summary["kills"],
        "records": len(records),
        "calls": len(answered),
        "in_flight_at_kills_at_most": summary["in_flight"],
        "answered_but_not_journalled": again,
        "billed_usd": round(billed, 6),
        "max_usd": round(cap, 6),
        "wall_s": summary["wall_s"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--questions", type=int, default=2000)
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--cpus", type=int, default=2, help="workers of each node")
    parser.add_argument("--in-flight", type=int, default=64, help="questions at once, on both nodes together")
    parser.add_argument("--latency", type=float, default=0.2, help="seconds of a reply")
    parser.add_argument("--caps", default="10,0.5", help="caps, as multiples of what the run costs")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rows = word_problems(args.questions)
    bank = {row["question"]: row["answer"] for row in rows}
    faults = Faults(**dict.fromkeys(KINDS, 0.1 / len(KINDS)))
    with tempfile.TemporaryDirectory() as folder, two_nodes(args.cpus) as (cluster, nodes):
        data = Path(folder) / "data.jsonl"
        data.write_text("".join(json.dumps({"question": r["question"], "answer": r["answer"]}) + "\n" for r in rows))
        cost = 0.0003 * args.questions
        for number, share in enumerate(map(float, args.caps.split(","))):
            if not nodes:
                nodes.append(start_node(cluster, args.cpus))
            with ScriptedServer(SolverReply(bank), faults=faults, latency=args.latency, record=0) as server:
                out = Path(folder) / f"run{number}"
                summary = evaluate(server, cluster, nodes, data, out, args, share, share * cost)
                print(json.dumps(check(summary, out, server, share * cost, args.questions)), flush=True)


if __name__ == "__main__":
    main()
