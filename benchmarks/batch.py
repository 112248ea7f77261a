"""Runs through a batch API, killed again and again: are the records those without one, and is each call paid once?

    python benchmarks/batch.py --questions 2000 --kills 10
    python benchmarks/batch.py --questions 2000 --kills 10 --only "search openai" --seeds 1,2,3,4,5 --each-attempt

A scripted server speaks OpenAI's and Anthropic's batch formats; 5 % of the requests expire, 2 % fail, results are
shuffled and 5 % doubled. With --each-attempt a request that is sent again may fail again, and a question of a search
may have used up its rounds: it says so, and is compared no further. Each run is a process of its own, killed (SIGKILL)
after random amounts of work.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tale_dspy
from tale_dspy.testing.batch_faults import BatchFaults
from tale_dspy.testing.batches import BatchServer
from tale_dspy.testing.problems import SolverReply, word_problems

MODELS = {"openai": "openai/gpt-4o-mini", "anthropic": "anthropic/claude-haiku-4-5"}


class Worker:
    """A process that forks a run at each line on stdin, so that a kill costs no imports.

    Args:
        arguments: What is run: kind, provider, data file, address of the server, run folder, and whether in batches.
    """

    def __init__(self, *arguments: object) -> None:
        command = [sys.executable, __file__, "--worker", *map(str, arguments)]
        self._process = subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def start(self) -> int:
        """Start a run; return its process id."""
        assert self._process.stdin is not None
        self._process.stdin.write("run\n")
        self._process.stdin.flush()
        return self._read()

    def wait(self) -> int:
        """Wait for the end of the run; return its exit code, negative for the signal that ended it."""
        return self._read()

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _read(self) -> int:
        assert self._process.stdout is not None
        return int(self._process.stdout.readline())


def fork_runs(kind: str, provider: str, data: str, url: str, out: str, batch: str) -> None:
    """Fork a run for each line on stdin, and write its process id and its exit code to stdout."""
    examples = tale_dspy.load_dataset(data)
    for _ in sys.stdin:
        pid = os.fork()
        if pid == 0:
            lm = tale_dspy.LM(MODELS[provider], api_base=url, api_key="none", engine="auto", cache=False)
            program = tale_dspy.TaleEP("question -> answer")
            if kind == "eval":
                tale_dspy.evaluate(program, examples, lm=lm, out=out, batch=batch == "True")
            else:
                tale_dspy.BudgetSearch(lm=lm, out=out, batch=batch == "True").compile(program, trainset=examples)
            os._exit(0)
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


def lines_in(out: Path) -> int:
    """Count what a run has written so far."""
    files = (out / "batches.jsonl", out / "calls.jsonl")
    return sum(file.read_bytes().count(b"\n") for file in files if file.exists())


def killed_run(worker: Worker, out: Path, kills: int, lines: int) -> int:
    """Run to the end, killed so many times at random amounts of work done; return the kills done.

    Args:
        worker: Starts the run.
        out: Its run folder.
        kills: How often it is killed.
        lines: What an undisturbed run writes.
    """
    kills_made, rng = 0, random.Random(1)
    while True:
        before = lines_in(out)
        until = before + rng.uniform(0, 2) * max(0, lines - before) / (kills - kills_made + 1)
        pid, ended = worker.start(), threading.Event()
        if kills_made < kills:
            killer = threading.Thread(target=kill_after, args=(pid, out, until, ended))
            killer.start()
            code = worker.wait()
            ended.set()
            killer.join()
        else:
            code = worker.wait()
        if code == -signal.SIGKILL:
            kills_made += 1
            continue
        if code:
            raise SystemExit(f"the run in {out} ended with {code}")
        return kills_made


def kill_after(pid: int, out: Path, lines: float, ended: threading.Event) -> None:
    """Kill a process once its run folder has more than so many lines, unless it has ended."""
    while not ended.wait(0.01):
        if lines_in(out) > lines:
            os.kill(pid, signal.SIGKILL)
            return


def records(out: Path, kind: str) -> dict[str, Any]:
    """Return what was found for each question, but for price and time."""
    name = "records.jsonl" if kind == "eval" else "search.jsonl"
    rows = [json.loads(line) for line in (out / name).read_text().splitlines()]
    left_out = ("cost_usd", "estimate_cost_usd", "latency_s")
    return {row["id"]: {k: v for k, v in row.items() if k not in left_out} for row in rows}


def compared(found: dict[str, Any], quiet: dict[str, Any]) -> dict[str, object]:
    """Compare what was found with what is found without faults, where no answers are missing."""
    missing = {key for key, row in found.items() if row.get("unanswered")}
    whole = {key: row for key, row in found.items() if key not in missing}
    return {
        "unanswered": len(missing),
        "of_them_with_a_budget": sum(found[key]["best"] is not None for key in missing),
        "same_records": found.keys() == quiet.keys() and all(row == quiet[key] for key, row in whole.items()),
        "same_but_for_trials": all(
            {**row, "trials": None} == {**quiet[key], "trials": None} for key, row in whole.items()
        ),
    }


def cost(out: Path) -> float | None:
    """Return the dollars that a run's journal holds; None if one is unknown."""
    rows = [json.loads(line) for line in (out / "calls.jsonl").read_text().splitlines()]
    paid = [row["cost"] for row in rows if row.get("error") is None]
    return None if None in paid else round(sum(paid), 6)


def answered_calls(out: Path) -> int:
    """Count the answers in a run's journal."""
    return sum(json.loads(line)["error"] is None for line in (out / "calls.jsonl").read_text().splitlines())


def found(out: Path) -> dict[str, float]:
    """Return how many questions of a search have a budget, their tokens with it, and the calls of the search."""
    rows = [json.loads(line) for line in (out / "search.jsonl").read_text().splitlines()]
    best = [row["best"]["tokens"] for row in rows if row["best"]]
    calls = sum(1 for _ in (out / "calls.jsonl").open())
    return {"questions": len(best), "tokens": round(sum(best) / len(best), 2), "calls": calls}


def measure(
    kind: str, provider: str, questions: int, kills: int, folder: Path, faults: list[BatchFaults]
) -> Iterator[dict[str, object]]:
    """Run without faults and without a batch, then with faults and kills; yield the figures of each of these."""
    rows = word_problems(questions)
    data = folder / "questions.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    reply = SolverReply({row["question"]: row["answer"] for row in rows})
    quiet = folder / "quiet"
    with BatchServer(reply, record=0) as server:
        worker = Worker(kind, provider, data, server.url, quiet, True)
        killed_run(worker, quiet, 0, 0)
        worker.close()
        rounds, calls, ids = server.batch_stats.batches, server.batch_stats.paid_calls, server.batch_stats.custom_ids
        assert max(ids.values()) == 1
    without: dict[str, object] = {}
    if provider == "openai":
        with BatchServer(reply, record=0) as server:
            unbatched = folder / "unbatched"
            worker = Worker(kind, provider, data, server.url, unbatched, False)
            killed_run(worker, unbatched, 0, 0)
            worker.close()
        without["cost_without_batch"] = cost(unbatched)
        if kind == "eval":
            assert records(unbatched, kind) == records(quiet, kind), "a batch changes records"
        else:  # a sampler decides call by call; a batch tries a ladder at once
            without |= {"found_without_batch": found(unbatched), "found": found(quiet)}
    for fault in faults:
        faulty = folder / f"killed-{fault.seed}"
        with BatchServer(reply, record=0, batch_faults=fault) as server:
            started = time.perf_counter()
            worker = Worker(kind, provider, data, server.url, faulty, True)
            kill_count = killed_run(worker, faulty, kills, lines_in(quiet))
            worker.close()
            stats = server.batch_stats
            events = [json.loads(line) for line in (faulty / "batches.jsonl").read_text().splitlines()]
            yield {
                "run": f"{kind} {provider}",
                "seed": fault.seed,
                "questions": questions,
                "kills": kill_count,
                "rounds_quiet": rounds,
                "rounds_with_faults": max(e["round"] for e in events if e["event"] == "planned"),
                "calls": calls,
                "paid_calls": stats.paid_calls,
                "journalled_calls": answered_calls(faulty),
                "custom_ids": len(stats.custom_ids),
                "custom_ids_twice": sum(n > 1 for n in stats.custom_ids.values()),
                "faults": dict(stats.by_fault),
                **compared(records(faulty, kind), records(quiet, kind)),
                "cost_usd": cost(faulty),
                "cost_quiet": cost(quiet),
                **without,
                "wall_s": round(time.perf_counter() - started, 1),
            }


def main() -> None:
    if sys.argv[1:2] == ["--worker"]:
        fork_runs(*sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--only", help="such as 'eval openai'")
    parser.add_argument("--seeds", default="0", help="of the faults, separated by commas")
    parser.add_argument("--each-attempt", action="store_true", help="a request that failed may fail again")
    args = parser.parse_args()
    faults = [
        BatchFaults(
            expired=0.05,
            failed=0.02,
            doubled=0.05,
            shuffled=True,
            delay=1.0,
            seed=int(seed),
            each_attempt=args.each_attempt,
        )
        for seed in args.seeds.split(",")
    ]
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("eval", "search"):
            for provider in MODELS:
                if args.only in (None, f"{kind} {provider}"):
                    place = Path(folder) / f"{kind}-{provider}"
                    place.mkdir()
                    for figures in measure(kind, provider, args.questions, args.kills, place, faults):
                        print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
