"""Runs through a batch API, killed again and again: are the records those without one, and is each call paid once?

    python benchmarks/batch.py --questions 2000 --kills 10

A scripted server speaks OpenAI's and Anthropic's batch formats; 5 % of the requests expire, 2 % fail, results are
shuffled and 5 % doubled. Each run is a process of its own, killed (SIGKILL) at random moments and started again.
"""

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tale_dspy.testing.batch_faults import BatchFaults
from tale_dspy.testing.batches import BatchServer
from tale_dspy.testing.problems import SolverReply, word_problems

MODELS = {"openai": "openai/gpt-4o-mini", "anthropic": "anthropic/claude-haiku-4-5"}
FAULTS = BatchFaults(expired=0.05, failed=0.02, doubled=0.05, shuffled=True, delay=1.0)


def command(kind: str, provider: str, data: Path, url: str, out: Path, batch: bool) -> list[str]:
    flags = ["--data", str(data), "--model", MODELS[provider], "--api-base", url, "--engine", "auto", "--no-cache"]
    program = ["eval", "tale-ep"] if kind == "eval" else ["search"]
    flags += ["--out", str(out), "--json", *(["--batch"] if batch else [])]
    return [sys.executable, "-m", "tale_dspy.cli.main", *program, *flags]


def lines_in(out: Path) -> int:
    """Count what a run has written so far."""
    files = (out / "batches.jsonl", out / "calls.jsonl")
    return sum(file.read_bytes().count(b"\n") for file in files if file.exists())


def killed_run(arguments: list[str], out: Path, kills: int, lines: int) -> tuple[dict[str, object], int]:
    """Run to the end, killed so many times at random amounts of work done; return the summary, and the kills done.

    Args:
        arguments: The command.
        out: Its run folder.
        kills: How often it is killed.
        lines: What an undisturbed run writes.
    """
    done, rng = 0, random.Random(1)
    while True:
        before = lines_in(out)
        until = before + rng.uniform(0, 2) * max(0, lines - before) / (kills - done + 1)
        with tempfile.TemporaryFile("w+") as printed:
            process = subprocess.Popen(arguments, stdout=printed, stderr=subprocess.DEVNULL)
            while process.poll() is None and done < kills:
                time.sleep(0.02)
                if lines_in(out) > until:
                    process.kill()
                    done += 1
                    break
            code = process.wait()
            if code == -signal.SIGKILL:
                continue
            printed.seek(0)
            if code:
                raise SystemExit(f"{' '.join(arguments)} ended with {code}")
            return json.loads(printed.read()), done


def records(out: Path, kind: str) -> list[Any]:
    """Return what was found for each question, but for price and time."""
    name = "records.jsonl" if kind == "eval" else "search.jsonl"
    rows = [json.loads(line) for line in (out / name).read_text().splitlines()]
    left_out = ("cost_usd", "estimate_cost_usd", "latency_s")
    return sorted(json.dumps({k: v for k, v in row.items() if k not in left_out}, sort_keys=True) for row in rows)


def measure(kind: str, provider: str, questions: int, kills: int, folder: Path) -> dict[str, object]:
    rows = word_problems(questions)
    data = folder / "questions.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    reply = SolverReply({row["question"]: row["answer"] for row in rows})
    quiet, faulty = folder / f"{kind}-{provider}-quiet", folder / f"{kind}-{provider}-killed"
    with BatchServer(reply, record=0) as server:
        plain, _ = killed_run(command(kind, provider, data, server.url, quiet, True), quiet, 0, 0)
        rounds, calls, ids = server.batch_stats.batches, server.batch_stats.paid_calls, server.batch_stats.custom_ids
        assert max(ids.values()) == 1
    usd: Any = None
    if kind == "eval" and provider == "openai":
        with BatchServer(reply, record=0) as server:
            unbatched = folder / "unbatched"
            arguments = command(kind, provider, data, server.url, unbatched, False)
            usd = killed_run(arguments, unbatched, 0, 0)[0]["cost_usd"]
        assert records(unbatched, kind) == records(quiet, kind), "a batch changes records"
    with BatchServer(reply, record=0, batch_faults=FAULTS) as server:
        started = time.perf_counter()
        arguments = command(kind, provider, data, server.url, faulty, True)
        summary, done = killed_run(arguments, faulty, kills, lines_in(quiet))
        stats = server.batch_stats
        events = [json.loads(line) for line in (faulty / "batches.jsonl").read_text().splitlines()]
        return {
            "run": f"{kind} {provider}",
            "questions": questions,
            "kills": done,
            "rounds_quiet": rounds,
            "rounds_with_faults": max(e["round"] for e in events if e["event"] == "planned"),
            "calls": calls,
            "paid_calls": stats.paid_calls,
            "custom_ids": len(stats.custom_ids),
            "custom_ids_twice": sum(n > 1 for n in stats.custom_ids.values()),
            "faults": dict(stats.by_fault),
            "same_records": records(faulty, kind) == records(quiet, kind),
            "cost_usd": summary.get("cost_usd"),
            "cost_without_batch": usd,
            "cost_quiet": plain.get("cost_usd"),
            "wall_s": round(time.perf_counter() - started, 1),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--only", help="such as 'eval openai'")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("eval", "search"):
            for provider in MODELS:
                if args.only in (None, f"{kind} {provider}"):
                    place = Path(folder) / f"{kind}-{provider}"
                    place.mkdir()
                    figures = measure(kind, provider, args.questions, args.kills, place)
                    print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
